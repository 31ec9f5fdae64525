"""Frames that show a finding, side by side with their numbers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from jaxtyping import UInt8

from longtake.drift.findings import Finding
from longtake.drift.seams import jumps, surprise
from longtake.drift.video_drift import VideoDrift
from longtake.video import read_clip

SHOWN = 8  # frames of a strip
OVERVIEW = 12  # frames of the strip that shows the whole video


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A row of frames.

    Attributes:
        title: the finding as a sentence; may be empty.
        numbers: index of each frame in the video.
        marked: positions in the row at which the fault shows.
    """

    title: str
    frames: UInt8[np.ndarray, "n h w 3"]
    numbers: tuple[int, ...]
    marked: tuple[int, ...] = ()


def overview(video: VideoDrift) -> Strip:
    """Evenly spaced frames from the first to the last."""
    return _strip(video, "", _even(0, video.info.frames - 1, OVERVIEW))


def strips(video: VideoDrift, finding: Finding) -> list[Strip]:
    """One row that shows a finding; two for a loop: the original frames, then their repeats."""
    return _STRIPS.get(finding.kind, _drift)(video, finding)


def _drift(video: VideoDrift, finding: Finding) -> list[Strip]:
    return [_strip(video, finding.sentence, _even(0, video.info.frames - 1, SHOWN))]


def _loop(video: VideoDrift, finding: Finding) -> list[Strip]:
    loop = next(loop for loop in video.measures.loops if loop.start == finding.frame)
    repeats = _even(loop.start, loop.start + min(loop.frames, loop.period) - 1, SHOWN)
    originals = [number - loop.period for number in repeats]
    return [_strip(video, finding.sentence, originals), _strip(video, "", repeats, repeats)]


def _freeze(video: VideoDrift, finding: Finding) -> list[Strip]:
    last = min(finding.frame + finding.frames, video.info.frames) - 1
    inside = _even(finding.frame, last, SHOWN - 4)
    numbers = [finding.frame - 2, finding.frame - 1, *inside, last + 1, last + 2]
    return [_strip(video, finding.sentence, numbers, inside)]


def _seams(video: VideoDrift, finding: Finding) -> list[Strip]:
    """Frames around the border with the largest jump."""
    assert video.measures.seams is not None
    rise = surprise(jumps(video.numbers.thumbnails))
    largest = max(video.measures.seams.borders, key=lambda border: rise[border])
    return _cut(video, replace(finding, frame=largest))


def _cut(video: VideoDrift, finding: Finding) -> list[Strip]:
    at = finding.frame
    return [_strip(video, finding.sentence, range(at - SHOWN // 2, at + SHOWN // 2), [at])]


# By kind of finding; other kinds are drifts, which span the whole video.
_STRIPS = {"loop": _loop, "freeze": _freeze, "seams": _seams, "cut": _cut}


def _strip(
    video: VideoDrift, title: str, numbers: Sequence[int], marked: Collection[int] = ()
) -> Strip:
    inside = [number for number in numbers if 0 <= number < video.info.frames]
    frames = [read_clip(video.info.path, run[0], len(run)) for run in _runs(inside)]
    return Strip(
        title=title,
        frames=np.concatenate(frames),
        numbers=tuple(inside),
        marked=tuple(position for position, number in enumerate(inside) if number in marked),
    )


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Consecutive numbers grouped together."""
    groups = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [[number for _, number in group] for _, group in groups]


def _even(first: int, last: int, count: int) -> list[int]:
    return [int(number) for number in np.unique(np.linspace(first, last, count).round())]
