"""Measures of one video without a network, and the findings they amount to, in sentences."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool

from longtake.drift.descriptors import CHANNELS, EPSILON, Descriptors
from longtake.drift.repeats import Freeze, Loop, freezes, loops
from longtake.drift.seams import Seams, borders_every, cuts, find_borders, seam_score, surprise
from longtake.drift.trends import LEAST_POINTS, Trend, trend

Kind = Literal["freeze", "loop", "seams", "cut", "colour", "contrast", "sharpness", "motion"]
SHARES: tuple[Kind, ...] = ("contrast", "sharpness", "motion")
Name = TypeVar("Name", bound=str)

# Standard errors of a slope: 1 in 500 by chance, for Student's with 8 degrees of freedom.
SIGNIFICANT = 4.5
VISIBLE = {
    **dict.fromkeys(CHANNELS, 0.04),
    **dict.fromkeys(("contrast", "sharpness"), math.log(1.25)),
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
    rise = surprise(video.thumbnails)
    ends = {at for run in still for at in (run.start, run.start + run.frames)}
    for loop in repeated:
        ends |= {loop.start + i * loop.period for i in range(loop.frames // loop.period + 2)}
    unexplained = rise.copy()
    unexplained[sorted(at for at in _around(ends) if 0 <= at < len(rise))] = 0
    given = None if chunk is None else borders_every(chunk, len(video), first)
    seams = find_borders(unexplained) if given is None else seam_score(rise, given)
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
    moving = frames[1:][~frozen[frames[1:]]]
    lines = {}
    for name, values in video.series().items():
        at = moving if name == "motion" else frames
        if len(at) >= LEAST_POINTS:
            shown = values[at] if name in CHANNELS else np.log(values[at] + EPSILON)
            lines[name] = trend(shown, at)
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
        severity = run.frames / measures.frames + 0.5
        sentence = f"freezes at frame {run.start} for {run.frames} frames"
        yield Finding(
            kind="freeze", frame=run.start, frames=run.frames, severity=severity, sentence=sentence
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
        severity = loop.frames / measures.frames + 0.5
        yield Finding(
            kind="loop", frame=loop.start, frames=loop.frames, severity=severity, sentence=sentence
        )


def _seams(measures: Measures) -> Iterator[Finding]:
    seams = measures.seams
    if seams is None:
        return
    least = FOUND_SEAM if seams.found else SEAM
    if seams.low < least and seams.high > 1 / least:
        return
    every = f"every {seams.period} frames" if seams.period else f"at {len(seams.borders)} borders"
    first, severity = seams.borders[0], abs(math.log(seams.ratio))
    sentence = (
        f"seams {every} from frame {first}: jumps there are {seams.ratio:.2f} times those between "
        f"(95 % {seams.low:.2f} to {seams.high:.2f})"
    )
    yield Finding(kind="seams", frame=first, frames=0, severity=severity, sentence=sentence)


def _cuts(measures: Measures) -> Iterator[Finding]:
    if not measures.cuts:
        return
    first, count = measures.cuts[0], len(measures.cuts)
    at = ", ".join(str(at) for at in measures.cuts[:CUTS_SHOWN])
    more = f" and {count - CUTS_SHOWN} more" if count > CUTS_SHOWN else ""
    sentence = f"jumps at frame{'s' if count > 1 else ''} {at}{more}, as at a cut"
    severity = 0.4 + count / measures.frames
    yield Finding(kind="cut", frame=first, frames=0, severity=severity, sentence=sentence)


def _colour(measures: Measures) -> Iterator[Finding]:
    drifting = _drifting(measures, CHANNELS)
    if not drifting:
        return
    sentence = "colour drifts: " + "; ".join(
        f"{name} {line.slope:+.3f} a hundred frames (95 % {line.low:+.3f} to {line.high:+.3f})"
        for name, line in drifting.items()
    )
    frames, severity = measures.frames, max(abs(v.change) for v in drifting.values()) / FULL_COLOUR
    yield Finding(kind="colour", frame=0, frames=frames, severity=severity, sentence=sentence)


def _shares(measures: Measures) -> Iterator[Finding]:
    for name, line in _drifting(measures, SHARES).items():
        slope, low, high = (100 * math.expm1(part) for part in (line.slope, line.low, line.high))
        sentence = (
            f"{name} {'rises' if line.change > 0 else 'falls'}: {slope:+.0f} % a hundred "
            f"frames (95 % {low:+.0f} to {high:+.0f})"
        )
        frames, severity = measures.frames, abs(line.change) / FULL_SHARE
        yield Finding(kind=name, frame=0, frames=frames, severity=severity, sentence=sentence)


def _drifting(measures: Measures, names: Sequence[Name]) -> dict[Name, Trend]:
    """Trends of these measures that are significant and visible."""
    return {
        name: line
        for name in names
        if (line := measures.trends.get(name)) is not None
        and abs(line.strength) >= SIGNIFICANT
        and abs(line.change) >= VISIBLE[name]
    }


def _around(frames: Iterable[int]) -> set[int]:
    """All frames at most NEAR from one of these."""
    return {at + near for at in frames for near in range(-NEAR, NEAR + 1)}
