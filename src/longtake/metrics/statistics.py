"""Mean and covariance of features, in float64."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """A normal distribution, between two of which a Frechet distance is measured."""

    mean: Float64[Tensor, "d"]
    covariance: Float64[Tensor, "d d"]


def gaussian(features: Float[Tensor, "n d"]) -> Gaussian:
    """Mean and unbiased covariance of features.

    Raises:
        ValueError: there are fewer than two clips, or features are infinite or NaN.
    """
    rows = check_finite(features)
    count = len(rows)
    if count < 2:
        raise ValueError(f"a covariance needs at least 2 clips, got {count}")
    mean = rows.sum(0) / count
    scatter = rows.T @ rows - count * torch.outer(mean, mean)
    return Gaussian(mean=mean, covariance=scatter / (count - 1))


def check_finite(features: Float[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """The features in float64 on the CPU.

    Raises:
        ValueError: features are infinite or NaN.
    """
    rows = features.detach().cpu().double()
    wrong = int((~rows.isfinite().all(1)).sum())
    if wrong:
        raise ValueError(
            f"{wrong} of {len(rows)} clips have features that are infinite or NaN; check the "
            "videos for NaN"
        )
    return rows
