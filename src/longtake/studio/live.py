"""Makes a live video part by part; each part is written to disk before it is shown."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from longtake.checkpoint import read_tensors, write_text
from longtake.config import parse, to_dict
from longtake.diffusion import ClassifierFree
from longtake.documents import read_json
from longtake.files import remove
from longtake.generate import Part, VideoStream
from longtake.given import Given, wired
from longtake.model import Sampling, VideoModel
from longtake.noise import derive
from longtake.rollout import Cancelled, Steering
from longtake.rollout import Change as RolloutChange
from longtake.segments import Segment, keep_whole, record_of, write_record
from longtake.studio.child import Header
from longtake.studio.loaded import Opened, prompt_of, request_of
from longtake.studio.longer import to_continue
from longtake.studio.measuring import RunningDrift
from longtake.studio.places import CHANGES, JOINED, PARTS, SHEET, SINGLE, VIDEO
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
        self._given = given
        self._request = request_of(opened.model, settings)
        self._parts = work.folder / PARTS
        self._parts.mkdir(parents=True, exist_ok=True)
        self._segments = to_continue(work.folder, self._parts, self._frames)
        self._drift = RunningDrift(work.folder)
        self._asked: list[tuple[Header, Change]] = []
        self._words = {"label": settings.label, "prompt": settings.prompt}
        for change in log.before(self.done):
            self._words |= _words(change)
        starts = [each for each in log.starts if each.from_frame <= self.done]
        self._take = self._begun(len(starts), starts[-1].from_frame if starts else 0)
        self._pace = opened.model.index.fps if paced else 0.0
        work.on_change = self._ask

    @property
    def done(self) -> int:
        """Number of frames on disk."""
        return self._segments[-1].end if self._segments else 0

    def make(self) -> None:
        """Make parts until there are enough; Cancelled if the job is stopped."""
        work = self._work
        work.emit("begun", frames_done=self.done, fps=self._opened.model.index.fps)
        self._began, self._first = time.monotonic(), self.done
        steering = Steering(
            change=self._changes_at, cancel=lambda: work.poll(), progress=work.progress
        )
        while self.done < self._frames:
            try:
                self._make_take(steering)
            except _NewTake:
                self._take = self._begun(self._take.number + 1, self.done)

    def _make_take(self, steering: Steering) -> None:
        """Make the parts of the take, from the last one on disk on."""
        take, state = self._take, None
        if self._segments and self.done > take.start:
            state = read_tensors(record_of(self._parts, self._segments[-1].start))
        seeds = tuple(derive(seed, "take", take.number) for seed in self._request.seeds)
        request = replace(self._request, seeds=seeds) if take.number else self._request
        for part in take.video(request, self._frames - take.start, state, steering):
            self._keep(part)

    def _begun(self, number: int, start: int) -> "_Take":
        """The take of a number, which begins at the frame of index ``start``."""
        given = self._given
        if number:
            given = Given(start_image=self._work.given(self._log.starts[number - 1].start_image))
        opened, frames = self._opened, self._frames - start
        found = wired(opened.video, given, frames, opened.model.index.fps)
        return _Take(number, start, found.video)

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
        with VideoWriter(path, self._opened.model.index.fps, overwrite=True) as writer:
            writer.write(frames)
        drift = self._drift.add(frames, start) if len(frames) > 1 else {}  # one does not move
        self._segments.append(write_record(self._parts, start, end, [path], part.state))
        made = {"start": start, "end": end, "drift": drift, "made": time.time(), **self._words}
        self._work.emit("part", frames, **made, state=record_of(self._parts, start).name)
        single = sum(SINGLE.format(each.start) in each.files for each in self._segments)
        if single == MERGED and end < self._frames:  # the last one is made again if more follow
            self._segments = merged(self._parts, self._segments, MERGED)

    def _changes_at(self, step: int) -> RolloutChange | None:
        """What changes from ``step`` on, by the log or as asked; waits until the step is due."""
        while self._pace and (early := self._early()) > 0 and not self._work.poll(early):
            pass
        self._log_asked(step)
        found = self._log.at(self._take.number, step)
        if any(change.start_image is not None for change in found):
            raise _NewTake
        if self._take.number and step == 0:  # a take begins as the one before it has ended
            found = [*self._log.until(self._take.number), *found]
        total = None
        for change in found:
            self._words |= _words(change)
            total = (total or RolloutChange()).then(self._applied(change))
        return total

    def _log_asked(self, step: int) -> None:
        """Write the changes that were asked for to the log, from ``step`` on, and answer them."""
        for message, change in self._asked:
            if change.start_image is not None and self._frames - self.done < 2:
                self._work.answer(message, error="the video ends before a start image could begin")
                continue
            entry = LoggedChange(**change.model_dump(), step=step, from_frame=self.done)
            self._log.add(entry)  # on disk before it is answered, and before it has an effect
            self._work.answer(message, change=entry.model_dump(exclude_none=True))
            step = step if change.start_image is None else 0
        self._asked.clear()

    def _early(self) -> float:
        """Seconds until the next clip is due: one clip is ready before it is shown."""
        ahead = self.done - self._first - self._take.video.grain
        early = ahead / self._pace - (time.monotonic() - self._began)
        self._began += max(-early, 0.0)  # what is late is not made up for
        return early

    def _ask(self, message: Header) -> None:
        """Take a change; it is applied, and answered, when the next step begins."""
        change = parse(Change, message["change"])
        self._applied(change)
        if (image := self._work.given(change.start_image)) is not None:
            opened = self._opened
            wired(opened.video, Given(start_image=image), None, opened.model.index.fps)
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


class _NewTake(Exception):  # noqa: N818 (nothing failed)
    """A start image is to be the next frame."""


class _Take(NamedTuple):
    """A piece of a video that begins with a start image; the first one as the settings say.

    Attributes:
        number: number of start images that changes gave before.
        start: index of its first frame in the video.
        video: makes it.
    """

    number: int
    start: int
    video: VideoStream


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

    def at(self, take: int, step: int) -> list[LoggedChange]:
        """Changes that hold from the rollout step ``step`` of a take on.

        A take begins with each start image and is numbered from 0; the change that has the image
        belongs to the take that it ends.
        """
        return [each for n, each in self._by_take() if n == take and each.step == step]

    def until(self, take: int) -> list[LoggedChange]:
        """Changes of all takes before a take, with the one that has its start image."""
        return [each for n, each in self._by_take() if n < take]

    def _by_take(self) -> Iterator[tuple[int, LoggedChange]]:
        """Yield each change after the number of its take."""
        take = 0
        for each in self._changes:
            yield take, each
            take += each.start_image is not None

    @property
    def starts(self) -> list[LoggedChange]:
        """Changes with a start image; each begins a take."""
        return [each for each in self._changes if each.start_image is not None]

    def before(self, frame: int) -> list[LoggedChange]:
        """Changes that have an effect before a frame."""
        return [each for each in self._changes if each.from_frame < frame]


def _words(change: Change) -> dict[str, str]:
    return change.model_dump(include={"label", "prompt"}, exclude_none=True)
