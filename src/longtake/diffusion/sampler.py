"""What a sampler is: a walk from noise to data, given a denoise function.

A sampler sees neither network, condition nor guidance: only ``denoise(z_t, t) -> x0``.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.config import Config
from longtake.diffusion.schedule import NoiseSchedule
from longtake.noise import SampleNoise

Denoise = Callable[[Tensor, float], Tensor]
"""Clean latent as estimated from a noisy one, all of whose samples are at one time in [0, 1]. The
time is a number, not a tensor, so that nothing that depends on it waits for the device."""

Bounds = tuple[float, float]


class Sampler(Config, ABC):
    """A rule for walking from t = 1 to t = 0."""

    @abstractmethod
    def __call__(
        self,
        denoise: Denoise,
        z: Float[Tensor, "b ..."],
        schedule: NoiseSchedule,
        noise: SampleNoise,
        bounds: Bounds | None = None,
    ) -> Float[Tensor, "b ..."]:
        """Walk from pure noise ``z`` to a clean latent.

        Args:
            denoise: estimates the clean latent.
            z: standard normal noise.
            schedule: the path that the denoiser was trained on.
            noise: what the walk draws from, one stream a sample.
            bounds: least and greatest value of a clean latent; estimates are clamped to them.
        """


class Step(NamedTuple):
    """One step of a walk: from ``t`` to the next, less noisy time. Host numbers, in float64."""

    t: float
    alpha: float
    sigma: float
    t_next: float
    alpha_next: float
    sigma_next: float

    @property
    def fresh_variance(self) -> float:
        """Variance of z_t given z_next: the noise that the forward process adds on this step."""
        return max(0.0, self.sigma**2 - (self.alpha / self.alpha_next * self.sigma_next) ** 2)

    @property
    def posterior_deviation(self) -> float:
        """Deviation of z_next given z_t and the clean latent (DDPM's posterior)."""
        return math.sqrt(self.fresh_variance) * self.sigma_next / self.sigma


def walk(schedule: NoiseSchedule, times: Sequence[float]) -> list[Step]:
    """Steps between neighbouring times, computed before any of them is made."""
    alpha, sigma = schedule(torch.tensor(times, dtype=torch.float64, device="cpu"))
    levels = zip(times, alpha.tolist(), sigma.tolist(), strict=True)
    return [Step(*now, *after) for now, after in pairwise(levels)]


def clamp(x0: Float[Tensor, "b ..."], bounds: Bounds | None) -> Float[Tensor, "b ..."]:
    """Keep an estimate in its bounds, if it has any."""
    return x0 if bounds is None else x0.clamp(*bounds)
