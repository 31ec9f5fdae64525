"""Times: those a sampler visits, and those a training step draws.

Where a formula speaks of DDPM's index i, its time is (i + 1) / 1000; time 0 is the clean latent.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from longtake.config import Config
from longtake.diffusion.schedule import STEPS
from longtake.noise import SampleNoise

Grid = Literal["trailing", "leading", "linspace"]
"""Which times a sampler visits: ``trailing`` is the one to prefer (Lin et al. 2024, "Common
diffusion noise schedules and sample steps are flawed"), ``leading`` is LVDM's and ``linspace``
PVDM's."""


def grid_times(grid: Grid, steps: int) -> tuple[float, ...]:
    """Times in falling order. Sampling ends at the last one, without a network call there.

    Raises:
        ValueError: the grid does not exist for this number of steps.
    """
    return tuple(place / STEPS for place in _GRIDS[grid](steps))


def _trailing(steps: int) -> list[int]:
    """From t = 1, evenly, to the clean latent."""
    places = torch.arange(steps, 0, -1, dtype=torch.float64) * (STEPS / steps)
    return [*map(int, places.round().tolist()), 0]


def _linspace(steps: int) -> list[int]:
    """PVDM: indices trunc(linspace(-1, 999)), to the clean latent."""
    indices = torch.linspace(-1, STEPS - 1, steps + 1).int().tolist()
    return [index + 1 for index in reversed(indices)]


def _leading(steps: int) -> list[int]:
    """LVDM: indices {0, c, 2c, ...} + 1 with c = floor(1000 / steps), to the level of index 0.

    There are more than ``steps`` of them where ``steps`` does not divide 1000.
    """
    indices = [index + 1 for index in range(0, STEPS, STEPS // steps)]
    if indices[-1] >= STEPS:
        raise ValueError(
            f"steps={steps} has no leading grid, as it asks for index {STEPS} of a table that ends "
            f"at {STEPS - 1}; choose another number of steps, such as 50, or grid='trailing'"
        )
    return [*(index + 1 for index in reversed(indices)), 1]


_GRIDS: Mapping[Grid, Callable[[int], list[int]]] = {
    "trailing": _trailing,
    "leading": _leading,
    "linspace": _linspace,
}


class TimestepSampling(Config, ABC):
    """How training draws the time of a sample."""

    @abstractmethod
    def __call__(self, noise: SampleNoise) -> Float[Tensor, "b"]:
        """One time a sample, from the sample's own stream."""


class DiscreteTime(TimestepSampling):
    """Each of DDPM's 1000 steps with equal probability, as both papers have it."""

    kind: Literal["discrete"] = "discrete"

    def __call__(self, noise: SampleNoise) -> Float[Tensor, "b"]:
        """One of 0.001, 0.002, ... 1 a sample."""
        index = (_uniform(noise) * STEPS).floor().clamp_max(STEPS - 1)
        return (index + 1) / STEPS


class UniformTime(TimestepSampling):
    """Any time in (0, 1) with equal density."""

    kind: Literal["uniform"] = "uniform"

    def __call__(self, noise: SampleNoise) -> Float[Tensor, "b"]:
        """A time in (0, 1) a sample."""
        return _uniform(noise)


class LogitNormalTime(TimestepSampling):
    """Times whose logit is normal: more of the middle (Esser et al. 2024, rectified flow).

    Attributes:
        mean: mean of the logit; above 0 there are more noisy times.
        std: standard deviation of the logit.
    """

    renamed: ClassVar[Mapping[str, str]] = {"deviation": "std"}

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    std: Annotated[float, Gt(0)] = 1.0

    def __call__(self, noise: SampleNoise) -> Float[Tensor, "b"]:
        """A time in (0, 1) a sample."""
        return torch.sigmoid(self.mean + self.std * noise.normal(()))


AnyTimestepSampling = Annotated[
    DiscreteTime | UniformTime | LogitNormalTime, Field(discriminator="kind")
]


def _uniform(noise: SampleNoise) -> Float[Tensor, "b"]:
    return torch.special.ndtr(noise.normal(()))
