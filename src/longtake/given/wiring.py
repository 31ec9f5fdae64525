"""Combines a model with the files of frames that a user gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longtake.config import plural
from longtake.generate import LongVideo, VideoStream
from longtake.given.filled import FilledVideo
from longtake.given.looped import LoopedVideo
from longtake.given.reading import GivenFrames, read_given_image, read_given_video
from longtake.given.started import StartedVideo

DEFAULT_FRAMES = 64


@dataclass(frozen=True, kw_only=True)
class Given:
    """Files whose frames are given; None where none is.

    Attributes:
        start_image: image that is the first frame.
        continued: video that is continued.
        between: first and last image of the video.
        interpolate: video that gets new frames between all of its frames.
        factor: distance in the new video between two frames of ``interpolate``, which the model
            must make: another is an error. None: any.
        loop: lead the end of the video back to its first frame.

    Raises:
        ValueError: more than one of the first four is given, ``loop`` with ``between`` or
            ``interpolate``, or ``factor`` without ``interpolate``.
    """

    start_image: Path | None = None
    continued: Path | None = None
    between: tuple[Path, Path] | None = None
    interpolate: Path | None = None
    factor: int | None = None
    loop: bool = False

    def __post_init__(self) -> None:
        ways = ("start_image", "continued", "between", "interpolate")
        chosen = [way for way in ways if getattr(self, way) is not None]
        if self.loop and chosen and chosen[-1] in ("between", "interpolate"):
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
