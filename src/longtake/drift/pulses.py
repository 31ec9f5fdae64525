"""Pulses: a measure that repeats a pattern every few frames, as the frames of a latent frame do."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from longtake.drift.descriptors import EPSILON, LUMA, Descriptors

PERIODS = range(2, 9)  # frames; longer ones are joints of chunks
LEAST_ROWS = 8  # fewest periods in a video
# Standard errors of the strongest phase; 140 phases of four measures are tried.
SIGNIFICANT = 6.0
CLIP = 4.0  # largest distance from the moving average, in robust standard deviations
SAME = 0.8  # a shorter period explains a longer one if its pattern has this share of the size
VISIBLE = {
    "brightness": 0.5 / 255,
    "contrast": math.log(1.05),
    "sharpness": math.log(1.05),
    "motion": math.log(1.35),
}
"""Smallest visible range of a pattern: levels of brightness, relative changes of the others."""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A pattern that repeats.

    Attributes:
        measure: the measure that shows it most: ``brightness``, ``contrast``, ``sharpness`` or
            ``motion`` (the step from frame to frame).
        period: frames from one pulse to the next.
        frame: first frame of the strongest phase.
        size: range of the pattern, in [0, 1] for brightness, a logarithm for the others.
    """

    measure: str
    period: int
    frame: int
    size: float

    @property
    def visible(self) -> float:
        """Size over the smallest visible one."""
        return self.size / VISIBLE[self.measure]


def pulse(video: Descriptors, skip: Bool[np.ndarray, "t"]) -> Pulse | None:
    """The most visible pattern of 2 to 8 frames outside the frames ``skip``; None if none is."""
    series = {
        "brightness": video.colour @ np.array(LUMA),
        "contrast": np.log(video.contrast + EPSILON),
        "sharpness": np.log(video.sharpness + EPSILON),
        "motion": np.log(video.luma_step + EPSILON),
    }
    found = []
    for measure, values in series.items():
        tried = [_pattern(measure, values, skip, period) for period in PERIODS]
        real = [part for part in tried if part is not None and part.visible >= 1]
        largest = max((part.size for part in real), default=0)
        found += [part for part in real if part.size >= SAME * largest][:1]
    return max(found, key=lambda part: part.visible, default=None)


def _pattern(
    measure: str, values: Float64[np.ndarray, "t"], skip: Bool[np.ndarray, "t"], period: int
) -> Pulse | None:
    """Mean difference from the moving average at each phase, if it is significant at one."""
    window = np.convolve(np.ones(period), [0.5, 0.5] if period % 2 == 0 else [1]) / period
    half = len(window) // 2
    if len(values) < LEAST_ROWS * period + 2 * half + 1:
        return None
    values = values[1:]  # the first frame has no step
    rest = values[half:-half] - np.convolve(values, window, "valid")
    known = ~(np.convolve(skip[1:], np.ones(len(window)), "valid") > 0)
    frames = np.arange(len(rest))[known] + half + 1
    rest = rest[known]
    if len(rest) < LEAST_ROWS * period:
        return None
    spread = 1.4826 * float(np.median(np.abs(rest))) + 1e-9
    rest = np.clip(rest, -CLIP * spread, CLIP * spread)
    phases = [rest[frames % period == phase] for phase in range(period)]
    mean = np.array([part.mean() for part in phases])
    error = np.array([part.std() / math.sqrt(len(part)) for part in phases]) + 1e-9
    if np.abs(mean / error).max() < SIGNIFICANT:
        return None
    frame = int(np.abs(mean).argmax()) or period
    return Pulse(measure=measure, period=period, frame=frame, size=float(np.ptp(mean)))
