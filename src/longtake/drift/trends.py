"""Straight lines through what a video does over time, with intervals that hold for slow waves."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

WAVES = 8
STUDENT_95 = 2.306
"""Of Student's distribution with as many degrees of freedom as there are waves."""

LEAST_POINTS = 2 * WAVES


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A slope, in units a hundred frames.

    Attributes:
        slope: of the line of least squares.
        low: lower end of its 95 % interval.
        high: upper end.
        change: what the line rises from the first frame to the last.
        strength: the slope in standard errors; Student's with 8 degrees of freedom if nothing
            drifts.
        middle: value of the line halfway.
    """

    slope: float
    low: float
    high: float
    change: float
    strength: float
    middle: float


def trend(values: Float64[np.ndarray, "n"], frames: Int64[np.ndarray, "n"]) -> Trend:
    """The line through values at these frames.

    Neighbouring frames are alike, so least squares' own interval is far too narrow. How much a line
    varies by chance is read off the 8 slowest waves beside it: a cosine basis made orthogonal to
    the line, whose mean square is the noise at low frequency (equal-weighted cosine estimator;
    Müller 2007, Lazarus, Lewis, Stock and Watson 2018). It has no bandwidth to choose, and a
    disturbance that wanders over an eighth of the video is counted as noise, not as drift.

    Raises:
        ValueError: fewer than 16 values.
    """
    if len(values) < LEAST_POINTS:
        raise ValueError(f"a trend needs at least {LEAST_POINTS} values, got {len(values)}")
    span = frames[-1] - frames[0]
    place = (frames - frames[0]) / span
    waves = [np.cos(math.pi * k * place) for k in range(1, WAVES + 1)]
    basis, scale = np.linalg.qr(np.stack([np.ones_like(place), place, *waves], 1))
    parts = basis.T @ values
    noise = math.sqrt(float(np.square(parts[2:]).mean()))
    change, error = float(parts[1] / scale[1, 1]), noise / abs(float(scale[1, 1]))
    if abs(change) < 1e-9 * (1 + abs(float(values.mean()))):
        change = 0.0
    unit = 100 / float(span)
    around = STUDENT_95 * error
    line = float((parts[0] - scale[0, 1] * change) / scale[0, 0])
    return Trend(
        slope=change * unit,
        low=(change - around) * unit,
        high=(change + around) * unit,
        change=change,
        strength=change / max(error, 1e-9) if change else 0.0,
        middle=line + change / 2,
    )
