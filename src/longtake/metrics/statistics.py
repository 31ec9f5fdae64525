"""Mean and covariance of features from running sums: no list of features is kept."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from longtake.distributed import Ranks


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """The normal distribution that a Frechet distance is measured from or to."""

    mean: Float64[Tensor, "d"]
    covariance: Float64[Tensor, "d d"]


@dataclass(frozen=True, kw_only=True)
class FeatureSums:
    """Sums over clips, in float64 on the CPU. They add up: over batches and over processes.

    Attributes:
        count: of clips.
        total: sum of the features.
        products: sum of the features' outer products with themselves.
    """

    count: int
    total: Float64[Tensor, "d"]
    products: Float64[Tensor, "d d"]

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> "FeatureSums":
        """Sums over these clips.

        Raises:
            ValueError: features that are infinite or no numbers.
        """
        rows = check_finite(features)
        return cls(count=len(rows), total=rows.sum(0), products=rows.T @ rows)

    def __add__(self, other: "FeatureSums") -> "FeatureSums":
        """Sums over the clips of both."""
        return FeatureSums(
            count=self.count + other.count,
            total=self.total + other.total,
            products=self.products + other.products,
        )

    def over(self, ranks: Ranks) -> "FeatureSums":
        """Sums over the clips of all processes, the same in each."""
        count = torch.tensor([self.count], dtype=torch.float64)
        row = torch.cat([count, self.total, self.products.flatten()])
        every = ranks.gather(row[None].to(ranks.device)).sum(0).cpu()
        width = len(self.total)
        return FeatureSums(
            count=int(every[0]),
            total=every[1 : 1 + width],
            products=every[1 + width :].unflatten(0, (width, width)),
        )

    def gaussian(self) -> Gaussian:
        """Mean and unbiased covariance.

        Raises:
            ValueError: of fewer than two clips.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 clips, got {self.count}")
        mean = self.total / self.count
        scatter = self.products - self.count * torch.outer(mean, mean)
        return Gaussian(mean=mean, covariance=scatter / (self.count - 1))


def check_finite(features: Float[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """The features in float64 on the CPU.

    Raises:
        ValueError: some are infinite or no numbers.
    """
    rows = features.detach().cpu().double()
    wrong = int((~rows.isfinite().all(1)).sum())
    if wrong:
        raise ValueError(
            f"{wrong} of {len(rows)} clips have features that are infinite or no numbers; "
            "look at the videos for NaN"
        )
    return rows
