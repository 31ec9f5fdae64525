"""Standard errors of FVD and KVD over draws of clips, and the limit of FVD for many clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from longtake.metrics.frechet import Gaussian, check_finite, frechet_distance, fvd
from longtake.metrics.kernel import ROWS, cubic_kernel, kvd
from longtake.noise import generator

NORMAL_95 = 1.96

REDRAWS = 50
"""Number of redraws of a bootstrap; they give a standard error to about a tenth."""

CONCENTRATION = 16
"""Concentration of the Dirichlet weights of a bootstrap; Rubin's is 1."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A distance of some clips, with its standard error over draws of as many clips."""

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval; not below 0."""
        return max(self.value - NORMAL_95 * self.standard_error, 0.0)

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + NORMAL_95 * self.standard_error


def bootstrap_weights(
    clips: int, side: str, *, redraws: int = REDRAWS, seed: int = 0
) -> Float64[Tensor, "r n"]:
    """Weights of the clips in each redraw of a bootstrap; they sum to 1.

    The classical bootstrap gives a clip the weight 0, 1, 2, ...; here weights are drawn from a
    Dirichlet distribution of concentration 16, so each clip keeps a part (a bootstrap of fractional
    random weights; Rubin 1981, Xu et al. 2020). Repeated clips would count as fewer clips, and FVD
    grows with fewer clips. The weights' standard deviation is a quarter of the classical one, so
    ``standard_error`` multiplies by 4.
    """
    random = generator(seed, "bootstrap", side, clips)
    shape = (CONCENTRATION, redraws, clips)
    weights = torch.empty(shape, dtype=torch.float64).exponential_(generator=random).sum(0)
    return weights / weights.sum(1, keepdim=True)


def standard_error(values: Float64[Tensor, "r"]) -> float:
    """Standard error of a value from its values in the redraws of a bootstrap."""
    return float(values.std()) * CONCENTRATION**0.5


def fvd_interval(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Interval:
    """FVD with its standard error over draws of as many clips, by a bootstrap over both sides.

    The bias of FVD at this number of clips remains. ``seed`` is that of the redraws.

    Raises:
        ValueError: a side has fewer than two clips.
    """
    value = fvd(real, generated)
    (x, u), (y, v) = _weighted(real, generated, redraws, seed)
    pairs = zip(u, v, strict=True)
    distances = [frechet_distance(_gaussian(x, a), _gaussian(y, b)) for a, b in pairs]
    error = standard_error(torch.tensor(distances, dtype=torch.float64))
    return Interval(value=value, standard_error=error)


def kvd_interval(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Interval:
    """KVD with its standard error; arguments and errors are those of ``fvd_interval``."""
    value = kvd(real, generated)
    (x, u), (y, v) = _weighted(real, generated, redraws, seed)
    distances = _kernel_within(x, u) + _kernel_within(y, v) - 2 * _kernel_mean(x, y, u, v)
    return Interval(value=value, standard_error=standard_error(distances))


@dataclass(frozen=True, kw_only=True)
class Limit:
    """FVD at several numbers of clips, and its extrapolation.

    Attributes:
        distances: mean FVD at each number of clips per side.
        limit: FVD for infinitely many clips: intercept of a line through the distances over
            1 / clips. Near 0 it can be negative by chance.
    """

    distances: tuple[float, ...]
    limit: float


def fvd_limit(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    clips: Sequence[int],
    draws: int = 5,
    seed: int = 0,
) -> Limit:
    """FVD without the bias of few clips (Chong and Forsyth 2020, for images and one side).

    Both sides are reduced to each number of ``clips``, since both add to the bias, in several
    draws. All numbers should be well above the number of features.

    Raises:
        ValueError: ``clips`` holds fewer than two numbers, or more clips than there are.
    """
    least = min(len(real), len(generated))
    if len(set(clips)) < 2 or min(clips) < 2 or max(clips) > least:
        raise ValueError(
            f"clips={tuple(clips)} must be at least two numbers from 2 to {least}, "
            "the number of clips of the smaller side"
        )

    def chosen(rows: Tensor, side: str, count: int, draw: int) -> Tensor:
        random = generator(seed, "fvd limit", side, count, draw)
        return rows[torch.randperm(len(rows), generator=random)[:count].to(rows.device)]

    def drawn(count: int, draw: int) -> float:
        return fvd(chosen(real, "real", count, draw), chosen(generated, "generated", count, draw))

    distances = [sum(drawn(count, draw) for draw in range(draws)) / draws for count in clips]
    design = torch.tensor([[1.0, 1 / count] for count in clips], dtype=torch.float64)
    measured = torch.tensor(distances, dtype=torch.float64)
    line = torch.linalg.lstsq(design, measured[:, None]).solution
    return Limit(distances=tuple(distances), limit=float(line[0, 0]))


def _weighted(
    real: Tensor, generated: Tensor, redraws: int, seed: int
) -> list[tuple[Float64[Tensor, "_ d"], Float64[Tensor, "r _"]]]:
    """Features of each side in float64, with their weights in each redraw."""
    rows = (check_finite(real), "real"), (check_finite(generated), "generated")
    return [(x, bootstrap_weights(len(x), side, redraws=redraws, seed=seed)) for x, side in rows]


def _gaussian(rows: Float64[Tensor, "n d"], weights: Float64[Tensor, "n"]) -> Gaussian:
    """Mean and unbiased covariance of weighted clips."""
    mean = weights @ rows
    away = (rows - mean) * weights.sqrt()[:, None]
    return Gaussian(mean=mean, covariance=away.T @ away / (1 - weights.square().sum()))


def _kernel_within(x: Float64[Tensor, "n d"], u: Float64[Tensor, "r n"]) -> Float64[Tensor, "r"]:
    """Mean of the kernel over pairs of different clips, in each redraw."""
    squares = u.square()
    diagonal = squares @ cubic_kernel((x * x).sum(1), x.shape[1])
    return (_kernel_mean(x, x, u, u) - diagonal) / (1 - squares.sum(1))


def _kernel_mean(
    x: Float64[Tensor, "n d"],
    y: Float64[Tensor, "m d"],
    u: Float64[Tensor, "r n"],
    v: Float64[Tensor, "r m"],
) -> Float64[Tensor, "r"]:
    """Mean of the kernel over all pairs, in each redraw."""
    total = u.new_zeros(len(u))
    for rows, weights in zip(x.split(ROWS), u.split(ROWS, dim=1), strict=True):
        kernel = cubic_kernel(rows @ y.T, x.shape[1])
        total += torch.einsum("rn,nm,rm->r", weights, kernel, v)
    return total
