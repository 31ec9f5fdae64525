"""Options of ``longtake generate`` by which a user gives frames, and what they make of a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

if TYPE_CHECKING:
    from longtake.generate import LongVideo
    from longtake.given import Placed, Wired

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
    Path | None,
    Option("--end-image", help="image that each video ends with, also with --start-image"),
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
GivenAt = Annotated[
    list[str] | None,
    Option(
        "--given",
        help="frames at a place of a video of one clip, PLACE:IMAGE or FIRST-LAST:VIDEO, as "
        "8:a.png; may be repeated",
        show_default=False,
    ),
]
Loop = Annotated[bool, Option("--loop", help="lead the end of each video back to its first frame")]

_AT = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?:\s*(\S.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class GivenOptions:
    """Values of the options for given frames, by the options' names; None: not given.

    ``continued`` is the value of ``--continue``, ``placed`` are those of ``--given``.

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
    placed: Sequence[str] | None = None

    def __post_init__(self) -> None:
        ways = {
            "--start-image": self.start_image,
            "--continue": self.continued,
            "--end-image": self.end_image if self.start_image is None else None,
            "--given": self.placed or None,
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
        if self.loop and self.placed:
            raise ValueError("--loop and --given cannot be combined; choose one")
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
        end_image=None if between else options.end_image,
        placed=[_placed(text) for text in options.placed] if options.placed else None,
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


def _placed(text: str) -> "Placed":
    """Read a value of ``--given``; a ValueError if it is not of that form."""
    from longtake.given import Placed

    found = _AT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"--given {text}: expected a place and a file, such as 8:a.png, or 8-11:film.mp4 for "
            "a video's first frames"
        )
    first, last, path = found.groups()
    return Placed(path=Path(path), first=int(first), last=None if last is None else int(last))
