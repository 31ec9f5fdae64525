"""Least-squares lines over time, with intervals that hold for slowly varying noise."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

WAVES = 8  # cosines that estimate the noise; also the degrees of freedom of Student's distribution
STUDENT_95 = 2.306  # two-sided 95 % quantile of Student's distribution with 8 degrees of freedom
LEAST_POINTS = 2 * WAVES
EIGHTHS = 8
LEAST_SPREAD = 1e-3  # of the later eighths; a quarter of a level of 255


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A linear trend of a measure over time; slopes are per hundred frames.

    Attributes:
        slope: least-squares slope.
        low: lower end of the slope's 95 % interval.
        high: upper end of the slope's 95 % interval.
        change: rise of the line from the first frame to the last.
        strength: slope divided by its standard error; without drift it follows Student's
            distribution with 8 degrees of freedom.
        middle: value of the line halfway.
        early: mean of the last quarter of the values minus mean of the first eighth.
        early_strength: ``early`` divided by the standard deviation of the means of the eighths from
            the third on. A line has 3.5; a change that ends early has more.
        agreement: share of the cells of a 12 x 12 grid over the frame whose change is like the
            median cell's; 1 for measures of whole frames.
    """

    slope: float
    low: float
    high: float
    change: float
    strength: float
    middle: float
    early: float
    early_strength: float
    agreement: float = 1.0


def trend(values: Float64[np.ndarray, "n"], frames: Int64[np.ndarray, "n"]) -> Trend:
    """Fit a line to ``values`` at the frames ``frames``.

    Neighbouring frames are alike, so the usual interval of least squares is far too narrow. Here
    the noise is the mean square of the 8 slowest cosines, made orthogonal to the line
    (equal-weighted cosine estimator; Müller 2007, Lazarus, Lewis, Stock and Watson 2018). It has
    no bandwidth to choose, and a disturbance that takes an eighth of the video or longer counts
    as noise, not as drift.

    Raises:
        ValueError: there are fewer than 16 values.
    """
    if len(values) < LEAST_POINTS:
        raise ValueError(f"a trend needs at least {LEAST_POINTS} values, got {len(values)}")
    span = frames[-1] - frames[0]
    time = (frames - frames[0]) / span
    waves = [np.cos(math.pi * k * time) for k in range(1, WAVES + 1)]
    basis, scale = np.linalg.qr(np.stack([np.ones_like(time), time, *waves], 1))
    parts = basis.T @ values
    noise = math.sqrt(float(np.square(parts[2:]).mean()))
    change, error = float(parts[1] / scale[1, 1]), noise / abs(float(scale[1, 1]))
    if abs(change) < 1e-9 * (1 + abs(float(values.mean()))):  # rounding of a constant
        change = 0.0
    unit = 100 / float(span)
    margin = STUDENT_95 * error
    line = float((parts[0] - scale[0, 1] * change) / scale[0, 0])
    eighths = np.array([part.mean() for part in np.array_split(values, EIGHTHS)])
    early, later = float(eighths[-2:].mean() - eighths[0]), float(eighths[2:].std(ddof=1))
    return Trend(
        slope=change * unit,
        low=(change - margin) * unit,
        high=(change + margin) * unit,
        change=change,
        strength=change / max(error, 1e-9) if change else 0.0,
        middle=line + change / 2,
        early=early,
        early_strength=early / max(later, LEAST_SPREAD),
    )
