"""Makes a live video part by part; each part is written to disk before it is shown."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longtake.checkpoint import read_tensors, write_text
from longtake.config import parse, to_dict
from longtake.diffusion import ClassifierFree
from longtake.documents import read_json
from longtake.files import remove
from longtake.generate import Part
from longtake.given import Given, wired
from longtake.model import Sampling, VideoModel
from longtake.rollout import Cancelled, Steering
from longtake.rollout import Change as RolloutChange
from longtake.segments import Segment, keep_whole, record_of, write_record
from longtake.studio.child import Header
from longtake.studio.loaded import Opened, prompt_of, request_of
from longtake.studio.measuring import RunningDrift
from longtake.studio.places import CHANGES, DRIFT, JOINED, PARTS, SHEET, SINGLE, VIDEO
from longtake.studio.settings import Change, LoggedChange, VideoSettings
from longtake.studio.work import StoppedError, Work
from longtake.video import VideoWriter, concatenate, overview

ENDLESS = sys.maxsize >> 16
MERGED = 64  # parts that become one, so that the number of files stays small


def run_live(
    settings: VideoSettings, work: Work, log: Sequence[LoggedChange], *, paced: bool
) -> dict[str, Any]:
    """Make a video until it is stopped or has all its frames, and join its parts to a file.

    Returns JSON data: ``frames``, the number of frames on disk.

    Args:
        settings: the video.
        work: the job.
        log: changes to make, of a video that is repeated.
        paced: make frames no faster than they are shown.

    Raises:
        StoppedError: it was stopped; the file has all complete parts.
    """
    opened = work.loaded.open(settings)
    live = _Live(settings, work, opened, _Log(work.folder / CHANGES, log), paced)
    try:
        live.make()
    except Cancelled as stop:
        raise StoppedError from stop
    finally:
        live.join()
    return {"frames": live.done}


class _Live:
    """One video that is made part by part.

    Args:
        settings: the video.
        work: the job.
        opened: the model, and what makes its videos.
        log: changes so far, and those to come of a video that is repeated.
        paced: make frames no faster than they are shown.
    """

    def __init__(
        self, settings: VideoSettings, work: Work, opened: Opened, log: "_Log", paced: bool
    ) -> None:
        self._work, self._opened, self._log = work, opened, log
        given = Given(
            start_image=work.given(settings.start_image),
            continued=work.given(settings.continue_video),
        )
        self._frames = settings.frames or ENDLESS
        self._wired = wired(opened.video, given, self._frames, opened.model.index.fps)
        self._request = request_of(opened.model, settings)
        self._parts = work.folder / PARTS
        self._parts.mkdir(parents=True, exist_ok=True)
        self._segments = keep_whole(self._parts)
        self._drift = RunningDrift(work.folder / DRIFT)
        self._asked: list[tuple[Header, Change]] = []
        self._words = {"label": settings.label, "prompt": settings.prompt}
        for change in log.before(self.done):
            self._words |= _words(change)
        self._pace = self._wired.fps if paced else 0.0
        work.on_change = self._ask

    @property
    def done(self) -> int:
        """Number of frames on disk."""
        return self._segments[-1].end if self._segments else 0

    def make(self) -> None:
        """Make parts until there are enough; Cancelled if the job is stopped."""
        work, state = self._work, None
        if self._segments:
            state = read_tensors(record_of(self._parts, self._segments[-1].start))
        work.emit("begun", frames_done=self.done, fps=self._wired.fps)
        self._began, self._first = time.monotonic(), self.done
        steering = Steering(
            change=self._changes_at, cancel=lambda: work.poll(), progress=work.progress
        )
        if self.done < self._frames:
            for part in self._wired.video(self._request, self._frames, state, steering):
                self._keep(part)

    def join(self) -> None:
        """Write all parts as one file, and a contact sheet; nothing if there are none."""
        join_parts(self._work, self._segments)

    def _keep(self, part: Part) -> None:
        """Write a part and the state after it, then show it."""
        frames = part.frames[0][: self._frames - self.done]
        if not len(frames):
            return
        start, end = self.done, self.done + len(frames)
        path = self._parts / SINGLE.format(start)
        with VideoWriter(path, self._wired.fps, overwrite=True) as writer:
            writer.write(frames)
        drift = self._drift.add(frames)
        self._segments.append(write_record(self._parts, start, end, [path], part.state))
        made = {"start": start, "end": end, "drift": drift, "made": time.time(), **self._words}
        self._work.emit("part", frames, **made, state=record_of(self._parts, start).name)
        if sum(SINGLE.format(each.start) in each.files for each in self._segments) == MERGED:
            self._segments = merged(self._parts, self._segments, MERGED)

    def _changes_at(self, step: int) -> RolloutChange | None:
        """What changes from ``step`` on, by the log or as asked; waits until the step is due."""
        while self._pace and (early := self._early()) > 0 and not self._work.poll(early):
            pass
        for message, change in self._asked:
            entry = LoggedChange(**change.model_dump(), step=step, from_frame=self.done)
            self._log.add(entry)  # on disk before it is answered, and before it has an effect
            self._work.answer(message, change=entry.model_dump(exclude_none=True))
        self._asked.clear()
        total = None
        for change in self._log.at(step):
            self._words |= _words(change)
            total = (total or RolloutChange()).then(self._applied(change))
        return total

    def _early(self) -> float:
        """Seconds until the next clip is due: one clip is ready before it is shown."""
        ahead = self.done - self._first - self._wired.video.grain
        early = ahead / self._pace - (time.monotonic() - self._began)
        self._began += max(-early, 0.0)  # what is late is not made up for
        return early

    def _ask(self, message: Header) -> None:
        """Take a change; it is applied, and answered, when the next step begins."""
        change = parse(Change, message["change"])
        self._applied(change)
        self._asked.append((message, change))

    def _applied(self, change: Change) -> RolloutChange:
        """A change as signals and guidance; a ValueError if the model does not read it."""
        model, sampling = self._opened.model, self._opened.sampling
        labelled = self._words["label"] is not None
        return rollout_change(model, sampling, self._request.seeds, change, labelled=labelled)


def keep_live(work: Work) -> int:
    """Join the parts that a killed worker left to one file; returns its number of frames."""
    segments = keep_whole(work.folder / PARTS) if (work.folder / PARTS).is_dir() else []
    join_parts(work, segments)
    return segments[-1].end if segments else 0


def join_parts(work: Work, segments: Sequence[Segment]) -> None:
    """Write all parts of a job as one file, and a contact sheet; nothing if there are none."""
    if segments:
        paths = [work.folder / PARTS / name for segment in segments for name in segment.files]
        concatenate(paths, work.files / VIDEO, overwrite=True)
        overview(work.files / VIDEO, work.files / SHEET)


def rollout_change(
    model: VideoModel,
    sampling: Sampling,
    seeds: tuple[int, ...],
    change: Change,
    *,
    labelled: bool = False,
) -> RolloutChange:
    """Convert a change of a live video's settings to one of signals and guidance.

    Args:
        model: the model of the video.
        sampling: the video's sampling settings, whose guidance gets the new scale.
        seeds: seed of each video.
        change: the change.
        labelled: whether the video was given a label before, which a prompt then leaves as it is.

    Raises:
        ValueError: the model reads no such label or prompt.
    """
    signals = model.signals_of(seeds, change.label, prompt_of(change), labelled=labelled)
    guidance = None
    if change.guidance_scale is not None:
        fields = sampling.guidance.model_dump() | {"scale": change.guidance_scale}
        known = ClassifierFree.model_fields.keys() - {"kind"}
        guidance = parse(ClassifierFree, {k: v for k, v in fields.items() if k in known})
    return RolloutChange(signals, guidance)


def merged(folder: Path, segments: list[Segment], count: int) -> list[Segment]:
    """Join the files of the last ``count`` segments to one, with the state of the last.

    Returns all segments after that; ``folder`` is that of the segments.
    """
    kept, parts = segments[:-count], segments[-count:]
    start, end = parts[0].start, parts[-1].end
    state = read_tensors(record_of(folder, parts[-1].start))
    path = folder / JOINED.format(start)
    files = [folder / name for segment in parts for name in segment.files]
    concatenate(files, path, overwrite=True)
    whole = write_record(folder, start, end, [path], state)
    for segment in parts[1:]:
        remove(record_of(folder, segment.start))
    for file in files:
        remove(file)
    return [*kept, whole]


class _Log:
    """The log of changes of a video, in a file.

    Args:
        path: the file.
        initial: changes of the video that is repeated.
    """

    def __init__(self, path: Path, initial: Sequence[LoggedChange]) -> None:
        self._path, self._changes = path, [*initial]
        if path.exists():
            self._changes = parse(list[LoggedChange], read_json(path))

    def add(self, change: LoggedChange) -> None:
        """Add a change, and write the log."""
        self._changes.append(change)
        write_text(self._path, json.dumps([to_dict(each) for each in self._changes]) + "\n")

    def at(self, step: int) -> list[LoggedChange]:
        """Changes that hold from the rollout step ``step`` on."""
        return [each for each in self._changes if each.step == step]

    def before(self, frame: int) -> list[LoggedChange]:
        """Changes that have an effect before a frame."""
        return [each for each in self._changes if each.from_frame < frame]


def _words(change: Change) -> dict[str, str]:
    return change.model_dump(include={"label", "prompt"}, exclude_none=True)
