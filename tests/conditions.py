"""Short ways to call a network and a sampler by themselves, and to give context frames."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from longtake.diffusion import (
    EDM,
    Cosine,
    Denoiser,
    DiffusersSampler,
    Linear,
    NoiseSchedule,
    RectifiedFlow,
    Sampler,
    ScaledLinear,
)
from longtake.diffusion.samplers import Bounds, Denoise
from longtake.diffusion.signals import Signals, context_signals, values
from longtake.noise import SampleNoise

NOTHING: Signals = {}
TABLE = ScaledLinear()
SCHEDULES = (
    ScaledLinear(),
    Linear(),
    Cosine(),
    Cosine(shift=0.25),
    EDM(),
    Linear(rescale_betas_zero_snr=True),
)
"""Schedules of which alpha and sigma have squares that add up to 1."""


def predict(
    network: Denoiser,
    z: Tensor,
    t: Tensor,
    signals: Signals = NOTHING,
    schedule: NoiseSchedule = TABLE,
) -> Tensor:
    return network(z, t, network.prepare(values(signals), schedule.embedding))


def walk(
    sampler: Sampler,
    denoise: Denoise,
    z: Tensor,
    schedule: NoiseSchedule,
    noise: SampleNoise,
    bounds: Bounds | None = None,
) -> Tensor:
    """Walk all frames together at the sampler's own times."""
    times = sampler.times(schedule)[:, None].expand(-1, len(z))
    return sampler(denoise, z, times, schedule, noise, bounds)


def follows(sampler: Sampler, schedule: NoiseSchedule) -> bool:
    """Whether a sampler can follow a schedule; others are refused, as tests of samplers say."""
    if not isinstance(sampler, DiffusersSampler):
        return True
    heun = sampler.scheduler == "HeunDiscrete" and schedule.ends_in_noise
    return not (heun or isinstance(schedule, RectifiedFlow))


def context(z: Tensor, frames: Sequence[int], t: float = 0.0) -> Signals:
    """Frames of latents ``(b, c, f, ...)`` as context frames, with noise of time ``t``."""
    mask = torch.zeros(len(z), z.shape[2], dtype=torch.bool)
    mask[:, list(frames)] = True
    return context_signals(z, mask, torch.full((len(z),), t))


def table_time(index: Any) -> Tensor:
    """Time of an index of DDPM's table."""
    return (torch.as_tensor(index) + 1) / 1000
