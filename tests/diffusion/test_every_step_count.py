"""At any number of steps, on any schedule, a sampler ends in the data and adds no variance.

``benchmarks/step_counts.py`` measures every number of steps from 1 to 200.
"""

import pytest
import torch
from conditions import SCHEDULES, follows, walk
from tiny_denoiser import Tiny
from torch import Tensor

from longtake.diffusion import (
    DDIM,
    ClipSampler,
    Cosine,
    DiffusersSampler,
    Diffusion,
    RectifiedFlow,
)
from longtake.diffusion.diffusers_sampler import EVEN_STEPS, SCHEDULERS
from longtake.noise import SampleNoise

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

EVERY = (*SCHEDULES, RectifiedFlow())
COUNTS = (1, 2, 3, 7, 61)
OURS = [DDIM(), DDIM(eta=1), DDIM(grid="linspace", eta=0.5)]
THEIRS = [DiffusersSampler(scheduler=name) for name in SCHEDULERS if name not in EVEN_STEPS]


CASES = [(sampler, s) for sampler in (*OURS, *THEIRS) for s in EVERY if follows(sampler, s)]


@pytest.mark.parametrize(("sampler", "schedule"), CASES, ids=repr)
def test_a_constant_estimate_is_reached_and_normal_data_gain_no_variance(sampler, schedule):
    def denoise(z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (float(x) for x in schedule(t[0].double()))
        return torch.stack([torch.full_like(z[0], 0.7), alpha / (alpha**2 + sigma**2) * z[1]])

    for steps in COUNTS:
        if sampler.kind == "diffusers" and sampler.scheduler == "LCM" and steps > 50:
            continue
        noise = SampleNoise((3, 4))
        z = noise.normal((1, 1, 64, 64))
        counted = sampler.model_copy(update={"steps": steps})
        constant, normal = walk(counted, denoise, z, schedule, noise)
        torch.testing.assert_close(constant, torch.full_like(constant, 0.7), atol=1e-4, rtol=0)
        assert normal.std() <= 1.03 * z[1].std(), steps


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("name", ["DPMSolverMultistep", "UniPCMultistep"])
def test_thirty_steps_of_second_order_keep_the_std_of_normal_data(name, schedule):
    noise = SampleNoise((3,))
    z = noise.normal((1, 1, 64, 64))
    sampler = DiffusersSampler(scheduler=name, steps=30)
    got = walk(sampler, lambda z, t: schedule(t[0].double()).alpha.float() * z, z, schedule, noise)
    assert abs(float(got.std() / z.std()) - 1) < 0.03


def test_the_heun_of_diffusers_is_refused_before_anything_is_drawn_where_noise_is_pure():
    diffusion = Diffusion(schedule=Cosine(), prediction="v")
    heun = DiffusersSampler(scheduler="HeunDiscrete", steps=24)
    with pytest.raises(ValueError, match="far too much noise on the schedule Cosine"):
        ClipSampler(denoiser=Tiny(), diffusion=diffusion, sampler=heun)


def test_a_sampler_that_cannot_follow_a_schedule_is_refused_before_anything_is_drawn():
    diffusion = Diffusion(schedule=RectifiedFlow(), prediction="flow")
    with pytest.raises(ValueError, match="RectifiedFlow does not preserve variance"):
        ClipSampler(denoiser=Tiny(), diffusion=diffusion, sampler=DiffusersSampler())
