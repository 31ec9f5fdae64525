"""The kernel distance of features of videos (KVD; Unterthiner et al. 2018), in float64."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from longtake.metrics.frechet import check_finite

ROWS = 1024
"""Number of rows of a kernel matrix that are in memory at once."""


def kvd(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"]) -> float:
    """Kernel distance of sets of d features: unbiased squared MMD with the kernel (x.y / d + 1)^3.

    Its expectation for two sets of clips from one distribution is 0, so it can be negative.

    Raises:
        ValueError: a set has fewer than two clips, or features are infinite or NaN.
    """
    x, y = check_finite(real), check_finite(generated)
    if min(len(x), len(y)) < 2:
        raise ValueError(
            f"KVD needs at least 2 real and 2 generated clips, got {len(x)} and {len(y)}"
        )
    return _mean_of_pairs(x) + _mean_of_pairs(y) - 2 * _sum(x, y) / (len(x) * len(y))


def _mean_of_pairs(x: Float64[Tensor, "n d"]) -> float:
    """Mean of KVD's kernel over all pairs of different clips of one set."""
    diagonal = cubic_kernel((x * x).sum(1), x.shape[1]).sum()
    return (_sum(x, x) - float(diagonal)) / (len(x) * (len(x) - 1))


def _sum(x: Float64[Tensor, "n d"], y: Float64[Tensor, "m d"]) -> float:
    blocks = [cubic_kernel(rows @ y.T, x.shape[1]).sum() for rows in x.split(ROWS)]
    return float(torch.stack(blocks).sum())


def cubic_kernel(products: Float64[Tensor, "..."], width: int) -> Float64[Tensor, "..."]:
    """Kernel (x.y / d + 1)^3 from the products x.y; ``width`` is the number d of features."""
    return (products / width + 1) ** 3
