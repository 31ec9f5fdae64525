"""Times: those a sampler visits, in which pattern of frames, and those a training step draws.

Where a formula speaks of DDPM's index i, its time is (i + 1) / 1000; time 0 is the clean latent.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from longtake.config import Config
from longtake.diffusion.schedule import STEPS
from longtake.noise import SampleNoise

Grid = Literal["trailing", "leading", "linspace"]
"""Which times a sampler visits, as diffusers' ``timestep_spacing``: ``trailing`` is to be preferred
(Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed"), ``leading`` is
LVDM's and ``linspace`` PVDM's."""


def grid_times(grid: Grid, steps: int) -> tuple[float, ...]:
    """Falling times in [0, 1] that a sampler of ``steps`` steps visits.

    ``grid`` is their spacing, as diffusers' ``timestep_spacing``. The network is called at all but
    the last. A ValueError if the grid has no such number of steps.
    """
    return tuple(place / STEPS for place in _GRIDS[grid](steps))


def _trailing(steps: int) -> list[int]:
    """Table positions, falling to 0, of the grid that diffusers calls trailing."""
    places = torch.arange(steps, 0, -1, dtype=torch.float64) * (STEPS / steps)
    return [*map(int, places.round().tolist()), 0]


def _linspace(steps: int) -> list[int]:
    """Table positions, falling to 0, of PVDM's grid: trunc(linspace(-1, 999, steps + 1)) + 1."""
    indices = torch.linspace(-1, STEPS - 1, steps + 1).int().tolist()
    return [index + 1 for index in reversed(indices)]


def _leading(steps: int) -> list[int]:
    """Table positions, falling, of LVDM's grid: 2 + {0, c, 2c, ...} with c = floor(1000 / steps).

    The last is 1, the level of DDPM's index 0. Where ``steps`` does not divide 1000, the grid has
    more steps. A ValueError if it would leave the table.
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


class TimePattern(Config, ABC):
    """Which time each latent frame has at each sampling step.

    A context frame always has the time of the noise on it instead.

    Attributes:
        per_frame: whether frames of a clip have different times, which the network must support.
    """

    per_frame: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, times: Float[Tensor, "s"], frames: int) -> Float[Tensor, "s2 f"]:
        """Time of each latent frame at each step: a row per step, a column per latent frame.

        ``times`` are the falling times of a sampler, the last one included.
        """


class Together(TimePattern):
    """All frames of a clip have the same time, as both papers sample.

    Times of a clip of four frames, sampled in three steps; a row is a step, a column a frame::

        1    1    1    1
        2/3  2/3  2/3  2/3
        1/3  1/3  1/3  1/3
        0    0    0    0
    """

    per_frame: ClassVar[bool] = False

    kind: Literal["together"] = "together"

    def __call__(self, times: Float[Tensor, "s"], frames: int) -> Float[Tensor, "s f"]:
        return times[:, None].expand(-1, frames)


class Staggered(TimePattern):
    """Later frames of a clip are noisier (Chen et al. 2024, "Diffusion Forcing").

    Times of a clip of four frames, three steps per frame and ``delay`` 1; a row is a step, a column
    a frame::

        1    1    1    1
        2/3  1    1    1
        1/3  2/3  1    1
        0    1/3  2/3  1
        0    0    1/3  2/3
        0    0    0    1/3
        0    0    0    0

    Attributes:
        delay: number of steps by which each frame starts after the frame before it; with the
            sampler's number of steps, frames are sampled one after another.
    """

    kind: Literal["staggered"] = "staggered"
    delay: Annotated[int, Ge(1)] = 1

    def __call__(self, times: Float[Tensor, "s"], frames: int) -> Float[Tensor, "s2 f"]:
        steps = torch.arange(len(times) + self.delay * (frames - 1), device=times.device)
        begin = self.delay * torch.arange(frames, device=times.device)
        return times[(steps[:, None] - begin).clamp(0, len(times) - 1)]


AnyTimePattern = Annotated[Together | Staggered, Field(discriminator="kind")]
"""Settings of a time pattern."""


class TimestepSampling(Config, ABC):
    """A distribution of times in [0, 1], from which training draws."""

    @abstractmethod
    def __call__(self, noise: SampleNoise) -> Float[Tensor, "b"]:
        """Draw one time per sample, from the sample's own random stream."""


class DiscreteTime(TimestepSampling):
    """Uniform over 0.001, 0.002, ..., 1: DDPM's 1000 timesteps, as in both papers."""

    kind: Literal["discrete"] = "discrete"

    def __call__(self, noise: SampleNoise) -> Float[Tensor, "b"]:
        index = (_uniform(noise) * STEPS).floor().clamp_max(STEPS - 1)
        return (index + 1) / STEPS


class UniformTime(TimestepSampling):
    """Uniform over the interval (0, 1)."""

    kind: Literal["uniform"] = "uniform"

    def __call__(self, noise: SampleNoise) -> Float[Tensor, "b"]:
        return _uniform(noise)


class LogitNormalTime(TimestepSampling):
    """Logit-normal: middle times are more frequent (Esser et al. 2024, rectified flow).

    Attributes:
        mean: mean of the logit; above 0, noisy times are more frequent.
        std: standard deviation of the logit.
    """

    renamed: ClassVar[Mapping[str, str]] = {"deviation": "std"}

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    std: Annotated[float, Gt(0)] = 1.0

    def __call__(self, noise: SampleNoise) -> Float[Tensor, "b"]:
        return torch.sigmoid(self.mean + self.std * noise.normal(()))


AnyTimestepSampling = Annotated[
    DiscreteTime | UniformTime | LogitNormalTime, Field(discriminator="kind")
]
"""Settings of the distribution of training times."""


def _uniform(noise: SampleNoise) -> Float[Tensor, "b"]:
    return torch.special.ndtr(noise.normal(()))
