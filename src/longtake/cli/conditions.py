"""Options of ``longtake generate`` that say what videos show: labels and prompts, along time."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option

from longtake.cli import arguments

if TYPE_CHECKING:
    from longtake.cli.given import Wired
    from longtake.data.captions import AnyCaptions
    from longtake.diffusion.signals import Signals
    from longtake.generate import VideoStream
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
Negative = Annotated[str | None, Option(help="text that guidance contrasts prompts with")]
Prompts = Annotated[
    Path | None, Option("--prompts", help="text file with a prompt per line: a video each")
]
PromptsOf = Annotated[
    Path | None,
    Option("--prompts", help="prompts, one per line: a model's, or those that FAKE was made of"),
]
CaptionsOf = Annotated[
    str | None,
    Option("--captions", help="of FAKE: beside (.txt files), or a .csv, .jsonl, .parquet"),
]
Encoder = Annotated[Path | None, Option("--text-encoder", help="folder of the text encoder")]

_FROM = re.compile(r"\s*(\d+)\s*:\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Conditions:
    """Values of the options, None where one was not given; a ValueError if they do not fit."""

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

    def videos(self, out: Path, seeds: Sequence[int], kind: str, batch: int) -> "list[Videos]":
        """The videos to make, some at once: a seed each, and of a file of prompts a line each.

        Raises:
            ValueError: the file of prompts cannot be read, or ``out`` names one file of several.
        """
        lines, found = self.lines(), []
        for number, line in enumerate(lines):
            prefix = "" if self.prompts is None else f"prompt_{number:04d}_"
            if len(lines) > 1 and out.suffix:
                raise ValueError(f"-o {out} names one file for {len(lines)} prompts; name a folder")
            paths = arguments.video_paths(out, seeds, kind, prefix)
            for first in range(0, len(seeds), batch):
                part = slice(first, first + batch)
                found.append(Videos(line, seeds[part], paths[part]))
        return found

    def lines(self) -> Sequence[str | None]:
        """Prompts, each of a video of every seed; one None without any.

        Raises:
            ValueError: the file of prompts cannot be read, or has none.
        """
        from longtake.data.captions import read_prompts

        return [self.prompt] if self.prompts is None else read_prompts(self.prompts)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the videos of a command depend on."""
        prompts = [line for line in self.lines() if line is not None] or None
        own = {
            "prompts": prompts,
            "negative": self.negative,
            "text_encoder": self.encoder and str(self.encoder),
        }
        return {"label": self.label} | {k: v for k, v in own.items() if v is not None}


@dataclass(frozen=True)
class Captions:
    """What generated videos that are measured show: options of ``longtake evaluate``.

    Raises:
        ValueError: they do not fit each other.
    """

    prompts: Path | None
    captions: str | None
    encoder: Path | None

    def __post_init__(self) -> None:
        if self.prompts is not None and self.captions is not None:
            raise ValueError("--prompts and --captions cannot be combined; choose one")
        if self.encoder is not None and self.prompts is None:
            raise ValueError(f"--text-encoder {self.encoder}: is of prompts; give --prompts too")

    def of_model(self) -> Mapping[str, Any]:
        """Prompts of a model's videos, and its text encoder, as ``SamplingSettings`` has them.

        Raises:
            ValueError: the file of prompts cannot be read.
        """
        from longtake.data.captions import read_prompts

        prompts = () if self.prompts is None else tuple(read_prompts(self.prompts))
        return {"prompts": prompts, "text_encoder": self.encoder}

    def of_folder(self) -> "AnyCaptions | None":
        """Captions of the videos of a folder."""
        from longtake.data.captions import CaptionBeside, CaptionPrompts, CaptionTable

        if self.prompts is not None:
            return CaptionPrompts(path=self.prompts.resolve())
        if self.captions is None:
            return None
        if self.captions == "beside":
            return CaptionBeside()
        return CaptionTable(path=Path(self.captions).resolve())


class Videos(NamedTuple):
    """Videos that are computed at once: their prompt, their seeds and a file each."""

    prompt: str | None
    seeds: Sequence[int]
    paths: Sequence[Path]


class Plan(NamedTuple):
    """Videos as a job, what changes in them along time, and their prompt."""

    job: "Job"
    steering: "Steering | None"
    prompt: str | None


def plan(
    model: "VideoModel",
    wired: "Wired",
    conditions: Conditions,
    videos: Videos,
    identity: Mapping[str, Any],
) -> Plan:
    """Plan some videos.

    Raises:
        ValueError: a label or prompt is not one that the model reads.
    """
    from longtake.jobs import Job

    request, changes = conditioned(model, conditions, videos)
    job = Job(
        request=request,
        paths=videos.paths,
        frames=wired.frames,
        fps=wired.fps,
        identity=identity,
        sheets=wired.sheets,
    )
    return Plan(job, steering(wired.video, changes), videos.prompt)


def along_time(text: str, option: str) -> Mapping[int, str]:
    """Parts of ``0: calm sea; 128: storm`` by their first frame; any other text is of frame 0.

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
    """The request of some videos, and the signals that change in them, by frame.

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
    for frame, label in list(labels.items())[1:]:
        changes[frame] = model.label_signals(seeds, label)
    for frame, text in list(texts.items())[1:]:
        signals = model.prompt_signals(len(seeds), prompt(text))
        changes[frame] = {**changes.get(frame, {}), **signals}
    first = prompt(texts[0]) if texts else None
    return model.request(seeds, labels.get(0), first), changes


def steering(video: "VideoStream", changes: "Mapping[int, Signals]") -> "Steering | None":
    """Callbacks that change signals at the steps of a video that make these frames.

    A change takes effect with the first clip that begins at its frame or later.
    """
    from longtake.rollout import Change, Steering

    if not changes:
        return None
    steps: dict[int, Change] = {}
    for frame, signals in sorted(changes.items()):
        step = video.step_of(frame)
        steps[step] = steps.get(step, Change()).then(Change(signals))
    return Steering(change=steps.get)
