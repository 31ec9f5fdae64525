"""How sure a KVD is: its standard error over draws of clips, by a bootstrap over both sides."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from longtake.metrics.kernel import ROWS, cubic_kernel, kvd
from longtake.metrics.statistics import check_finite
from longtake.metrics.uncertainty import REDRAWS, Interval, redrawn, spread


def kvd_interval(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Interval:
    """KVD with its standard error over draws of as many clips.

    The kernel is computed once for all redraws.

    Args:
        real: features.
        generated: features.
        redraws: of both sides; 50 give the standard error to a tenth.
        seed: of the redraws.

    Raises:
        ValueError: a side has fewer than two clips.
    """
    value = kvd(real, generated)
    x, y = check_finite(real), check_finite(generated)
    u = redrawn(len(x), "real", redraws=redraws, seed=seed)
    v = redrawn(len(y), "generated", redraws=redraws, seed=seed)
    distances = _within(x, u) + _within(y, v) - 2 * _mean(x, y, u, v)
    return Interval(value=value, deviation=spread(distances))


def _within(x: Float64[Tensor, "n d"], u: Float64[Tensor, "r n"]) -> Float64[Tensor, "r"]:
    """Mean of the kernel over pairs of different clips, in each redraw."""
    squares = u.square()
    itself = squares @ cubic_kernel((x * x).sum(1), x.shape[1])
    return (_mean(x, x, u, u) - itself) / (1 - squares.sum(1))


def _mean(
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
