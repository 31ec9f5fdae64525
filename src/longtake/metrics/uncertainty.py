"""How sure an FVD is: its interval over draws of clips, and its limit for ever more clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.metrics.frechet import frechet_distance, fvd
from longtake.metrics.statistics import FeatureSums
from longtake.noise import generator

NORMAL_95 = 1.96


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


def equal_parts(rows: Float[Tensor, "n d"], most: int) -> list[Float[Tensor, "_ d"]]:
    """At most so many parts, equal as far as that goes: a clip a part where there are few."""
    return list(torch.tensor_split(rows, min(most, len(rows))))


def fvd_interval(real: Sequence[FeatureSums], generated: Sequence[FeatureSums]) -> Interval:
    """FVD of all parts together, with its deviation, from the parts' sums alone.

    It is the jackknife: how much the FVD changes where one part of either side is left out. Unlike
    the bootstrap, which repeats clips and so measures the higher FVD of fewer, its centre is the
    FVD itself. It is of FVD at this number of clips, whose bias it does not remove.

    Args:
        real: sums over parts of the clips, of about the same number each; 20 parts are plenty.
        generated: as many or another number of parts.

    Raises:
        ValueError: fewer than two parts, or too few clips.
    """
    if min(len(real), len(generated)) < 2:
        raise ValueError(
            f"an interval needs at least 2 parts a side, got {len(real)} and {len(generated)}"
        )
    x, y = total(real), total(generated)
    without_real = [_distance(x - part, y) for part in real]
    without_generated = [_distance(x, y - part) for part in generated]
    variance = _jackknife(without_real) + _jackknife(without_generated)
    return Interval(value=_distance(x, y), deviation=variance**0.5)


def total(parts: Sequence[FeatureSums]) -> FeatureSums:
    """Sums over the clips of all parts.

    Raises:
        ValueError: there is none.
    """
    if not parts:
        raise ValueError("sums over clips need at least 1 part, got none")
    return sum(parts[1:], parts[0])


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


def _distance(x: FeatureSums, y: FeatureSums) -> float:
    return frechet_distance(x.gaussian(), y.gaussian())


def _jackknife(left: Sequence[float]) -> float:
    """Variance of a value from what it is without each of its parts."""
    values = torch.tensor(left, dtype=torch.float64)
    return float((len(left) - 1) * values.var(correction=0))
