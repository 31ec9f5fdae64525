"""Measures of one long video without a network: trends, freezes, loops, seams, pulses, cuts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64

from longtake.drift.descriptors import CHANNELS, EPSILON, Descriptors
from longtake.drift.pulses import Pulse, pulse
from longtake.drift.repeats import Freeze, Loop, freezes, loops, moving_cells, part_freezes
from longtake.drift.seams import (
    CUT,
    LEAST_CHUNK,
    LEAST_LIGHT,
    LIGHT_CHANCE,
    LIGHT_JUMP,
    LIGHT_QUIET,
    Seams,
    aligned_borders,
    borders_every,
    cuts,
    find_borders,
    jumps,
    light_jumps,
    seam_score,
    sudden_light,
    surprise,
)
from longtake.drift.shared import Shared, shared
from longtake.drift.trends import LEAST_POINTS, Trend, trend

NEAR = 2  # frames around a freeze, a loop's joint, a cut or a border whose jumps it explains

BRIGHTER, BRIGHTEST = 0.85, 12 / 255
"""A jump is one of brightness, not a cut, if at least the first share of it is a change of
brightness, and that change, of colours in [0, 1], is at most the second number."""

LEAST_TRENDS = 4 * LEAST_POINTS
"""Least number of frames that have trends: within 2 seconds a gesture resembles a drift."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """All measures of one video's stability that need no network.

    Attributes:
        frames: number of frames.
        trends: linear trend over time of ``red``, ``green`` and ``blue`` in [0, 1], and of
            ``contrast``, ``sharpness``, ``motion`` and ``colourfulness`` as natural logarithms,
            whose slope is a relative change. Only changes that all parts of the frame share count.
        freezes: runs of frames in which the whole frame or a part of it stands still.
        loops: runs of frames that repeat earlier ones.
        seams: jumps at the borders between the clips of which a model makes a long video, given or
            found; None without borders.
        pulse: a pattern that repeats every 2 to 64 frames; None without one.
        cuts: frames at which the whole frame jumps, other than at borders.
        light_jumps: frames at which the brightness jumps, other than at borders and cuts.
        cut_strength: the largest jump at a cut as a multiple of the smallest that is called a cut,
            both relative to the jumps of the frames near; 0 without cuts.
        light_strength: the largest jump of brightness as a multiple of the smallest that is
            reported; 0 without jumps.
    """

    frames: int
    trends: Mapping[str, Trend]
    freezes: tuple[Freeze, ...]
    loops: tuple[Loop, ...]
    seams: Seams | None
    pulse: Pulse | None
    cuts: tuple[int, ...]
    light_jumps: tuple[int, ...]
    cut_strength: float
    light_strength: float


def measure(video: Descriptors, chunk: int | None = None, first: int | None = None) -> Measures:
    """Measure the stability of a video: trends, freezes, loops, seams, pulses, cuts, light.

    Args:
        video: descriptors of the video's frames.
        chunk: number of frames from one border between the clips of which a model made the video
            to the next, at least 2; None: search for evenly spaced borders.
        first: number of frames before the first border; None: ``chunk``.
    """
    still = freezes(video.step, moving_cells(video.cells))
    frozen = np.zeros(len(video), bool)
    for run in still:
        frozen[run.start : run.start + run.frames] = True
    repeated, skip = loops(video.thumbnails, frozen), frozen.copy()
    for loop in repeated:
        skip[loop.start - loop.period : loop.start + loop.frames] = True
    sizes, light = jumps(video.thumbnails), light_jumps(video.thumbnails)
    rises = surprise(sizes), surprise(light, LIGHT_QUIET)
    explained = sorted(at for at in _around(_ends(still, repeated)) if 0 <= at < len(video))
    unexplained = tuple(rise.copy() for rise in rises)
    for rise in unexplained:
        rise[explained] = 0
    if chunk is None:
        seams, pulsing = _seams_or_pulse(video, skip, _found_seams(unexplained, light))
    else:
        seams = _given_seams(rises, light, borders_every(chunk, len(video), first))
        pulsing = pulse(video, skip)
    at_border = _around(seams.borders if seams else ())
    jumped = [t for t in cuts(unexplained[0], video) if t not in at_border]
    cut = tuple(t for t in jumped if light[t] < BRIGHTER * sizes[t] or light[t] > BRIGHTEST)
    known = at_border | _around(cut)
    sudden = () if pulsing else sudden_light(unexplained[1], light)
    flashes = tuple(sorted(t for t in {*sudden, *jumped} if t not in known))
    return Measures(
        frames=len(video),
        trends=trends(video, frozen, cut),
        freezes=(*still, *part_freezes(video.cells, frozen)),
        loops=repeated,
        seams=seams,
        pulse=pulsing,
        cuts=cut,
        light_jumps=flashes,
        cut_strength=max((math.exp(rises[0][t]) / CUT for t in cut), default=0.0),
        light_strength=max((max(light[t] / LIGHT_JUMP, 1.0) for t in flashes), default=0.0),
    )


def trends(
    video: Descriptors, frozen: Bool[np.ndarray, "t"], cut: Sequence[int] = ()
) -> dict[str, Trend]:
    """Linear trend of each measure, by name, in the longest stretch of frames without a cut.

    ``cut`` are the first frames after cuts. Frames for which ``frozen`` is True do not count for
    motion. A stretch of fewer than 64 frames has no trends.
    """
    start, stop = longest_stretch(cut, len(video))
    frames = np.arange(start, stop)
    if len(frames) < LEAST_TRENDS:
        return {}
    moving = frames[1:][~frozen[frames[1:]]]
    lines: dict[str, Shared] = {}
    for name, values in video.series().items():
        if name not in CHANNELS:
            lines[name] = Shared(values=np.log(values[start:stop] + EPSILON), agreement=0.0)
    lines |= shared(video, start, stop)
    return {
        name: replace(trend(part.values[at - start], at), agreement=part.agreement)
        for name, part in lines.items()
        if len(at := moving if name == "motion" else frames) >= LEAST_POINTS
    }


def longest_stretch(cut: Sequence[int], frames: int) -> tuple[int, int]:
    """First frame of the longest stretch without a cut, and the first frame after it.

    ``cut`` are the first frames after cuts, ``frames`` is the number of frames of the video.
    """
    return max(pairwise([0, *cut, frames]), key=lambda pair: pair[1] - pair[0])


def _ends(still: Iterable[Freeze], repeated: Iterable[Loop]) -> set[int]:
    """First frames of freezes and of a loop's repeats, and the first frames after, which jump."""
    ends = {at for run in still for at in (run.start, run.start + run.frames)}
    for loop in repeated:
        ends |= {loop.start + i * loop.period for i in range(loop.frames // loop.period + 2)}
    return ends


def _given_seams(
    rises: Sequence[Float64[np.ndarray, "t"]],
    light: Float64[np.ndarray, "t"],
    borders: Sequence[int],
) -> Seams | None:
    """Jumps at given borders: of the picture or, if clearer and visible, of its brightness.

    ``rises`` are the ``surprise`` of the picture and of the brightness, ``light`` its jumps.
    """
    picture, brightness = (seam_score(rise, borders) for rise in rises)
    if picture is None or brightness is None or not _visible(brightness, light):
        return picture
    return max(picture, brightness, key=lambda seams: (seams.jumps, seams.low))


def _found_seams(
    rises: Sequence[Float64[np.ndarray, "t"]], light: Float64[np.ndarray, "t"]
) -> Seams | None:
    """The clearer of the borders found in the picture and in its brightness; None if none jump.

    ``rises`` are the ``surprise`` of the picture and of the brightness, ``light`` its jumps.
    """
    brightness = (
        find_borders(rises[1], LIGHT_CHANCE),
        aligned_borders(light, rises[1], LIGHT_CHANCE),
    )
    visible = [seams for seams in brightness if seams and _visible(seams, light)]
    found = [seams for seams in (find_borders(rises[0]), *visible) if seams and seams.jumps]
    return max(found, key=lambda seams: seams.low, default=None)


def _visible(seams: Seams, light: Float64[np.ndarray, "t"]) -> bool:
    """Whether the brightness, whose jumps are ``light``, does so at borders visibly and rarely.

    Rarely means at least 9 frames apart; what comes more often is a pulse.
    """
    return seams.period >= LEAST_CHUNK and light[list(seams.borders)].mean() >= LEAST_LIGHT


def _seams_or_pulse(
    video: Descriptors, skip: Bool[np.ndarray, "t"], seams: Seams | None
) -> tuple[Seams | None, Pulse | None]:
    """Drop seams or pulse where one is the sign of the other, which is the case if periods divide.

    A pulse of all frames remains a pulse without the frames near seams. Frames for which ``skip``
    is True are left out.
    """
    found = pulse(video, skip)
    if not (seams and found):
        return seams, found
    if found.period >= LEAST_CHUNK:
        return seams, None if found.period % seams.period == 0 else found
    if seams.period % found.period:
        return seams, found
    if seams.period >= LEAST_CHUNK:
        near = skip.copy()
        near[sorted(at for at in _around(seams.borders) if 0 <= at < len(video))] = True
        if not pulse(video, near):
            return seams, None
    return None, found


def _around(frames: Iterable[int]) -> set[int]:
    """All frames at most two frames from one of ``frames``."""
    return {at + near for at in frames for near in range(-NEAR, NEAR + 1)}
