"""Options of ``longtake generate`` that say what videos show: labels and prompts, along time."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option

from longtake.cli import arguments
from longtake.config import plural

if TYPE_CHECKING:
    from longtake.data.captions import AnyCaptions
    from longtake.diffusion.signals import Signals
    from longtake.generate import VideoStream
    from longtake.given import Wired
    from longtake.jobs import Job
    from longtake.model import VideoModel
    from longtake.rollout import Request, Steering

Label = Annotated[
    str | None,
    Option(help='class: its number, words of it, or time=dusk; "0: day; 64: night" along time'),
]
PromptText = Annotated[
    str | None, Option("--prompt", help='what to show; "0: calm sea; 128: storm" along time')
]
Negative = Annotated[str | None, Option(help="negative prompt, with which guidance contrasts")]
Prompts = Annotated[
    Path | None,
    Option("--prompts", help="text file with a prompt per line, each for a video per seed"),
]
PromptsOf = Annotated[
    Path | None,
    Option("--prompts", help="file of prompts, one per line, of a model or of GENERATED"),
]
CaptionsOf = Annotated[
    str | None,
    Option("--captions", help="of GENERATED: beside (.txt files), or a .csv, .jsonl, .parquet"),
]
Encoder = Annotated[
    Path | None, Option("--text-encoder", help="folder of the model's text encoder, such as CLIP")
]

_FROM = re.compile(r"\s*(\d+)\s*:\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Conditions:
    """Values of the options for labels and prompts; None for an option that was not given.

    Attributes:
        label: that of ``--label``.
        prompt: that of ``--prompt``.
        negative: that of ``--negative``, the negative prompt.
        prompts: that of ``--prompts``, a file with a prompt per line.
        encoder: that of ``--text-encoder``, a folder.

    Raises:
        ValueError: options contradict each other.
    """

    label: str | None
    prompt: str | None
    negative: str | None
    prompts: Path | None
    encoder: Path | None

    def __post_init__(self) -> None:
        if self.prompt is not None and self.prompts is not None:
            raise ValueError("--prompt and --prompts cannot be combined; choose one")
        if self.prompt is not None and not self.prompt.strip():
            raise ValueError('--prompt "": expected some words')
        for option, value in (("--negative", self.negative), ("--text-encoder", self.encoder)):
            if value is not None and self.prompt is None and self.prompts is None:
                raise ValueError(f"{option} {value}: belongs to a prompt; give --prompt too")

    def videos(
        self, out: Path, seeds: Sequence[int], kind: str | None, batch: int
    ) -> "list[Videos]":
        """Group the videos to make into batches: one video per seed and prompt.

        Args:
            out: folder of the files, or the only file.
            seeds: the seeds.
            kind: format of the files; None: mp4, or that of ``out``.
            batch: greatest number of videos of a batch.

        Raises:
            ValueError: the file of prompts cannot be read, or ``out`` names one file for several
                videos.
        """
        lines, found = self.lines(), []
        for number, line in enumerate(lines):
            prefix = "" if self.prompts is None else f"prompt_{number:04d}_"
            if len(lines) > 1 and out.suffix:
                prompts = plural(len(lines), "prompt")
                raise ValueError(f"-o {out} names one file for {prompts}; name a folder")
            paths = arguments.video_paths(out, seeds, kind, prefix)
            for first in range(0, len(seeds), batch):
                part = slice(first, first + batch)
                found.append(Videos(line, seeds[part], paths[part]))
        return found

    def lines(self) -> Sequence[str | None]:
        """Prompts, each for a video of every seed; a single None without prompts.

        Raises:
            ValueError: the file of prompts cannot be read, or has none.
        """
        from longtake.data.captions import read_prompts

        return [self.prompt] if self.prompts is None else read_prompts(self.prompts)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The options on which the videos depend, as JSON data."""
        prompts = [line for line in self.lines() if line is not None] or None
        own = {
            "prompts": prompts,
            "negative": self.negative,
            "text_encoder": self.encoder and str(self.encoder),
        }
        return {"label": self.label} | {k: v for k, v in own.items() if v is not None}


@dataclass(frozen=True)
class Captions:
    """Values of the options for prompts or captions of generated videos to measure.

    Attributes:
        prompts: that of ``--prompts``, a file with a prompt per line; None: not given.
        captions: that of ``--captions``, ``beside`` or a table's path; None: not given.
        encoder: that of ``--text-encoder``, a folder; None: not given.

    Raises:
        ValueError: options contradict each other.
    """

    prompts: Path | None
    captions: str | None
    encoder: Path | None

    def __post_init__(self) -> None:
        if self.prompts is not None and self.captions is not None:
            raise ValueError("--prompts and --captions cannot be combined; choose one")
        if self.encoder is not None and self.prompts is None:
            raise ValueError(
                f"--text-encoder {self.encoder}: belongs to prompts; give --prompts too"
            )

    def of_model(self) -> Mapping[str, Any]:
        """Fields of ``SamplingSettings``: the prompts, and the folder of the text encoder.

        Raises:
            ValueError: the file of prompts cannot be read, or a prompt changes along time.
        """
        prompts = () if self.prompts is None else _constant_prompts(self.prompts)
        return {"prompts": prompts, "text_encoder": self.encoder}

    def of_folder(self) -> "AnyCaptions | None":
        """Where the captions of a folder of videos are, by ``--prompts`` or ``--captions``.

        None if neither is given. What the file of prompts holds is checked by ``of_model``.
        """
        from longtake.data.captions import CaptionBeside, CaptionPrompts, CaptionTable

        if self.prompts is not None:
            return CaptionPrompts(path=self.prompts.resolve())
        if self.captions is None:
            return None
        if self.captions == "beside":
            return CaptionBeside()
        return CaptionTable(path=Path(self.captions).resolve())


def _constant_prompts(path: Path) -> tuple[str, ...]:
    """Prompts of a file, one per line.

    A ValueError if one is of the form ``0: calm sea; 128: storm``: a clip has one caption.
    """
    from longtake.data.captions import read_prompts

    prompts = tuple(read_prompts(path))
    for prompt in prompts:
        if along_time(prompt, "--prompts") != {0: prompt}:
            raise ValueError(
                f"--prompts {path}: {prompt!r} changes along time, but what is measured has one "
                "text per video; give the words alone"
            )
    return prompts


class Videos(NamedTuple):
    """Videos that are made as one batch: their prompt, and the seed and file of each."""

    prompt: str | None
    seeds: Sequence[int]
    paths: Sequence[Path]


class Plan(NamedTuple):
    """A batch of videos as a job, its changes along time, its prompt, and notes to print."""

    job: "Job"
    steering: "Steering | None"
    prompt: str | None
    notes: Sequence[str]


def plan(
    model: "VideoModel",
    wired: "Wired",
    conditions: Conditions,
    videos: Videos,
    identity: Mapping[str, Any],
) -> Plan:
    """Plan a batch of videos.

    Args:
        model: the model.
        wired: the model combined with given frames, and the videos' length and frame rate.
        conditions: options for labels and prompts.
        videos: seeds, prompt and files.
        identity: what the videos depend on besides the conditions, as JSON data.

    Raises:
        ValueError: a label or prompt is not one that the model reads, or would have no effect.
    """
    from longtake.jobs import Job

    request, changes = conditioned(model, conditions, videos)
    check_effects(wired.video, wired.frames, changes)
    job = Job(
        request=request,
        paths=videos.paths,
        frames=wired.frames,
        fps=wired.fps,
        identity=identity,
        sheets=wired.sheets,
    )
    notes = delays(wired.video, changes)
    return Plan(job, steering(wired.video, changes), videos.prompt, notes)


def along_time(text: str, option: str) -> Mapping[int, str]:
    """Parse ``0: calm sea; 128: storm``: text by the frame of the video from which it applies.

    A text of any other form applies from frame 0. ``option`` is the option's name, for messages.

    Raises:
        ValueError: the first part is not of frame 0, frames do not rise, or a part is empty.
    """
    parts = text.split(";")
    found = [_FROM.fullmatch(part) for part in parts]
    if not found[0]:
        return {0: text}
    for part, match in zip(parts, found, strict=True):
        if match is None or not match[2]:
            raise ValueError(f"{option} {text!r}: expected FRAME: WORDS, found {part.strip()!r}")
    frames = [int(match[1]) for match in found if match]
    if frames[0] != 0 or any(a >= b for a, b in pairwise(frames)):
        raise ValueError(f"{option} {text!r}: frames must begin with 0 and rise, found {frames}")
    return {int(match[1]): match[2] for match in found if match}


def conditioned(
    model: "VideoModel", conditions: Conditions, videos: Videos
) -> "tuple[Request, Mapping[int, Signals]]":
    """The request of a batch of videos, and conditions (signals) by the frame they begin at.

    Raises:
        ValueError: a label or prompt is not one that the model reads.
    """
    from longtake.text import Prompt

    def prompt(text: str) -> Prompt:
        return Prompt(text, conditions.negative or "", conditions.encoder)

    line, seeds = videos.prompt, videos.seeds
    labels = {} if conditions.label is None else along_time(conditions.label, "--label")
    texts = {} if line is None else along_time(line, "--prompt")
    changes: dict[int, Signals] = {}
    for frame in sorted({*labels, *texts} - {0}):
        text = prompt(texts[frame]) if frame in texts else None
        changes[frame] = model.signals_of(seeds, labels.get(frame), text, labelled=bool(labels))
    first = prompt(texts[0]) if texts else None
    return model.request(seeds, labels.get(0), first), changes


def check_effects(video: "VideoStream", frames: int, changes: "Mapping[int, Signals]") -> None:
    """Raise a ValueError unless every change along time is seen in the video.

    Args:
        video: makes the videos.
        frames: number of frames of each video.
        changes: conditions (signals) by the frame of the video from which they apply.
    """
    last = video.frame_of(video.steps(frames) - 1)
    for frame, signals in changes.items():
        what = f"a label or prompt from frame {frame} on has no effect"
        if (begins := video.frame_of(video.step_of(frame))) > last:
            raise ValueError(
                f"{what}, as the last clip of {plural(frames, 'frame')} of video begins at frame "
                f"{last}; {f'name frame {last} or an earlier one' if last else 'leave it out'}, or "
                "ask for more frames"
            )
        later = [each for each in changes if frame < each <= begins]
        if later and signals.keys() <= {name for each in later for name in changes[each]}:
            raise ValueError(
                f"{what}, as that from frame {later[-1]} on replaces it before the next clip, "
                f"which begins at frame {begins}; leave one out, or name a frame after {begins}"
            )


def delays(video: "VideoStream", changes: "Mapping[int, Signals]") -> list[str]:
    """Return a line of text for each change that takes effect later than at its frame.

    ``video`` makes the videos; ``changes`` are conditions (signals) by the frame at which they
    begin.
    """
    begins = {frame: video.frame_of(video.step_of(frame)) for frame in changes}
    return [
        f"the label or prompt from frame {frame} on takes effect at frame {first}, where the next "
        "clip begins"
        for frame, first in begins.items()
        if first > frame
    ]


def steering(video: "VideoStream", changes: "Mapping[int, Signals]") -> "Steering | None":
    """Callbacks that apply ``changes``: conditions (signals) by the frame at which they begin.

    A change takes effect with the first clip that begins at its frame or later. None without
    changes.
    """
    from longtake.rollout import Change, Steering

    if not changes:
        return None
    steps: dict[int, Change] = {}
    for frame, signals in sorted(changes.items()):
        step = video.step_of(frame)
        steps[step] = steps.get(step, Change()).then(Change(signals))
    return Steering(change=steps.get)
