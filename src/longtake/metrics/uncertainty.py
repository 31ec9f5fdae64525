"""Standard errors of FVD and KVD over draws of clips, and FVD without the bias of few clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from longtake.metrics.frechet import check_finite, fvd
from longtake.metrics.kernel import ROWS, cubic_kernel, kvd
from longtake.noise import generator

NORMAL_95 = 1.96

REDRAWS = 50
"""Number of resamplings of a bootstrap; a standard error from them is right to about a tenth."""

CONCENTRATION = 16
"""Concentration of the Dirichlet weights of a bootstrap; that of Rubin (1981) is 1."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Value of a metric and its standard error over other samples of as many clips."""

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """Lower end of the metric's 95 % interval: 1.96 standard errors below the value."""
        return self.value - NORMAL_95 * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the metric's 95 % interval: 1.96 standard errors above the value."""
        return self.value + NORMAL_95 * self.standard_error


def wilson_interval(share: float, trials: int) -> tuple[float, float]:
    """95 % interval of a probability, from the share (0 to 1) of successes in independent trials.

    Wilson's score interval (Wilson 1927, equation 4): the probabilities p from which the share is
    within 1.96 standard deviations, ``sqrt(p (1 - p) / trials)``. It stays within 0 and 1.
    """
    middle = share + NORMAL_95**2 / (2 * trials)
    spread = NORMAL_95 * (share * (1 - share) / trials + (NORMAL_95 / (2 * trials)) ** 2) ** 0.5
    whole = 1 + NORMAL_95**2 / trials
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def bootstrap_weights(
    clips: int,
    side: str,
    *,
    videos: Sequence[int] | None = None,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Float64[Tensor, "r n"]:
    """Weight of each of ``clips`` clips in each of ``redraws`` (50) resamplings of a bootstrap.

    The weights of a resampling, a row, sum to 1. In the classical bootstrap they are 0, 1, 2, ...
    times 1 / clips; here they are drawn from a Dirichlet distribution of concentration 16, so that
    no clip is left out (bootstrap of fractional random weights; Rubin 1981, Xu et al. 2020).
    Otherwise repeated clips would count as fewer clips, and FVD grows with fewer clips. Such
    weights vary a quarter as much as the classical ones, so ``standard_error`` multiplies by 4.

    ``side`` names the set of clips, such as ``real``: each has its own random numbers. ``videos``
    is the number of each clip's video: clips of one video are alike, so they get one weight (a
    bootstrap of clusters; Davison and Hinkley 1997, section 3.8). None: each clip is of another.

    Raises:
        ValueError: ``videos`` is not of as many clips.
    """
    owners = _owners(clips, videos)
    random = generator(seed, "bootstrap", side, clips)
    shape = (CONCENTRATION, redraws, int(owners.max()) + 1)
    drawn = torch.empty(shape, dtype=torch.float64).exponential_(generator=random).sum(0)
    weights = drawn[:, owners]
    return weights / weights.sum(1, keepdim=True)


def _owners(clips: int, videos: Sequence[int] | None) -> Int64[Tensor, "n"]:
    """Index of each clip's video, in the order in which videos first appear."""
    if videos is None:
        return torch.arange(clips)
    if len(videos) != clips:
        raise ValueError(f"videos must name one video for each of {clips} clips, got {len(videos)}")
    index: dict[int, int] = {}
    return torch.tensor([index.setdefault(video, len(index)) for video in videos])


def standard_error(values: Float64[Tensor, "r"]) -> float:
    """Standard error of a metric from its values under the weights of ``bootstrap_weights``."""
    return float(values.std()) * CONCENTRATION**0.5


def fvd_interval(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    paired: bool = False,
    correction: int = 1,
    real_videos: Sequence[int] | None = None,
    generated_videos: Sequence[int] | None = None,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Interval:
    """FVD with its standard error, by a bootstrap over both sets of clips.

    The interval covers FVD at this number of clips, including its bias, which ``fvd_limit``
    removes.

    Args:
        real: features of real clips.
        generated: features of generated clips.
        paired: resample both sets with the same weights, for clips and their reconstructions.
        correction: 1 or 0; subtracted from the number of clips in the divisor of covariances.
        real_videos: number of each real clip's video, as ``bootstrap_weights`` takes it; None: each
            clip is of another video.
        generated_videos: the same for generated clips.
        redraws: number of resamplings of the bootstrap; 50 by default.
        seed: seed of the bootstrap.

    Raises:
        ValueError: a set has fewer than two clips, features are infinite or NaN, paired sets
            differ in number, or videos are not of as many clips.
    """
    if paired and len(real) != len(generated):
        raise ValueError(
            f"paired sets must have equally many clips, got {len(real)} and {len(generated)}"
        )
    value = fvd(real, generated, correction=correction)
    (x, u), (y, v) = _weighted(real, generated, real_videos, generated_videos, redraws, seed)
    found = [_distance(x, y, a, a if paired else b, correction) for a, b in zip(u, v, strict=True)]
    error = _error(torch.tensor(found).double(), real_videos, generated_videos)
    return Interval(value=value, standard_error=error)


def kvd_interval(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    real_videos: Sequence[int] | None = None,
    generated_videos: Sequence[int] | None = None,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Interval:
    """KVD with its standard error, by a bootstrap over both sets of clips.

    Args:
        real: features of real clips.
        generated: features of generated clips.
        real_videos: number of each real clip's video, as ``bootstrap_weights`` takes it; None: each
            clip is of another video.
        generated_videos: the same for generated clips.
        redraws: number of resamplings of the bootstrap; 50 by default.
        seed: seed of the bootstrap.

    Raises:
        ValueError: a set has fewer than two clips, features are infinite or NaN, or videos are not
            of as many clips.
    """
    value = kvd(real, generated)
    (x, u), (y, v) = _weighted(real, generated, real_videos, generated_videos, redraws, seed)
    distances = _kernel_within(x, u) + _kernel_within(y, v) - 2 * _kernel_mean(x, y, u, v)
    error = _error(distances, real_videos, generated_videos)
    return Interval(value=value, standard_error=error)


HALVINGS = 4
"""Number of random divisions of both sets into halves over which ``fvd_limit`` averages."""


def fvd_limit(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    correction: int = 1,
    real_videos: Sequence[int] | None = None,
    generated_videos: Sequence[int] | None = None,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Interval:
    """FVD extrapolated to infinitely many clips, with its standard error.

    The bias of FVD falls nearly as 1 / clips, so a line through FVD of all clips and the mean FVD
    of random halves of both sets, 2 FVD(n) - FVD(n / 2), leaves little of it (Chong and Forsyth
    2020 extrapolate FID of images so, from more numbers of clips). Near 0 it can be negative. The
    bootstrap weighs clips of the same halves. ``benchmarks/coverage.py`` checks the interval.

    Args:
        real: features of real clips.
        generated: features of generated clips.
        correction: 1 or 0; subtracted from the number of clips in the divisor of covariances.
        real_videos: number of each real clip's video, as ``bootstrap_weights`` takes it; None: each
            clip is of another video.
        generated_videos: the same for generated clips.
        redraws: number of resamplings of the bootstrap; 50 by default.
        seed: seed of the halves and of the bootstrap.

    Raises:
        ValueError: a set has fewer than four clips or, if videos are given, four videos; features
            are infinite or NaN; or videos are not of as many clips.
    """
    if min(len(real), len(generated)) < 4:
        raise ValueError(
            "FVD can be extrapolated from at least 4 real and 4 generated clips, got "
            f"{len(real)} and {len(generated)}"
        )
    (x, u), (y, v) = _weighted(real, generated, real_videos, generated_videos, redraws, seed)
    owners = _owners(len(x), real_videos), _owners(len(y), generated_videos)
    if (fewest := min(int(each.max()) + 1 for each in owners)) < 4:
        raise ValueError(f"FVD can be extrapolated from clips of at least 4 videos, got {fewest}")
    halves = [
        half
        for way in range(HALVINGS)
        for half in zip(*(_halves(each, way, seed) for each in owners), strict=True)
    ]

    def limit(a: Tensor, b: Tensor) -> float:
        parts = [_distance(x[i], y[j], _part(a, i), _part(b, j), correction) for i, j in halves]
        return 2 * _distance(x, y, a, b, correction) - sum(parts) / len(parts)

    even = (torch.full((len(rows),), 1 / len(rows), dtype=torch.float64) for rows in (x, y))
    found = [limit(a, b) for a, b in zip(u, v, strict=True)]
    error = standard_error(torch.tensor(found, dtype=torch.float64))
    return Interval(value=limit(*even), standard_error=error)


def _halves(owners: Int64[Tensor, "n"], way: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the clips of two disjoint random halves of the videos; ``way`` numbers them."""
    clips, videos = len(owners), int(owners.max()) + 1
    place = torch.randperm(videos, generator=generator(seed, "fvd limit", clips, way)).argsort()
    first = int((place[owners] < videos // 2).sum())
    order = place[owners].argsort(stable=True)
    return order[:first], order[first:]


def _part(weights: Float64[Tensor, "n"], chosen: Tensor) -> Float64[Tensor, "k"]:
    """Weights of the ``chosen`` clips, scaled to sum to 1."""
    return weights[chosen] / weights[chosen].sum()


def _distance(
    x: Float64[Tensor, "n d"],
    y: Float64[Tensor, "m d"],
    u: Float64[Tensor, "n"],
    v: Float64[Tensor, "m"],
    correction: int,
) -> float:
    """Squared Frechet distance of clips x with weights u and clips y with weights v.

    Covariances are unbiased with ``correction`` 1, the maximum likelihood with 0.
    No covariance is computed, which has the square of the features' condition number.
    """
    (mean, a), (other, b) = _centred(x, u, correction), _centred(y, v, correction)
    a, b = (
        torch.linalg.qr(rows, mode="r").R if len(rows) > rows.shape[1] else rows for rows in (a, b)
    )
    traces = a.square().sum() + b.square().sum()
    cross = torch.linalg.svdvals(a @ b.T).sum()
    return max(float((mean - other).square().sum() + traces - 2 * cross), 0.0)


def _weighted(
    real: Tensor,
    generated: Tensor,
    real_videos: Sequence[int] | None,
    generated_videos: Sequence[int] | None,
    redraws: int,
    seed: int,
) -> list[tuple[Float64[Tensor, "_ d"], Float64[Tensor, "r _"]]]:
    """Features of real and of generated clips in float64, each with its bootstrap weights."""

    def weighted(
        features: Tensor, side: str, videos: Sequence[int] | None
    ) -> tuple[Tensor, Tensor]:
        rows = check_finite(features)
        how: Any = {"videos": videos, "redraws": redraws, "seed": seed}
        return rows, bootstrap_weights(len(rows), side, **how)

    sides = (real, "real", real_videos), (generated, "generated", generated_videos)
    return [weighted(*side) for side in sides]


def _error(values: Float64[Tensor, "r"], *videos: Sequence[int] | None) -> float:
    """Standard error over redraws; infinite, so unknown, if a side has clips of one video alone."""
    single = any(each is not None and len(set(each)) == 1 for each in videos)
    return math.inf if single else standard_error(values)


def _centred(
    rows: Float64[Tensor, "n d"], weights: Float64[Tensor, "n"], correction: int
) -> tuple[Float64[Tensor, "d"], Float64[Tensor, "n d"]]:
    """Mean of weighted clips, and rows A whose A^T A is their covariance.

    The covariance is unbiased with ``correction`` 1, the maximum likelihood with 0.
    """
    mean = weights @ rows
    free = 1 - correction * weights.square().sum()
    return mean, (rows - mean) * (weights / free).sqrt()[:, None]


def _kernel_within(x: Float64[Tensor, "n d"], u: Float64[Tensor, "r n"]) -> Float64[Tensor, "r"]:
    """Mean of KVD's kernel over pairs of different clips, for each row of their weights."""
    squares = u.square()
    diagonal = squares @ cubic_kernel((x * x).sum(1), x.shape[1])
    return (_kernel_mean(x, x, u, u) - diagonal) / (1 - squares.sum(1))


def _kernel_mean(
    x: Float64[Tensor, "n d"],
    y: Float64[Tensor, "m d"],
    u: Float64[Tensor, "r n"],
    v: Float64[Tensor, "r m"],
) -> Float64[Tensor, "r"]:
    """Mean of KVD's kernel over all pairs of x and y, for each row of their weights u and v."""
    total = u.new_zeros(len(u))
    for rows, weights in zip(x.split(ROWS), u.split(ROWS, dim=1), strict=True):
        kernel = cubic_kernel(rows @ y.T, x.shape[1])
        total += torch.einsum("rn,nm,rm->r", weights, kernel, v)
    return total
