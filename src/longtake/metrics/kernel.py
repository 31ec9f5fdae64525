"""The kernel distance of features of videos (KVD; Unterthiner et al. 2018), in float64."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from longtake.metrics.statistics import check_finite

ROWS = 1024
"""Of a kernel matrix that are in memory at once."""


def kvd(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"]) -> float:
    """Unbiased squared maximum mean discrepancy, with the kernel (x.y / d + 1)^3.

    Over draws of both sets from one distribution its mean is 0, so it can be negative.

    Raises:
        ValueError: a set of fewer than two clips, or features that are no numbers.
    """
    x, y = check_finite(real), check_finite(generated)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"KVD needs at least 2 clips a side, got {len(x)} and {len(y)}")
    return _mean_of_pairs(x) + _mean_of_pairs(y) - 2 * _sum(x, y) / (len(x) * len(y))


def _mean_of_pairs(x: Float64[Tensor, "n d"]) -> float:
    """Mean of the kernel over pairs of different clips."""
    itself = cubic_kernel((x * x).sum(1), x.shape[1]).sum()
    return (_sum(x, x) - float(itself)) / (len(x) * (len(x) - 1))


def _sum(x: Float64[Tensor, "n d"], y: Float64[Tensor, "m d"]) -> float:
    blocks = [cubic_kernel(rows @ y.T, x.shape[1]).sum() for rows in x.split(ROWS)]
    return float(torch.stack(blocks).sum())


def cubic_kernel(products: Float64[Tensor, "..."], width: int) -> Float64[Tensor, "..."]:
    """Of clips whose features of so many numbers have these scalar products."""
    return (products / width + 1) ** 3
