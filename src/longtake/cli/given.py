"""Options of ``longtake generate`` by which a user gives frames, and what they make of a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

if TYPE_CHECKING:
    from longtake.generate import LongVideo
    from longtake.given import Wired

Frames = Annotated[
    int | None,
    Option(
        min=1,
        help="length of each video [default: 64, one clip if the model makes no longer videos, or "
        "what --between and --interpolate make]",
    ),
]
StartImage = Annotated[
    Path | None, Option("--start-image", help="image that each video begins with")
]
EndImage = Annotated[
    Path | None, Option("--end-image", help="image that it ends with, with --start-image")
]
Continue = Annotated[Path | None, Option("--continue", help="video that each video continues")]
Between = Annotated[
    tuple[Path, Path] | None,
    Option("--between", help="first and last frame of each video, two images"),
]
Interpolate = Annotated[Path | None, Option(help="video between whose frames new ones are made")]
Factor = Annotated[
    int | None, Option(min=2, help="check that --interpolate multiplies frames by this")
]
Loop = Annotated[bool, Option("--loop", help="lead the end of each video back to its first frame")]


@dataclass(frozen=True)
class GivenOptions:
    """Values of the options for given frames, by the options' names; None: not given.

    ``continued`` is the value of ``--continue``.

    Raises:
        ValueError: options contradict each other.
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


def wire(video: "LongVideo", options: GivenOptions, frames: int | None, fps: float) -> "Wired":
    """Read the given frames, print what was read, and combine them with a model.

    Args:
        video: the model.
        options: options for given frames.
        frames: number of frames of each video; None: 64, or as many as the model can make or the
            given frames ask for.
        fps: frame rate of the model's videos.

    Raises:
        ValueError: the model cannot use the given frames, or ``frames`` does not fit.
    """
    from longtake.given import Given, wired

    between = options.between
    if options.start_image is not None and options.end_image is not None:
        between = (options.start_image, options.end_image)
    given = Given(
        start_image=None if between else options.start_image,
        continued=options.continued,
        between=between,
        interpolate=options.interpolate,
        factor=options.factor,
        loop=options.loop,
    )
    found = wired(video, given, frames, fps)
    for note in found.notes:
        print(note)
    return found
