"""Findings: the faults that the measures of a video amount to, in sentences."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from longtake.drift.descriptors import CHANNELS
from longtake.drift.measures import Measures
from longtake.drift.repeats import LEAST_EQUAL, LEAST_STILL
from longtake.drift.seams import FOUND_SEAM, SEAM
from longtake.drift.shared import COLOURFUL
from longtake.drift.trends import Trend

Kind = Literal[
    "freeze",
    "loop",
    "seams",
    "pulse",
    "cut",
    "jump",
    "colour",
    "contrast",
    "sharpness",
    "motion",
    "colourfulness",
]
SHARES: tuple[Kind, ...] = ("contrast", "sharpness", "motion", "colourfulness")
Name = TypeVar("Name", bound=str)

# Standard errors of a slope: 1 in 1,000 by chance, for Student's with 8 degrees of freedom.
SIGNIFICANT = 5.0
VISIBLE = {
    **dict.fromkeys(CHANNELS, 4.5 / 255),
    "contrast": math.log(1.1),
    "sharpness": math.log(1.12),
    "colourfulness": math.log(1.2),
    "motion": math.log(1.2),
}
"""Smallest change from first to last frame that is reported: of colours in [0, 1], of other
measures as natural logarithms. Clean video stays below."""
EARLY = 6.0  # least ``Trend.early_strength`` of a change that ends early
# Least ``Trend.agreement`` of a drift and of one that ends early: people who cross have less.
# Motion that dies is reported without: cells at different speeds do not slow down alike.
AGREEMENT, EARLY_AGREEMENT = 0.35, 0.4
# Where nearly all of the picture slows down alike, fewer standard errors are enough.
WHOLE, WHOLE_SIGNIFICANT = 0.8, 3.0

# Change of a colour, and of the logarithm of a share, whose severity is 1.
FULL_COLOUR, FULL_SHARE = 0.25, math.log(16)
SHOWN = 4  # most cuts or freezes that are listed one by one


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault of a video, such as a drift, a freeze or a seam.

    Attributes:
        kind: kind of the fault.
        frame: index of the first frame that shows it.
        frames: number of frames that show it; 0 for a single moment.
        severity: greater than 0; about 1 for a fault that spoils the whole video.
        strength: size as a multiple of the smallest that is reported, at least 1; findings of one
            kind compare by it.
        sentence: the fault in words.
    """

    kind: Kind
    frame: int
    frames: int
    severity: float
    strength: float
    sentence: str


def judge(measures: Measures) -> tuple[Finding, ...]:
    """Faults that measures of a video show, the most severe first; empty for a stable video."""
    judges = (_freezes, _loops, _seams, _pulse, _cuts, _light_jumps, _colour, _shares)
    findings = [finding for findings_of in judges for finding in findings_of(measures)]
    return tuple(sorted(findings, key=lambda finding: -finding.severity))


def _freezes(measures: Measures) -> Iterator[Finding]:
    """Runs of equal frames or parts of them; one finding for all if there are many."""
    if len(measures.freezes) > SHOWN:
        first, total = measures.freezes[0].start, sum(run.frames for run in measures.freezes)
        sentence = f"freezes {len(measures.freezes)} times from frame {first}, for {total} frames"
        yield Finding(
            kind="freeze",
            frame=first,
            frames=total,
            severity=total / measures.frames + 0.5,
            strength=total / LEAST_STILL,
            sentence=sentence,
        )
        return
    for run in measures.freezes:
        what = "" if run.share == 1 else f"{100 * run.share:.0f} % of the picture "
        sentence = f"{what}freezes at frame {run.start} for {run.frames} frames"
        yield Finding(
            kind="freeze",
            frame=run.start,
            frames=run.frames,
            severity=run.share * run.frames / measures.frames + 0.5,
            strength=max(1.0, run.share * run.frames / LEAST_STILL),
            sentence=sentence,
        )


def _loops(measures: Measures) -> Iterator[Finding]:
    """Frames that are shown again."""
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
            strength=loop.frames / LEAST_EQUAL,
            sentence=sentence,
        )


def _seams(measures: Measures) -> Iterator[Finding]:
    """Jumps at the borders of clips that are larger than elsewhere."""
    seams = measures.seams
    if seams is None or not seams.jumps:
        return
    every = f"every {seams.period} frames" if seams.period else f"at {len(seams.borders)} borders"
    first, severity = seams.borders[0], abs(math.log(seams.ratio))
    least = math.log(FOUND_SEAM if seams.found else SEAM)
    sentence = (
        f"seams {every} from frame {first}: jumps there are {seams.ratio:.2f} times those between "
        f"(95 % {seams.low:.2f} to {seams.high:.2f})"
    )
    yield Finding(
        kind="seams",
        frame=first,
        frames=0,
        severity=severity,
        strength=severity / least,
        sentence=sentence,
    )


def _pulse(measures: Measures) -> Iterator[Finding]:
    """A measure that changes by one period again and again."""
    if (found := measures.pulse) is None:
        return
    size = (
        f"{255 * found.size:.1f} levels"
        if found.measure == "brightness"
        else f"{100 * math.expm1(found.size):.0f} %"
    )
    sentence = f"pulses every {found.period} frames: {found.measure} changes by {size} each time"
    yield Finding(
        kind="pulse",
        frame=found.frame,
        frames=measures.frames,
        severity=0.1,
        strength=found.visible,
        sentence=sentence,
    )


def _cuts(measures: Measures) -> Iterator[Finding]:
    found = measures.cuts, measures.cut_strength
    return _at(*found, measures, "cut", "jumps at {}, as at a cut", 0.4)


def _light_jumps(measures: Measures) -> Iterator[Finding]:
    found = measures.light_jumps, measures.light_strength
    return _at(*found, measures, "jump", "brightness jumps at {}", 0.2)


def _at(
    frames: Sequence[int],
    strength: float,
    measures: Measures,
    kind: Kind,
    sentence: str,
    least: float,
) -> Iterator[Finding]:
    """One finding about single frames, if there are any, of a severity of at least ``least``."""
    if frames:
        yield Finding(
            kind=kind,
            frame=frames[0],
            frames=0,
            severity=least + len(frames) / measures.frames,
            strength=strength,
            sentence=sentence.format(_listed(frames)),
        )


def _listed(frames: Sequence[int]) -> str:
    more = f" and {len(frames) - SHOWN} more" if len(frames) > SHOWN else ""
    return f"frame{'s' if len(frames) > 1 else ''} " + ", ".join(map(str, frames[:SHOWN])) + more


def _colour(measures: Measures) -> Iterator[Finding]:
    """Mean colours that drift over the video."""
    drifting = _drifting(measures, CHANNELS)
    if not drifting:
        return
    sentence = "colour drifts: " + "; ".join(
        f"{name} {line.slope:+.3f} a hundred frames (95 % {line.low:+.3f} to {line.high:+.3f})"
        if not _early(name, line)
        else f"{name} {255 * line.early:+.0f} levels from the first eighth to the last quarter"
        for name, line in drifting.items()
    )
    change = max(_change(name, line) for name, line in drifting.items())
    yield Finding(
        kind="colour",
        frame=0,
        frames=measures.frames,
        severity=change / FULL_COLOUR,
        strength=change / VISIBLE[CHANNELS[0]],
        sentence=sentence,
    )


def _shares(measures: Measures) -> Iterator[Finding]:
    """Contrast, sharpness and motion that rise or fall over the video."""
    for name, line in _drifting(measures, SHARES).items():
        slope, low, high, early = (
            100 * math.expm1(part) for part in (line.slope, line.low, line.high, line.early)
        )
        sentence = f"{name} {'rises' if line.early > 0 else 'falls'}: " + (
            f"{slope:+.0f} % a hundred frames (95 % {low:+.0f} to {high:+.0f})"
            if not _early(name, line)
            else f"{early:+.0f} % from the first eighth to the last quarter"
        )
        change = _change(name, line)
        yield Finding(
            kind=name,
            frame=0,
            frames=measures.frames,
            severity=change / FULL_SHARE,
            strength=change / VISIBLE[name],
            sentence=sentence,
        )


def _drifting(measures: Measures, names: Sequence[Name]) -> dict[Name, Trend]:
    """Trends of measures that are significant and visible, over the whole video or early in it."""
    found = {name: measures.trends[name] for name in names if name in measures.trends}
    return {name: line for name, line in found.items() if _steady(name, line) or _early(name, line)}


def _steady(name: str, line: Trend) -> bool:
    slower = name == "motion" and line.change < 0
    alike = line.agreement >= AGREEMENT or slower
    sure = WHOLE_SIGNIFICANT if slower and line.agreement >= WHOLE else SIGNIFICANT
    return alike and abs(line.strength) >= sure and abs(line.change) >= VISIBLE[name]


def _early(name: str, line: Trend) -> bool:
    return (
        name in (*CHANNELS, COLOURFUL)
        and line.agreement >= EARLY_AGREEMENT
        and abs(line.early_strength) >= EARLY
        and abs(line.early) >= VISIBLE[name]
    )


def _change(name: str, line: Trend) -> float:
    return abs(line.early if _early(name, line) else line.change)
