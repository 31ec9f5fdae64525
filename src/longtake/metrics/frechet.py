"""The Frechet distance of features of videos (FVD; Unterthiner et al. 2018), in float64."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from longtake.metrics.statistics import Gaussian, gaussian


def frechet_distance(x: Gaussian, y: Gaussian) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    The last trace is the nuclear norm of A^T B, where S1 = A A^T and S2 = B B^T; unlike the
    square root of S1 S2 it stays exact for fewer clips than features.
    """
    means = (x.mean - y.mean).square().sum()
    traces = x.covariance.trace() + y.covariance.trace()
    cross = torch.linalg.svdvals(_factor(x.covariance).T @ _factor(y.covariance)).sum()
    return max(float(means + traces - 2 * cross), 0.0)


def fvd(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"]) -> float:
    """Frechet distance of two sets of features."""
    return frechet_distance(gaussian(real), gaussian(generated))


def _factor(covariance: Float64[Tensor, "d d"]) -> Float64[Tensor, "d d"]:
    """A with A A^T = S. Variances that are rounding errors become 0: their roots are not small."""
    variances, axes = torch.linalg.eigh(covariance)
    noise = variances[-1] * len(variances) * torch.finfo(variances.dtype).eps
    return axes * variances.where(variances > noise, 0).sqrt()
