"""Options of ``longtake generate`` by which a user gives frames, and what they make of a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

if TYPE_CHECKING:
    from longtake.generate import LongVideo, VideoStream
    from longtake.given import GivenFrames

DEFAULT_FRAMES = 64

Frames = Annotated[
    int | None,
    Option(min=1, help="length of each video; 64, or what --between and --interpolate make"),
]
StartImage = Annotated[Path | None, Option("--start-image", help="first frame of each video")]
EndImage = Annotated[Path | None, Option("--end-image", help="last frame, after --start-image")]
Continue = Annotated[Path | None, Option("--continue", help="video that each video continues")]
Between = Annotated[
    tuple[Path, Path] | None, Option("--between", help="first and last image of each video")
]
Interpolate = Annotated[Path | None, Option(help="video to fill in between whose frames")]
Factor = Annotated[int | None, Option(min=2, help="frames from one to the next of --interpolate")]
Loop = Annotated[bool, Option("--loop", help="lead the end of each video back to its beginning")]


@dataclass(frozen=True)
class GivenOptions:
    """Values of the options for given frames; None for an option that was not given.

    A ValueError if options contradict each other.
    """

    start_image: Path | None
    end_image: Path | None
    continued: Path | None
    between: tuple[Path, Path] | None
    interpolate: Path | None
    factor: int | None
    loop: bool

    def __post_init__(self) -> None:
        ways = {
            "--start-image": self.start_image,
            "--continue": self.continued,
            "--between": self.between,
            "--interpolate": self.interpolate,
        }
        chosen = [option for option, value in ways.items() if value is not None]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} cannot be combined; choose one")
        filled = [option for option in ("--between", "--interpolate") if ways[option] is not None]
        filled += [] if self.end_image is None else ["--end-image"]
        if self.loop and filled:
            raise ValueError(
                f"--loop and {filled[0]} cannot be combined: that video ends with a given frame; "
                "choose one"
            )
        if self.end_image is not None and self.start_image is None:
            raise ValueError(
                f"--end-image {self.end_image}: no video can be made towards a last frame "
                "alone; give --start-image too"
            )
        if self.factor is not None and self.interpolate is None:
            raise ValueError(
                f"--factor {self.factor} belongs to --interpolate VIDEO; give that too"
            )


@dataclass(frozen=True, kw_only=True)
class Wired:
    """What makes videos with frames that the user gives.

    Attributes:
        video: makes the videos.
        frames: number of frames of each video.
        fps: frame rate of the files.
        identity: what the videos depend on besides model, sampling and request, as JSON data.
        sheets: also write a contact sheet of each video.
    """

    video: "VideoStream"
    frames: int
    fps: float
    identity: Mapping[str, Any]
    sheets: bool = False


def wire(video: "LongVideo", options: GivenOptions, frames: int | None, fps: float) -> Wired:
    """Read the given frames, print what was read, and combine them with a model.

    Args:
        video: the model.
        options: options for given frames.
        frames: number of frames of each video; None: the default.
        fps: frame rate of the model's videos.

    Raises:
        ValueError: the model cannot use the given frames, or ``frames`` does not fit.
    """
    from longtake.given import LoopedVideo, StartedVideo, read_given_image, read_given_video

    size = video.autoencoder.spec.clip[1:]
    images = options.between
    if options.start_image is not None and options.end_image is not None:
        images = (options.start_image, options.end_image)
    if images is not None:
        pair = [read_given_image(path, size, fps) for path in images]
        return _filled(video, pair, options, frames, fps)
    if options.interpolate is not None:
        given = read_given_video(options.interpolate, size, None)
        return _filled(video, [given], options, frames, given.fps)
    given, opening, identity = None, video, {}
    if options.start_image is not None:
        given = read_given_image(options.start_image, size, fps)
    elif options.continued is not None:
        given = read_given_video(options.continued, size, fps)
    length = sampled = frames or DEFAULT_FRAMES
    if options.loop:
        looped = LoopedVideo(video=video, opening=opening)
        looped.check_length(length)
        sampled, identity = length - looped.closing, {"loop": True}
    if given is not None:
        print(given.note)
        opening = StartedVideo(video=video, frames=given.frames)
        opening.check_length(sampled)
        identity = {**identity, "given": given.digest}
    stream = LoopedVideo(video=video, opening=opening) if options.loop else opening
    return Wired(video=stream, frames=length, fps=fps, identity=identity)


def _filled(
    video: "LongVideo",
    parts: "list[GivenFrames]",
    options: GivenOptions,
    frames: int | None,
    fps: float,
) -> Wired:
    """Wire a model to fill in between given frames."""
    import numpy as np

    from longtake.given import FilledVideo

    filled = FilledVideo(video=video, frames=np.concatenate([part.frames for part in parts]))
    if options.factor not in (None, filled.factor):
        raise ValueError(
            f"--factor {options.factor}: this model fills {filled.factor - 1} frames between two "
            f"given ones, which is --factor {filled.factor}"
        )
    if frames not in (None, filled.length):
        raise ValueError(
            f"--frames {frames}: {len(filled.frames)} given frames, {filled.factor} apart, make a "
            f"video of {filled.length}; leave --frames out"
        )
    for part in parts:
        print(part.note)
    rate = fps if options.interpolate is None else fps * filled.factor
    digests = [part.digest for part in parts]
    return Wired(video=filled, frames=filled.length, fps=rate, identity={"between": digests})
