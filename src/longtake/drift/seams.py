"""Whether a video jumps where its chunks join, and where they join if nobody says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float64, Int64

NEAR = 12
"""Frames on either side that say how large a jump is usual."""

SOFT = 3.0
LONGEST = 512
LEAST_FOUND = 4
BESIDE_CHANCE = 2.0
CUT = 6.0
CUT_STEP = 0.02
DRAWS = 1000
QUIET = 3e-4
"""Jumps of a twelfth of a level are what codecs make of nothing."""


@dataclass(frozen=True, kw_only=True)
class Seams:
    """Jumps at borders against jumps inside.

    Attributes:
        borders: first frames of chunks.
        ratio: of the jump at borders to that of the frames near them: the geometric mean.
        low: lower end of its 95 % interval, of a bootstrap over borders.
        high: upper end.
        period: frames from border to border; 0 where they are not even.
        found: the borders were looked for, not told.
    """

    borders: tuple[int, ...]
    ratio: float
    low: float
    high: float
    period: int
    found: bool


def jumps(thumbnails: Float[np.ndarray, "t d"]) -> Float64[np.ndarray, "t"]:
    """How far the step into each frame differs from the mean of the steps before and after it.

    Steady motion and steady change of light cost nothing; a joint where either breaks does. At
    the first two frames and the last it is not known, and 0.
    """
    size = np.zeros(len(thumbnails))
    for start in range(2, len(thumbnails) - 1, 4096):
        part = thumbnails[start - 2 : start + 4097].astype(np.float32)
        steps = np.diff(part, axis=0)
        broken = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
        size[start : start + len(broken)] = np.sqrt(np.square(broken).mean(1))
    return size


def surprise(jump: Float64[np.ndarray, "t"]) -> Float64[np.ndarray, "t"]:
    """Logarithm of each jump over the median of those near it; 0 where it is not known."""
    size = np.log(jump + QUIET)
    known = size[2:-1]
    if len(known) < 3:
        return np.zeros(len(jump))
    near = min(NEAR, len(known) - 1)
    around = np.pad(known, near, mode="reflect")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * near + 1), axis=1)
    return np.concatenate([[0, 0], known - usual, [0]])


def borders_every(chunk: int, frames: int, first: int | None = None) -> tuple[int, ...]:
    """First frames of all chunks but the first.

    Args:
        chunk: frames of each.
        frames: of the video.
        first: frames of the first chunk, where it is longer or shorter.
    """
    return tuple(range(chunk if first is None else first, frames, chunk))


def seam_score(
    rise: Float64[np.ndarray, "t"], borders: Sequence[int], *, found: bool = False
) -> Seams | None:
    """Jumps at these borders, of what ``surprise`` gives; None where fewer than two can be judged.

    A border's neighbours are not what it is held against: the median near it passes them over.
    """
    judged = [border for border in borders if 2 <= border < len(rise) - 1]
    if len(judged) < 2:
        return None
    values = rise[judged]
    random = np.random.default_rng(0)
    draws = random.choice(values, (DRAWS, len(values))).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    apart = {b - a for a, b in pairwise(judged)}
    return Seams(
        borders=tuple(judged),
        ratio=math.exp(values.mean()),
        low=math.exp(low),
        high=math.exp(high),
        period=apart.pop() if len(apart) == 1 else 0,
        found=found,
    )


def find_borders(rise: Float64[np.ndarray, "t"]) -> Seams | None:
    """The even distance and the first border at which jumps stand out most, if they do at all.

    All distances from 4 to 512 frames and all first borders are tried, so what stands out must
    exceed what the best of so many would by chance. Fewer than four borders prove nothing.
    """
    spread = 1.4826 * float(np.median(np.abs(rise[2:-1]))) if len(rise) > 3 else 0.0
    if spread == 0:
        return None
    soft = np.clip(rise / spread, -SOFT, SOFT)
    spread = float(soft[2:-1].std())
    best, found, tried = 0.0, (0, 0), 0
    for period in range(4, min(LONGEST, (len(rise) - 3) // LEAST_FOUND) + 1):
        score = _phases(soft, period) / spread
        tried += period
        phase = int(score.argmax())
        if score[phase] > best:
            best, found = float(score[phase]), (period, phase)
    if not tried or best < math.sqrt(2 * math.log(tried)) + BESIDE_CHANCE:
        return None
    period, near = found
    beside = [_all(period, (near + aside) % period, len(rise)) for aside in (-1, 0, 1)]
    borders = max(beside, key=lambda at: abs(float(rise[at].mean())))
    return seam_score(rise, borders.tolist(), found=True)


def cuts(rise: Float64[np.ndarray, "t"], step: Float64[np.ndarray, "t"]) -> tuple[int, ...]:
    """Frames that jump six times as far as those near them, and visibly."""
    high = (rise > math.log(CUT)) & (step > CUT_STEP)
    top = [t for t in np.flatnonzero(high).tolist() if rise[t] >= rise[max(t - 2, 0) : t + 3].max()]
    return tuple(top)


def _phases(soft: Float64[np.ndarray, "t"], period: int) -> Float64[np.ndarray, "period"]:
    """For each first border: the sum over borders in standard errors."""
    rows = -(-len(soft) // period)
    padded = np.zeros(rows * period)
    padded[: len(soft)] = soft
    known = np.zeros(rows * period)
    known[2 : len(soft) - 1] = 1
    count = known.reshape(rows, period).sum(0)
    total = (padded * known).reshape(rows, period).sum(0)
    return np.where(count >= LEAST_FOUND, total / np.sqrt(np.maximum(count, 1)), 0)


def _all(period: int, phase: int, frames: int) -> Int64[np.ndarray, "n"]:
    return np.arange(phase, frames, period)
