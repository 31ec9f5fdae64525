"""Measures of one video without a network, and the findings they amount to, in sentences."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool

from longtake.drift.descriptors import CHANNELS, COLOURFUL, EPSILON, Descriptors
from longtake.drift.pulses import Pulse, pulse
from longtake.drift.repeats import Freeze, Loop, freezes, loops
from longtake.drift.seams import Seams, borders_every, cuts, find_borders, seam_score, surprise
from longtake.drift.trends import LEAST_POINTS, Trend, trend

Kind = Literal[
    "freeze",
    "loop",
    "seams",
    "pulse",
    "cut",
    "colour",
    "contrast",
    "sharpness",
    "motion",
    "colourfulness",
]
SHARES: tuple[Kind, ...] = ("contrast", "sharpness", "motion", "colourfulness")
Name = TypeVar("Name", bound=str)

# Standard errors of a slope: 1 in 500 by chance, for Student's with 8 degrees of freedom.
SIGNIFICANT = 4.5
VISIBLE = {
    **dict.fromkeys(CHANNELS, 4.5 / 255),
    **dict.fromkeys(("contrast", "sharpness", "colourfulness"), math.log(1.25)),
    "motion": math.log(2),
}
"""Smallest visible change from first to last frame: 4.5 levels of 255, a quarter, double."""
EARLY = 6.0  # least ``Trend.early_strength`` of a change that ends early
AGREEMENT = 0.35  # least ``Trend.agreement``: zooms and people who cross have less, drift more

# Smallest ratio of jumps at given and at found joints; codecs have patterns of their own, to 1.3.
SEAM, FOUND_SEAM = 1.15, 1.35
# Change of a colour, and of the logarithm of a share, whose severity is 1.
FULL_COLOUR, FULL_SHARE = 0.25, math.log(16)
SHOWN = 4  # most cuts or freezes that are listed one by one
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
            ``sharpness``, ``motion`` and ``colourfulness`` as natural logarithms, whose slope is
            a relative change. Colours and colourfulness are what all parts of a picture share.
        seams: jumps at borders that were given or found; None without borders.
        pulse: the pattern of 2 to 8 frames that repeats; None without one.
        cuts: frames at which the picture jumps, away from borders.
    """

    frames: int
    trends: Mapping[str, Trend]
    freezes: tuple[Freeze, ...]
    loops: tuple[Loop, ...]
    seams: Seams | None
    pulse: Pulse | None
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
    skip = frozen.copy()
    for loop in repeated:
        skip[loop.start - loop.period : loop.start + loop.frames] = True
    pulsing = pulse(video, skip)
    given = None if chunk is None else borders_every(chunk, len(video), first)
    seams = find_borders(unexplained) if given is None else seam_score(rise, given)
    if seams and seams.found and pulsing and seams.period % pulsing.period == 0:
        seams = None
    at_border = _around(seams.borders if seams else ())
    jumped = tuple(t for t in cuts(unexplained, video.step) if t not in at_border)
    return Measures(
        frames=len(video),
        trends=trends(video, frozen, jumped),
        freezes=still,
        loops=repeated,
        seams=seams,
        pulse=pulsing,
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
    shared = video.shared(start, stop)
    lines = {
        name: replace(trend(part.values, frames), agreement=part.agreement)
        for name, part in shared.items()
    }
    for name, values in video.series().items():
        at = moving if name == "motion" else frames
        if name not in shared and len(at) >= LEAST_POINTS:
            lines[name] = trend(np.log(values[at] + EPSILON), at)
    return lines


def longest_stretch(cut: Sequence[int], frames: int) -> tuple[int, int]:
    """Half-open range of the frames between the two cuts that are farthest apart."""
    return max(pairwise([0, *cut, frames]), key=lambda pair: pair[1] - pair[0])


def judge(measures: Measures) -> tuple[Finding, ...]:
    """Findings, the most severe first; none for a stable video."""
    judges = (_freezes, _loops, _seams, _pulse, _cuts, _colour, _shares)
    findings = [finding for findings_of in judges for finding in findings_of(measures)]
    return tuple(sorted(findings, key=lambda finding: -finding.severity))


def _freezes(measures: Measures) -> Iterator[Finding]:
    if len(measures.freezes) > SHOWN:
        first, total = measures.freezes[0].start, sum(run.frames for run in measures.freezes)
        sentence = f"freezes {len(measures.freezes)} times from frame {first}, for {total} frames"
        severity = total / measures.frames + 0.5
        yield Finding(
            kind="freeze", frame=first, frames=total, severity=severity, sentence=sentence
        )
        return
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
    if seams.low < least:
        return
    every = f"every {seams.period} frames" if seams.period else f"at {len(seams.borders)} borders"
    first, severity = seams.borders[0], abs(math.log(seams.ratio))
    sentence = (
        f"seams {every} from frame {first}: jumps there are {seams.ratio:.2f} times those between "
        f"(95 % {seams.low:.2f} to {seams.high:.2f})"
    )
    yield Finding(kind="seams", frame=first, frames=0, severity=severity, sentence=sentence)


def _pulse(measures: Measures) -> Iterator[Finding]:
    if (found := measures.pulse) is None:
        return
    size = (
        f"{255 * found.size:.1f} levels"
        if found.measure == "brightness"
        else f"{100 * math.expm1(found.size):.0f} %"
    )
    sentence = f"pulses every {found.period} frames: {found.measure} changes by {size} each time"
    yield Finding(
        kind="pulse", frame=found.frame, frames=measures.frames, severity=0.1, sentence=sentence
    )


def _cuts(measures: Measures) -> Iterator[Finding]:
    if not measures.cuts:
        return
    first, count = measures.cuts[0], len(measures.cuts)
    at = ", ".join(str(at) for at in measures.cuts[:SHOWN])
    more = f" and {count - SHOWN} more" if count > SHOWN else ""
    sentence = f"jumps at frame{'s' if count > 1 else ''} {at}{more}, as at a cut"
    severity = 0.4 + count / measures.frames
    yield Finding(kind="cut", frame=first, frames=0, severity=severity, sentence=sentence)


def _colour(measures: Measures) -> Iterator[Finding]:
    drifting = _drifting(measures, CHANNELS)
    if not drifting:
        return
    sentence = "colour drifts: " + "; ".join(
        f"{name} {line.slope:+.3f} a hundred frames (95 % {line.low:+.3f} to {line.high:+.3f})"
        if _steady(name, line)
        else f"{name} {255 * line.early:+.0f} levels from the first eighth to the last quarter"
        for name, line in drifting.items()
    )
    severity = max(_change(name, line) for name, line in drifting.items()) / FULL_COLOUR
    yield Finding(
        kind="colour", frame=0, frames=measures.frames, severity=severity, sentence=sentence
    )


def _shares(measures: Measures) -> Iterator[Finding]:
    for name, line in _drifting(measures, SHARES).items():
        slope, low, high, early = (
            100 * math.expm1(part) for part in (line.slope, line.low, line.high, line.early)
        )
        sentence = f"{name} {'rises' if line.early > 0 else 'falls'}: " + (
            f"{slope:+.0f} % a hundred frames (95 % {low:+.0f} to {high:+.0f})"
            if _steady(name, line)
            else f"{early:+.0f} % from the first eighth to the last quarter"
        )
        severity = _change(name, line) / FULL_SHARE
        yield Finding(
            kind=name, frame=0, frames=measures.frames, severity=severity, sentence=sentence
        )


def _drifting(measures: Measures, names: Sequence[Name]) -> dict[Name, Trend]:
    """Trends of these measures that are significant and visible, over the video or early in it."""
    found = {name: measures.trends[name] for name in names if name in measures.trends}
    lines = {name: line for name, line in found.items() if line.agreement >= AGREEMENT}
    return {name: line for name, line in lines.items() if _steady(name, line) or _early(name, line)}


def _steady(name: str, line: Trend) -> bool:
    return abs(line.strength) >= SIGNIFICANT and abs(line.change) >= VISIBLE[name]


def _early(name: str, line: Trend) -> bool:
    return (
        name in (*CHANNELS, COLOURFUL)
        and abs(line.early_strength) >= EARLY
        and abs(line.early) >= VISIBLE[name]
    )


def _change(name: str, line: Trend) -> float:
    return abs(line.change if _steady(name, line) else line.early)


def _around(frames: Iterable[int]) -> set[int]:
    """All frames at most NEAR from one of these."""
    return {at + near for at in frames for near in range(-NEAR, NEAR + 1)}
