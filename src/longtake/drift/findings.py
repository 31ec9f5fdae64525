"""Measures of one video without a network, and the findings they amount to, in sentences."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool

from longtake.drift.descriptors import EPSILON, Descriptors
from longtake.drift.repeats import Freeze, Loop, freezes, loops
from longtake.drift.seams import (
    Seams,
    borders_every,
    cuts,
    find_borders,
    jumps,
    seam_score,
    surprise,
)
from longtake.drift.trends import LEAST_POINTS, Trend, trend

Kind = Literal["freeze", "loop", "seams", "cut", "colour", "contrast", "sharpness", "motion"]
SHARES: tuple[Kind, ...] = ("contrast", "sharpness", "motion")
CHANNELS = ("red", "green", "blue")

# Standard errors of a slope: 1 in 500 by chance, for Student's with 8 degrees of freedom.
SIGNIFICANT = 4.5
VISIBLE = {
    "red": 0.04,
    "green": 0.04,
    "blue": 0.04,
    "contrast": math.log(1.25),
    "sharpness": math.log(1.25),
    "motion": math.log(2),
}
"""Smallest visible change from first to last frame: 10 levels of 255, a quarter, double."""

# Smallest ratio of jumps at given and at found joints; codecs have patterns of their own, to 1.3.
SEAM, FOUND_SEAM = 1.15, 1.35
# Change of a colour, and of the logarithm of a share, whose severity is 1.
FULL_COLOUR, FULL_SHARE = 0.25, math.log(16)
CUTS_SHOWN = 4  # most cuts that a sentence lists
NEAR = 2  # frames around a freeze, a loop's joint or a border whose jumps it explains


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault of a video.

    Attributes:
        frame: first frame that shows the fault.
        frames: number of frames that show it; 0 for a single moment.
        severity: above 0; about 1 for a fault that spoils the whole video.
    """

    kind: Kind
    frame: int
    frames: int
    severity: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Measures:
    """All measures of one video that need no network.

    Attributes:
        trends: trend of ``red``, ``green`` and ``blue`` in [0, 1], and of ``contrast``,
            ``sharpness`` and ``motion`` as natural logarithms, whose slope is a relative change.
        seams: jumps at borders that were given or found; None without borders.
        cuts: frames at which the picture jumps, away from borders.
    """

    frames: int
    trends: Mapping[str, Trend]
    freezes: tuple[Freeze, ...]
    loops: tuple[Loop, ...]
    seams: Seams | None
    cuts: tuple[int, ...]


def measure(video: Descriptors, chunk: int | None = None, first: int | None = None) -> Measures:
    """Trends, freezes, loops, seams and cuts.

    Args:
        video: descriptors of the video's frames.
        chunk: frames from border to border; None searches for borders.
        first: frames before the first border; None is ``chunk``.
    """
    still = freezes(video.step)
    frozen = np.zeros(len(video), bool)
    for run in still:
        frozen[run.start : run.start + run.frames] = True
    repeated = loops(video.thumbnails, frozen)
    rise = surprise(jumps(video.thumbnails))
    ends = {at for run in still for at in (run.start, run.start + run.frames)}
    ends |= {
        loop.start + i * loop.period
        for loop in repeated
        for i in range(loop.frames // loop.period + 2)
    }
    unexplained = rise.copy()
    unexplained[sorted(at for at in _around(ends) if 0 <= at < len(rise))] = 0
    if chunk is None:
        seams = find_borders(unexplained)
    else:
        seams = seam_score(rise, borders_every(chunk, len(video), first))
    at_border = _around(seams.borders if seams else ())
    jumped = tuple(t for t in cuts(unexplained, video.step) if t not in at_border)
    return Measures(
        frames=len(video),
        trends=trends(video, frozen, jumped),
        freezes=still,
        loops=repeated,
        seams=seams,
        cuts=jumped,
    )


def trends(
    video: Descriptors, frozen: Bool[np.ndarray, "t"], cut: Sequence[int] = ()
) -> dict[str, Trend]:
    """Trend of each measure within the longest stretch between cuts.

    Frozen frames do not count for motion. A stretch under 32 frames has no trends.
    """
    start, stop = longest_stretch(cut, len(video))
    frames = np.arange(start, stop)
    if len(frames) < 2 * LEAST_POINTS:
        return {}
    lines = {name: trend(video.colour[frames, i], frames) for i, name in enumerate(CHANNELS)}
    for name, values in (("contrast", video.contrast), ("sharpness", video.sharpness)):
        lines[name] = trend(np.log(values[frames] + EPSILON), frames)
    moving = frames[1:][~frozen[frames[1:]]]
    if len(moving) >= LEAST_POINTS:
        lines["motion"] = trend(np.log(video.motion[moving] + EPSILON), moving)
    return lines


def longest_stretch(cut: Sequence[int], frames: int) -> tuple[int, int]:
    """Half-open range of the frames between the two cuts that are farthest apart."""
    return max(pairwise([0, *cut, frames]), key=lambda pair: pair[1] - pair[0])


def judge(measures: Measures) -> tuple[Finding, ...]:
    """Findings, the most severe first; none for a stable video."""
    judges = (_freezes, _loops, _seams, _cuts, _colour, _shares)
    findings = [finding for findings_of in judges for finding in findings_of(measures)]
    return tuple(sorted(findings, key=lambda finding: -finding.severity))


def _freezes(measures: Measures) -> Iterator[Finding]:
    for run in measures.freezes:
        yield Finding(
            kind="freeze",
            frame=run.start,
            frames=run.frames,
            severity=run.frames / measures.frames + 0.5,
            sentence=f"freezes at frame {run.start} for {run.frames} frames",
        )


def _loops(measures: Measures) -> Iterator[Finding]:
    for loop in measures.loops:
        last, shown = loop.start + loop.frames - 1, loop.start - loop.period
        sentence = f"loops from frame {shown} to {last}, every {loop.period} frames"
        if loop.frames < loop.period:
            sentence = (
                f"repeats itself: frames {loop.start} to {last} show frames {shown} to "
                f"{last - loop.period} again"
            )
        yield Finding(
            kind="loop",
            frame=loop.start,
            frames=loop.frames,
            severity=loop.frames / measures.frames + 0.5,
            sentence=sentence,
        )


def _seams(measures: Measures) -> Iterator[Finding]:
    seams = measures.seams
    if seams is None:
        return
    least = FOUND_SEAM if seams.found else SEAM
    if seams.low < least and seams.high > 1 / least:
        return
    every = f"every {seams.period} frames" if seams.period else f"at {len(seams.borders)} borders"
    yield Finding(
        kind="seams",
        frame=seams.borders[0],
        frames=0,
        severity=abs(math.log(seams.ratio)),
        sentence=f"seams {every} from frame {seams.borders[0]}: jumps there are {seams.ratio:.2f} "
        f"times those between (95 % {seams.low:.2f} to {seams.high:.2f})",
    )


def _cuts(measures: Measures) -> Iterator[Finding]:
    if not measures.cuts:
        return
    at = "frame " if len(measures.cuts) == 1 else "frames "
    at += ", ".join(str(at) for at in measures.cuts[:CUTS_SHOWN])
    if (more := len(measures.cuts) - CUTS_SHOWN) > 0:
        at += f" and {more} more"
    yield Finding(
        kind="cut",
        frame=measures.cuts[0],
        frames=0,
        severity=0.4 + len(measures.cuts) / measures.frames,
        sentence=f"jumps at {at}, as at a cut",
    )


def _colour(measures: Measures) -> Iterator[Finding]:
    drifting = {name: line for name in CHANNELS if (line := _drifting(measures, name))}
    if not drifting:
        return
    slopes = "; ".join(
        f"{name} {line.slope:+.3f} a hundred frames (95 % {line.low:+.3f} to {line.high:+.3f})"
        for name, line in drifting.items()
    )
    yield Finding(
        kind="colour",
        frame=0,
        frames=measures.frames,
        severity=max(abs(line.change) for line in drifting.values()) / FULL_COLOUR,
        sentence=f"colour drifts: {slopes}",
    )


def _shares(measures: Measures) -> Iterator[Finding]:
    for name in SHARES:
        if (line := _drifting(measures, name)) is None:
            continue
        slope, low, high = (100 * math.expm1(part) for part in (line.slope, line.low, line.high))
        yield Finding(
            kind=name,
            frame=0,
            frames=measures.frames,
            severity=abs(line.change) / FULL_SHARE,
            sentence=f"{name} {'rises' if line.change > 0 else 'falls'}: {slope:+.0f} % a hundred "
            f"frames (95 % {low:+.0f} to {high:+.0f})",
        )


def _drifting(measures: Measures, name: str) -> Trend | None:
    """The measure's trend if it is significant and visible."""
    line = measures.trends.get(name)
    if line is None or abs(line.strength) < SIGNIFICANT or abs(line.change) < VISIBLE[name]:
        return None
    return line


def _around(frames: Iterable[int]) -> set[int]:
    """All frames at most NEAR from one of these."""
    return {at + near for at in frames for near in range(-NEAR, NEAR + 1)}
