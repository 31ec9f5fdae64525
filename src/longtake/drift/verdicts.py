"""What a video's numbers amount to: findings in sentences, the gravest first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool

from longtake.drift.descriptors import CALM, Descriptors
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

SURE = 4.5
"""Standard errors of a slope: 1 in 500 by chance, for Student's with 8 degrees of freedom."""

VISIBLE = {
    "red": 0.04,
    "green": 0.04,
    "blue": 0.04,
    "contrast": math.log(1.25),
    "sharpness": math.log(1.25),
    "motion": math.log(2),
}
"""A change from first to last frame that is worth a sentence: 10 levels, a quarter, double."""

CHANNELS = ("red", "green", "blue")
SEAM, FOUND_SEAM = 1.15, 1.35
"""Of jumps at joints that are told, or found: codecs have patterns of their own, to 1.3."""

OF_RANGE = 0.25
CUTS_SHOWN = 4
NEAR = 2


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: of fault.
        frame: where it shows first.
        frames: for how long; 0 for a moment.
        gravity: above 0; 1 is a video that is nothing but this fault.
        sentence: that says it.
    """

    kind: Kind
    frame: int
    frames: int
    gravity: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Measures:
    """All that is measured of one video without a network.

    Attributes:
        frames: of the video.
        trends: by name: ``red``, ``green``, ``blue`` from 0 to 1; ``contrast``, ``sharpness`` and
            ``motion`` as natural logarithms, so that a slope is a share.
        freezes: runs of frames that stand still.
        loops: runs of frames that have been shown before.
        seams: at borders that were told or found; None where none were.
        cuts: frames where a picture jumps, at no border.
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
        video: numbers of its frames.
        chunk: frames from border to border, where it is known; else borders are looked for.
        first: frames before the first border, where that is another number.
    """
    held = freezes(video.step)
    frozen = _mask(held, len(video))
    again = loops(video.thumbnails, frozen)
    rise = surprise(jumps(video.thumbnails))
    ends = {at for run in held for at in (run.start, run.start + run.frames)}
    joints = {loop.start + i * loop.period for loop in again for i in range(_times(loop))}
    explained = {at + near for at in ends | joints for near in range(-NEAR, NEAR + 1)}
    plain = rise.copy()
    plain[sorted(at for at in explained if 0 <= at < len(rise))] = 0
    if chunk is None:
        seams = find_borders(plain)
    else:
        seams = seam_score(rise, borders_every(chunk, len(video), first))
    borders = seams.borders if seams else ()
    at_border = {border + near for border in borders for near in range(-NEAR, NEAR + 1)}
    jumped = tuple(t for t in cuts(plain, video.step) if t not in at_border)
    return Measures(
        frames=len(video),
        trends=trends(video, frozen, jumped),
        freezes=held,
        loops=again,
        seams=seams,
        cuts=jumped,
    )


def trends(
    video: Descriptors, frozen: Bool[np.ndarray, "t"], cut: Sequence[int] = ()
) -> dict[str, Trend]:
    """The line of each measure within the longest stretch between cuts.

    Motion is taken without frames that stand still. A stretch under 32 frames has no line.
    """
    ends = [0, *cut, len(video)]
    start, stop = max(pairwise(ends), key=lambda pair: pair[1] - pair[0])
    frames = np.arange(start, stop)
    if len(frames) < 2 * LEAST_POINTS:
        return {}
    lines = {name: trend(video.colour[frames, i], frames) for i, name in enumerate(CHANNELS)}
    for name, values in (("contrast", video.contrast), ("sharpness", video.sharpness)):
        lines[name] = trend(np.log(values[frames] + CALM), frames)
    moving = frames[1:][~frozen[frames[1:]]]
    if len(moving) >= LEAST_POINTS:
        lines["motion"] = trend(np.log(video.motion[moving] + CALM), moving)
    return lines


def judge(found: Measures) -> tuple[Finding, ...]:
    """Findings, the gravest first; none for a video that stays what it is."""
    findings = [
        *_of_freezes(found),
        *_of_loops(found),
        *_of_seams(found),
        *_of_cuts(found),
        *_of_colour(found),
        *_of_shares(found),
    ]
    return tuple(sorted(findings, key=lambda finding: -finding.gravity))


def _of_freezes(found: Measures) -> list[Finding]:
    return [
        Finding(
            kind="freeze",
            frame=run.start,
            frames=run.frames,
            gravity=run.frames / found.frames + 0.5,
            sentence=f"freezes at frame {run.start} for {run.frames} frames",
        )
        for run in found.freezes
    ]


def _of_loops(found: Measures) -> list[Finding]:
    findings = []
    for loop in found.loops:
        last = loop.start + loop.frames - 1
        shown = loop.start - loop.period
        if loop.frames >= loop.period:
            sentence = f"loops from frame {shown} to {last}, every {loop.period} frames"
        else:
            sentence = (
                f"repeats itself: frames {loop.start} to {last} show frames {shown} to "
                f"{last - loop.period} again"
            )
        gravity = loop.frames / found.frames + 0.5
        findings.append(
            Finding(
                kind="loop",
                frame=loop.start,
                frames=loop.frames,
                gravity=gravity,
                sentence=sentence,
            )
        )
    return findings


def _of_seams(found: Measures) -> list[Finding]:
    seams = found.seams
    if seams is None:
        return []
    least = FOUND_SEAM if seams.found else SEAM
    if seams.low < least and seams.high > 1 / least:
        return []
    every = f"every {seams.period} frames" if seams.period else f"at {len(seams.borders)} borders"
    sentence = (
        f"seams {every} from frame {seams.borders[0]}: jumps there are {seams.ratio:.2f} times "
        f"those between (95 % {seams.low:.2f} to {seams.high:.2f})"
    )
    size = abs(math.log(seams.ratio))
    return [
        Finding(kind="seams", frame=seams.borders[0], frames=0, gravity=size, sentence=sentence)
    ]


def _of_cuts(found: Measures) -> list[Finding]:
    if not found.cuts:
        return []
    shown = ", ".join(str(at) for at in found.cuts[:CUTS_SHOWN])
    more = len(found.cuts) - CUTS_SHOWN
    at = f"{'frame' if len(found.cuts) == 1 else 'frames'} {shown}"
    at += f" and {more} more" if more > 0 else ""
    sentence = f"jumps at {at}, as at a cut"
    gravity = 0.4 + len(found.cuts) / found.frames
    return [Finding(kind="cut", frame=found.cuts[0], frames=0, gravity=gravity, sentence=sentence)]


def _of_colour(found: Measures) -> list[Finding]:
    lines = {name: found.trends[name] for name in CHANNELS if name in found.trends}
    wrong = {name: line for name, line in lines.items() if _drifts(name, line)}
    if not wrong:
        return []
    said = "; ".join(
        f"{name} {line.slope:+.3f} a hundred frames (95 % {line.low:+.3f} to {line.high:+.3f})"
        for name, line in wrong.items()
    )
    largest = max(abs(line.change) for line in wrong.values())
    return [
        Finding(
            kind="colour",
            frame=0,
            frames=found.frames,
            gravity=largest / OF_RANGE,
            sentence=f"colour drifts: {said}",
        )
    ]


def _of_shares(found: Measures) -> list[Finding]:
    findings = []
    kinds: tuple[Kind, ...] = ("contrast", "sharpness", "motion")
    for name in kinds:
        line = found.trends.get(name)
        if line is None or not _drifts(name, line):
            continue
        word = "rises" if line.change > 0 else "falls"
        slope, *around = (_percent(part) for part in (line.slope, line.low, line.high))
        sentence = (
            f"{name} {word}: {slope:+.0f} % a hundred frames "
            f"(95 % {around[0]:+.0f} to {around[1]:+.0f})"
        )
        findings.append(
            Finding(
                kind=name,
                frame=0,
                frames=found.frames,
                gravity=abs(line.change) / math.log(16),
                sentence=sentence,
            )
        )
    return findings


def _drifts(name: str, line: Trend) -> bool:
    return abs(line.strength) >= SURE and abs(line.change) >= VISIBLE[name]


def _percent(share: float) -> float:
    return 100 * math.expm1(share)


def _times(loop: Loop) -> int:
    return loop.frames // loop.period + 2


def _mask(runs: tuple[Freeze, ...], frames: int) -> Bool[np.ndarray, "t"]:
    frozen = np.zeros(frames, bool)
    for run in runs:
        frozen[run.start : run.start + run.frames] = True
    return frozen
