"""Combines a model with the files of frames that a user gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from longtake.config import plural
from longtake.generate import LongVideo, VideoStream
from longtake.given.filled import FilledVideo
from longtake.given.looped import LoopedVideo
from longtake.given.placed import PlacedVideo, ending_with
from longtake.given.reading import GivenFrames, read_given_image, read_given_video
from longtake.given.started import StartedVideo

DEFAULT_FRAMES = 64


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A file whose frames are given at a place of the video.

    Attributes:
        path: an image or, if ``last`` is stated, a video.
        first: index of the first of them in the new video, from 0.
        last: index of the last of them in the new video, so that the first ``last - first + 1``
            frames of the file are given; None for an image.

    Raises:
        ValueError: a place is negative, or ``last`` is not after ``first``.
    """

    path: Path
    first: int
    last: int | None = None

    def __post_init__(self) -> None:
        if self.first < 0 or (self.last is not None and self.last <= self.first):
            last = "" if self.last is None else f"-{self.last}"
            raise ValueError(
                f"{self.first}{last}: expected the place of an image, such as 8, or the first and "
                "the last place of a video, such as 8-11"
            )

    def read(self, size: tuple[int, int], fps: float) -> GivenFrames:
        """Read the frames, of a model's size and rate.

        Raises:
            ValueError: the video has fewer frames than from ``first`` to ``last``.
            VideoError: the file cannot be read as an image or a video.
        """
        if self.last is None:
            return read_given_image(self.path, size, fps)
        read, count = read_given_video(self.path, size, fps), self.last - self.first + 1
        if len(read.frames) < count:
            raise ValueError(
                f"{self.path}: {plural(len(read.frames), 'frame')} at {fps:g} fps, expected "
                f"{count} for the places {self.first} to {self.last}"
            )
        return replace(read, frames=read.frames[:count])


@dataclass(frozen=True, kw_only=True)
class Given:
    """Files whose frames are given; None where none is.

    Attributes:
        start_image: image that is the first frame.
        end_image: image that is the last frame of a video whose other frames are new.
        placed: files whose frames have stated places in a video of one clip.
        continued: video that is continued.
        between: first and last image of the video.
        interpolate: video that gets new frames between all of its frames.
        factor: distance in frames, in the new video, between two neighbouring frames of
            ``interpolate``; an error if the model makes another. None: the model's.
        loop: lead the end of the video back to its first frame.

    Raises:
        ValueError: more than one of the first six is given, ``loop`` with another of them than
            ``start_image`` and ``continued``, or ``factor`` without ``interpolate``.
    """

    start_image: Path | None = None
    end_image: Path | None = None
    placed: Sequence[Placed] | None = None
    continued: Path | None = None
    between: tuple[Path, Path] | None = None
    interpolate: Path | None = None
    factor: int | None = None
    loop: bool = False

    def __post_init__(self) -> None:
        ways = ("start_image", "continued", "end_image", "placed", "between", "interpolate")
        chosen = [way for way in ways if getattr(self, way) is not None]
        if self.loop and chosen and chosen[-1] in ways[2:]:
            chosen.append("loop")
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} cannot be combined; choose one")
        if self.factor is not None and self.interpolate is None:
            raise ValueError(f"factor={self.factor} belongs to interpolate; give that too")


@dataclass(frozen=True, kw_only=True)
class Wired:
    """A model combined with the frames that a user gives, ready to make videos.

    Attributes:
        video: makes the videos.
        frames: number of frames of each video.
        fps: frame rate of the files, in frames per second.
        identity: what the videos depend on besides model, sampling and request, as JSON data.
        notes: a line of text for each file that was read, on how it was changed.
        sheets: also write a contact sheet of each video.
    """

    video: VideoStream
    frames: int
    fps: float
    identity: Mapping[str, Any]
    notes: Sequence[str] = ()
    sheets: bool = False


def wired(video: LongVideo, given: Given, frames: int | None, fps: float) -> Wired:
    """Read the frames that a user gives and combine them with a model.

    Args:
        video: the model.
        given: the files.
        frames: number of frames of each video; None: 64, fewer if the model makes no longer videos,
            or what the given frames make.
        fps: frame rate of the model's videos.

    Raises:
        ValueError: the model cannot use the given frames, or make ``frames`` frames of them.
        VideoError: a file cannot be read as an image or a video.
    """
    size = video.autoencoder.spec.clip[1:]
    if given.end_image is not None:
        read = read_given_image(given.end_image, size, fps)
        ending = ending_with(video, read.frames, frames)
        return _in_one_clip(ending, {ending.length - 1: read}, ending.length, fps)
    if given.placed is not None:
        found = _placed(given.placed, size, fps)
        own = PlacedVideo(video=video, frames={k: each.frames for k, each in found.items()})
        return _in_one_clip(own, found, frames, fps)
    if given.between is not None:
        pair = [read_given_image(path, size, fps) for path in given.between]
        return _filled(video, pair, given, frames, fps)
    if given.interpolate is not None:
        read = read_given_video(given.interpolate, size, None)
        return _filled(video, [read], given, frames, read.fps)
    read, opening, identity = None, video, {}
    if given.start_image is not None:
        read = read_given_image(given.start_image, size, fps)
    elif given.continued is not None:
        read = read_given_video(given.continued, size, fps)
    default = min(DEFAULT_FRAMES, video.most_frames or DEFAULT_FRAMES)
    length = sampled = frames or default
    if given.loop:
        looped = LoopedVideo(video=video, opening=opening)
        looped.check_length(length)
        sampled, identity = length - looped.closing, {"loop": True}
    if read is not None:
        opening = StartedVideo(video=video, frames=read.frames)
        opening.check_length(sampled, length - sampled)
        identity = {**identity, "given": read.digest}
    stream = LoopedVideo(video=video, opening=opening) if given.loop else opening
    notes = () if read is None else (read.note,)
    return Wired(video=stream, frames=length, fps=fps, identity=identity, notes=notes)


def _placed(
    files: Sequence[Placed], size: tuple[int, int], fps: float
) -> Mapping[int, GivenFrames]:
    """Frames of files by the place of the first; a ValueError if two files have the same place."""
    found: dict[int, GivenFrames] = {}
    for file in files:
        if file.first in found:
            raise ValueError(f"place {file.first} is given twice; give one file there")
        found[file.first] = file.read(size, fps)
    return found


def _in_one_clip(
    video: PlacedVideo, read: Mapping[int, GivenFrames], frames: int | None, fps: float
) -> Wired:
    """Combine a video of one clip with what was read for it; ``frames`` None: the whole clip."""
    length = video.length if frames is None else frames
    video.check_length(length)
    return Wired(
        video=video,
        frames=length,
        fps=fps,
        identity={"placed": {str(place): each.digest for place, each in read.items()}},
        notes=tuple(each.note for each in read.values()),
    )


def _filled(
    video: LongVideo, parts: Sequence[GivenFrames], given: Given, frames: int | None, fps: float
) -> Wired:
    """Combine a model with frames, ``parts`` one after another, between which it fills in.

    ``frames``, if not None, must be the number of frames that this makes.
    """
    filled = FilledVideo(video=video, frames=np.concatenate([part.frames for part in parts]))
    if given.factor not in (None, filled.factor):
        raise ValueError(
            f"factor={given.factor}: this model fills {plural(filled.factor - 1, 'frame')} between "
            f"two given ones, which is factor={filled.factor}"
        )
    if frames not in (None, filled.length):
        raise ValueError(
            f"frames={frames}: {len(filled.frames)} given frames, {filled.factor} apart, make a "
            f"video of {filled.length}; leave frames out"
        )
    return Wired(
        video=filled,
        frames=filled.length,
        fps=fps if given.interpolate is None else fps * filled.factor,
        identity={"between": [part.digest for part in parts]},
        notes=tuple(part.note for part in parts),
    )
