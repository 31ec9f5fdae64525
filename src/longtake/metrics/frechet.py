"""The Frechet distance of features of videos (FVD; Unterthiner et al. 2018), in float64."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """A normal distribution fitted to the features of clips, for ``frechet_distance``.

    Attributes:
        mean: mean of each of ``d`` features.
        covariance: covariance matrix of the features.
    """

    mean: Float64[Tensor, "d"]
    covariance: Float64[Tensor, "d d"]


def frechet_distance(x: Gaussian, y: Gaussian) -> float:
    """Squared Frechet distance of two normal distributions of means m and covariances S.

    It is |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    The trace of the square root is computed as the nuclear norm of A^T B, where S1 = A A^T and
    S2 = B B^T: unlike a matrix square root of S1 S2 it is exact also for fewer clips than features.
    """
    means = (x.mean - y.mean).square().sum()
    traces = x.covariance.trace() + y.covariance.trace()
    cross = torch.linalg.svdvals(_factor(x.covariance).T @ _factor(y.covariance)).sum()
    return max(float(means + traces - 2 * cross), 0.0)


def fvd(
    real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"], *, correction: int = 1
) -> float:
    """Squared Frechet distance of features of real and generated clips: FVD, if they are of I3D.

    ``correction`` is subtracted from the number of clips in the divisor of covariances: 1 or 0.

    Raises:
        ValueError: a set has fewer than two clips, or features are infinite or NaN.
    """
    return frechet_distance(gaussian(real, correction), gaussian(generated, correction))


def _factor(covariance: Float64[Tensor, "d d"]) -> Float64[Tensor, "d d"]:
    """Factor A of a covariance A A^T.

    Its eigenvalues that are rounding errors count as 0, because their roots are not small.
    """
    variances, axes = torch.linalg.eigh(covariance)
    noise = variances[-1] * len(variances) * torch.finfo(variances.dtype).eps
    return axes * variances.where(variances > noise, 0).sqrt()


def gaussian(features: Float[Tensor, "n d"], correction: int = 1) -> Gaussian:
    """Fit a normal distribution to the features of ``n`` clips.

    The covariance is divided by ``n - correction``: unbiased with 1, the maximum likelihood with 0.

    Raises:
        ValueError: there are fewer than two clips, or features are infinite or NaN.
    """
    rows = check_finite(features)
    count = len(rows)
    if count < 2:
        raise ValueError(f"a covariance needs at least 2 clips, got {count}")
    mean = rows.sum(0) / count
    scatter = rows.T @ rows - count * torch.outer(mean, mean)
    return Gaussian(mean=mean, covariance=scatter / (count - correction))


def check_finite(features: Float[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """Return the features of clips in float64 on the CPU.

    Raises:
        ValueError: features are infinite or NaN.
    """
    rows = features.detach().cpu().double()
    wrong = int((~rows.isfinite().all(1)).sum())
    if wrong:
        raise ValueError(
            f"{wrong} of {len(rows)} clips have features that are infinite or NaN; check "
            "the network that computed them, or compute in float32"
        )
    return rows
