"""The frames where a video breaks, side by side, each under its number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import UInt8

from longtake.drift.seams import jumps, surprise
from longtake.drift.verdicts import Finding
from longtake.drift.video_drift import VideoDrift
from longtake.video import read_clip

SHOWN = 8
OVERVIEW = 12


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A row of frames.

    Attributes:
        title: what they show.
        frames: pictures of one size.
        numbers: of the frames in the video.
        marked: places in the row at which the fault shows.
    """

    title: str
    frames: UInt8[np.ndarray, "n h w 3"]
    numbers: tuple[int, ...]
    marked: tuple[int, ...] = ()


def overview(video: VideoDrift) -> Strip:
    """Frames from the first to the last."""
    return _strip(video, "", _even(0, video.info.frames - 1, OVERVIEW))


def strips(video: VideoDrift, finding: Finding) -> list[Strip]:
    """One row that shows a fault; two for a loop: what is shown again, and when it was first."""
    return _SHOWN_BY.get(finding.kind, _whole)(video, finding)


def _whole(video: VideoDrift, finding: Finding) -> list[Strip]:
    return [_strip(video, finding.sentence, _even(0, video.info.frames - 1, SHOWN))]


def _loop(video: VideoDrift, finding: Finding) -> list[Strip]:
    loop = next(loop for loop in video.measures.loops if loop.start == finding.frame)
    again = _even(loop.start, loop.start + min(loop.frames, loop.period) - 1, SHOWN)
    before = [number - loop.period for number in again]
    return [_strip(video, finding.sentence, before), _strip(video, "", again, every=True)]


def _freeze(video: VideoDrift, finding: Finding) -> list[Strip]:
    last = min(finding.frame + finding.frames, video.info.frames) - 1
    inside = _even(finding.frame, last, SHOWN - 4)
    numbers = [finding.frame - 2, finding.frame - 1, *inside, last + 1, last + 2]
    return [_strip(video, finding.sentence, numbers, set(inside))]


def _seams(video: VideoDrift, finding: Finding) -> list[Strip]:
    return _around(video, finding, _sharpest(video))


def _cut(video: VideoDrift, finding: Finding) -> list[Strip]:
    return _around(video, finding, finding.frame)


def _around(video: VideoDrift, finding: Finding, at: int) -> list[Strip]:
    return [_strip(video, finding.sentence, range(at - 4, at + 4), {at})]


_SHOWN_BY: Mapping[str, Callable[[VideoDrift, Finding], list[Strip]]] = {
    "loop": _loop,
    "freeze": _freeze,
    "seams": _seams,
    "cut": _cut,
}
"""By kind of fault; what is not named here goes on through the whole video."""


def _sharpest(video: VideoDrift) -> int:
    """The border with the largest jump."""
    assert video.measures.seams is not None
    rise = surprise(jumps(video.numbers.thumbnails))
    return max(video.measures.seams.borders, key=lambda border: rise[border])


def _strip(
    video: VideoDrift,
    title: str,
    numbers: Sequence[int],
    marked: set[int] | None = None,
    *,
    every: bool = False,
) -> Strip:
    wanted = [number for number in numbers if 0 <= number < video.info.frames]
    frames = np.concatenate([_read(video, run) for run in _runs(wanted)])
    chosen = set(wanted) if every else marked or set()
    at = tuple(place for place, number in enumerate(wanted) if number in chosen)
    return Strip(title=title, frames=frames, numbers=tuple(wanted), marked=at)


def _read(video: VideoDrift, run: Sequence[int]) -> UInt8[np.ndarray, "n h w 3"]:
    return read_clip(video.info.path, run[0], len(run))


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers that follow each other, together."""
    groups = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [[number for _, number in group] for _, group in groups]


def _even(first: int, last: int, count: int) -> list[int]:
    return [int(number) for number in np.unique(np.linspace(first, last, count).round())]
