"""Pulses: a measure that repeats a pattern, as the frames of a latent frame or of a chunk do."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from longtake.drift.descriptors import EPSILON, LUMA, Descriptors

# Frames; longer ones than those of a latent frame, the first 7, count in motion alone: whatever
# passes at its own rhythm changes the rest.
PERIODS, SHORT = range(2, 65), 7
LEAST_ROWS = 8  # fewest periods in a video
# Standard errors of the strongest phase; 8,000 phases of four measures are tried.
SIGNIFICANT = 5.0
WIDE = 1.2  # size of a long pattern over that of its means of three frames, at most
CLIP = 4.0  # largest distance from the moving average, in robust standard deviations
SAME = 0.6  # a shorter period explains a longer one if its pattern has this share of the size
VISIBLE = {
    "brightness": 0.5 / 255,
    "contrast": math.log(1.05),
    "sharpness": math.log(1.05),
    "motion": math.log(1.35),
}
"""Smallest visible range of a pattern: of brightness in [0, 1], of others as natural logarithms."""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A pattern over time that repeats.

    Attributes:
        measure: the measure that shows it best: ``brightness``, ``contrast``, ``sharpness`` or
            ``motion`` (the change from frame to frame).
        period: number of frames from one pulse to the next.
        frame: first frame of the video at which the pattern differs most from its mean.
        size: greatest minus least value within a period; in [0, 1] for brightness, a difference of
            natural logarithms for the other measures.
    """

    measure: str
    period: int
    frame: int
    size: float

    @property
    def visible(self) -> float:
        """Size as a multiple of the smallest visible size of a pulse in this measure."""
        return self.size / VISIBLE[self.measure]


def pulse(video: Descriptors, skip: Bool[np.ndarray, "t"]) -> Pulse | None:
    """Find the most visible pattern that repeats every 2 to 64 frames; None if none is visible.

    Frames for which ``skip`` is True are left out.
    """
    series = {
        "brightness": video.colour @ np.array(LUMA),
        "contrast": np.log(video.contrast + EPSILON),
        "sharpness": np.log(video.sharpness + EPSILON),
        "motion": np.log(video.luma_step + EPSILON),
    }
    found = []
    for measure, values in series.items():
        periods = PERIODS if measure == "motion" else PERIODS[:SHORT]
        tried = [_pattern(measure, values, skip, period) for period in periods]
        real = [part for part in tried if part is not None and part.visible >= 1]
        largest = max((part.size for part in real), default=0)
        found += [part for part in real if part.size >= SAME * largest][:1]
    return max(found, key=lambda part: part.visible, default=None)


def _pattern(
    measure: str, values: Float64[np.ndarray, "t"], skip: Bool[np.ndarray, "t"], period: int
) -> Pulse | None:
    """Pattern of a period in ``values``: the mean difference from the moving average at each phase.

    ``measure`` is the name of the values; frames for which ``skip`` is True are left out.
    None if it is not significant at any phase, or the video is shorter than 8 periods.
    """
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
    rest, phase = np.clip(rest, -CLIP * spread, CLIP * spread), frames % period
    count = np.bincount(phase, minlength=period)
    if count.min() < LEAST_ROWS // 2:
        return None
    mean = np.bincount(phase, rest, minlength=period) / count
    variance = np.bincount(phase, np.square(rest - mean[phase]), minlength=period) / (count - 1)
    t = np.abs(mean) / (np.sqrt(variance / count) + 1e-9)
    if _normal(t, count - 1).max() < SIGNIFICANT:
        return None
    frame, size = int(np.abs(mean).argmax()) or period, float(np.ptp(mean))
    if period not in PERIODS[:SHORT]:  # a single frame of a long period is a codec's key frame
        size = min(size, WIDE * float(np.ptp(mean + np.roll(mean, 1) + np.roll(mean, 2))) / 3)
    return Pulse(measure=measure, period=period, frame=frame, size=size)


def _normal(
    t: Float64[np.ndarray, "n"], degrees: Int64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """Normal deviates as rare as these of Student's distribution (Wallace 1959)."""
    factor = (8 * degrees + 1) / (8 * degrees + 3)
    return factor * np.sqrt(degrees * np.log1p(np.square(t) / degrees))
