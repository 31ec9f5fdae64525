"""How sure an FVD is: its interval over draws of clips, and its limit for ever more clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from longtake.metrics.frechet import frechet_distance, fvd
from longtake.metrics.statistics import Gaussian, check_finite
from longtake.noise import generator

NORMAL_95 = 1.96

REDRAWS = 50
"""Of the clips, in a bootstrap."""

CONCENTRATION = 16
"""Of a bootstrap's weights, as so many exponential numbers a clip; 1 is Rubin's."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value that would differ with other clips.

    Attributes:
        value: of these clips.
        deviation: standard error over draws of as many clips.
    """

    value: float
    deviation: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval; no distance is below 0."""
        return max(self.value - NORMAL_95 * self.deviation, 0.0)

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + NORMAL_95 * self.deviation


def redrawn(
    clips: int, side: str, *, redraws: int = REDRAWS, seed: int = 0
) -> Float64[Tensor, "r n"]:
    """Weights of the clips of one side, whose sum is 1, in each redraw of a bootstrap.

    Where the classical bootstrap gives a clip the weight 0, 1, 2, ..., here all keep a part: the
    weights are Dirichlet's, of concentration 16 (a bootstrap of fractional random weights; Rubin
    1981, Xu et al. 2020). Repeated clips would count as fewer clips, and FVD grows where there are
    fewer. Weights differ 4 times less than the classical ones', so ``spread`` multiplies by 4.
    """
    random = generator(seed, "bootstrap", side, clips)
    shape = (CONCENTRATION, redraws, clips)
    weights = torch.empty(shape, dtype=torch.float64).exponential_(generator=random).sum(0)
    return weights / weights.sum(1, keepdim=True)


def spread(values: Float64[Tensor, "r"]) -> float:
    """Standard error of a value from what it is in each redraw."""
    return float(values.std()) * CONCENTRATION**0.5


def fvd_interval(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Interval:
    """FVD with its standard error over draws of as many clips, by a bootstrap over both sides.

    It is of FVD at this number of clips, whose bias it does not remove.

    Args:
        real: features.
        generated: features.
        redraws: of both sides; 50 give the standard error to a tenth.
        seed: of the redraws.

    Raises:
        ValueError: a side has fewer than two clips.
    """
    value, pairs = fvd(real, generated), []
    for rows, side in ((check_finite(real), "real"), (check_finite(generated), "generated")):
        weights = redrawn(len(rows), side, redraws=redraws, seed=seed)
        pairs.append([_weighted(rows, each) for each in weights])
    distances = [frechet_distance(x, y) for x, y in zip(*pairs, strict=True)]
    return Interval(value=value, deviation=spread(torch.tensor(distances, dtype=torch.float64)))


@dataclass(frozen=True, kw_only=True)
class Limit:
    """FVD at several numbers of clips, and what it tends to.

    Attributes:
        clips: how many a side.
        distances: the mean FVD at each number.
        limit: where a straight line through them over 1 / clips ends, for no end of clips. Near 0
            it can be negative, by chance.
    """

    clips: tuple[int, ...]
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

    Both sides are thinned alike, since both add to the bias.

    Args:
        real: features.
        generated: features.
        clips: numbers of clips to measure at; all well above the number of features, or the line
            is none.
        draws: of clips at each number.
        seed: of the draws.

    Raises:
        ValueError: numbers of clips that do not make a line, or that there are not.
    """
    least = min(len(real), len(generated))
    if len(set(clips)) < 2 or min(clips) < 2 or max(clips) > least:
        raise ValueError(
            f"clips={tuple(clips)} must be at least two numbers from 2 to {least}, "
            "as many clips as the smaller side has"
        )
    distances = []
    for count in clips:
        every = [
            fvd(
                _chosen(real, count, seed, "real", draw),
                _chosen(generated, count, seed, "generated", draw),
            )
            for draw in range(draws)
        ]
        distances.append(sum(every) / draws)
    design = torch.tensor([[1.0, 1 / count] for count in clips], dtype=torch.float64)
    measured = torch.tensor(distances, dtype=torch.float64)
    line = torch.linalg.lstsq(design, measured[:, None]).solution
    return Limit(clips=tuple(clips), distances=tuple(distances), limit=float(line[0, 0]))


def _chosen(rows: Tensor, count: int, seed: int, side: str, draw: int) -> Tensor:
    """Some rows, each at most once."""
    order = torch.randperm(len(rows), generator=generator(seed, "fvd limit", side, count, draw))
    return rows[order[:count].to(rows.device)]


def _weighted(rows: Float64[Tensor, "n d"], weights: Float64[Tensor, "n"]) -> Gaussian:
    """Mean and unbiased covariance of clips that count so much each, 1 together."""
    mean = weights @ rows
    away = (rows - mean) * weights.sqrt()[:, None]
    return Gaussian(mean=mean, covariance=away.T @ away / (1 - weights.square().sum()))
