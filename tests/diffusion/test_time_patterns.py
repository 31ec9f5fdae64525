"""One sampler walks every table of times: all frames together, context frames, staggered frames."""

import math
from itertools import pairwise

import pytest
import torch
from conditions import NOTHING, context, walk
from tiny_denoiser import SPEC, Perfect, Tiny, latent
from torch import Tensor

from longtake.config import parse, to_dict
from longtake.denoisers import VolumeUNetConfig
from longtake.diffusion import (
    DDIM,
    DDPM,
    ClassifierFree,
    ClipSampler,
    Cosine,
    DiffusersSampler,
    Diffusion,
    NoiseSchedule,
    RectifiedFlow,
    ScaledLinear,
    Staggered,
    Together,
)
from longtake.diffusion.samplers import Denoise
from longtake.diffusion.timesteps import Grid
from longtake.noise import SampleNoise
from longtake.registry import AnyTimePattern

SCHEDULES = [ScaledLinear(), Cosine(), Cosine(shift=0.25), RectifiedFlow()]
GRIDS: list[tuple[Grid, int]] = [
    ("trailing", 7),
    ("trailing", 50),
    ("leading", 10),
    ("linspace", 20),
]


def one_step_at_a_time(sampler: DDIM | DDPM, denoise: Denoise, schedule: NoiseSchedule) -> Tensor:
    """The walk in host numbers of double precision, as it was before times were tensors."""
    noise = SampleNoise((3, 4))
    z = noise.normal(SPEC.shape)
    times = sampler.times(schedule).tolist()
    alphas, sigmas = (x.tolist() for x in schedule(torch.tensor(times, dtype=torch.float64)))
    for (t, a, s), (_, a_next, s_next) in pairwise(zip(times, alphas, sigmas, strict=True)):
        x0 = denoise(z, torch.full((2,), t))
        fresh_variance = max(0.0, s**2 - (a / a_next * s_next) ** 2)
        fresh = math.sqrt(fresh_variance) * s_next / s
        if isinstance(sampler, DDPM):
            z = a / a_next * (s_next / s) ** 2 * z + a_next * fresh_variance / s**2 * x0
        else:
            fresh = sampler.eta * fresh
            eps = (z - a * x0) / s
            z = a_next * x0 + math.sqrt(max(0.0, s_next**2 - fresh**2)) * eps
        if fresh > 0:
            z = z + fresh * noise.normal(z.shape[1:])
    return z


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize(
    "sampler",
    [DDPM(steps=40), *(DDIM(grid=g, steps=n, eta=eta) for g, n in GRIDS for eta in (0, 0.5, 1))],
    ids=repr,
)
def test_frames_that_walk_together_are_those_of_the_scalar_walk_bit_for_bit(sampler, schedule):
    def denoise(z: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(z) * (1 - SPEC.expand(t))

    noise = SampleNoise((3, 4))
    got = walk(sampler, denoise, noise.normal(SPEC.shape), schedule, noise)
    assert torch.equal(got, one_step_at_a_time(sampler, denoise, schedule))


def test_a_staggered_table_starts_each_frame_later():
    thirds = torch.tensor([3.0, 2.0, 1.0, 0.0])
    table = Staggered(delay=2)(thirds, 3)
    assert table.T.tolist() == [
        [3, 2, 1, 0, 0, 0, 0, 0],
        [3, 3, 3, 2, 1, 0, 0, 0],
        [3, 3, 3, 3, 3, 2, 1, 0],
    ]
    assert torch.equal(Together()(thirds, 3), thirds[:, None].expand(-1, 3))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("sampler", [DDIM(steps=5), DDIM(steps=5, eta=1), DDPM()], ids=repr)
def test_staggered_frames_reach_the_data(sampler, schedule):
    diffusion, data = Diffusion(schedule=schedule, prediction="x0"), latent()
    sample = ClipSampler(
        denoiser=Perfect(diffusion, data),
        diffusion=diffusion,
        sampler=sampler,
        pattern=Staggered(delay=3),
    )
    torch.testing.assert_close(sample(NOTHING, (1, 2)).z, data, atol=1e-5, rtol=1e-5)


def test_a_normal_distribution_is_reached_frame_by_frame():
    schedule, std = ScaledLinear(), 2.0

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (SPEC.expand(x) for x in schedule(t.double()))
        return (alpha * std**2 / ((alpha * std) ** 2 + sigma**2) * z).float()

    noise = SampleNoise((3, 4))
    z, sampler = noise.normal(SPEC.shape), DDIM(steps=100)
    table = Staggered(delay=20)(sampler.times(schedule), SPEC.frames)
    together = walk(sampler, denoise, z, schedule, noise)
    times = table[:, None].expand(-1, 2, -1)
    torch.testing.assert_close(sampler(denoise, z, times, schedule, noise), together)


@pytest.mark.parametrize("sampler", [DDIM(steps=4, eta=1), DDPM(steps=8)], ids=repr)
def test_frames_whose_time_stays_are_left_as_they_are(sampler):
    noise, schedule = SampleNoise((3, 4)), ScaledLinear()
    z = noise.normal(SPEC.shape)
    times = sampler.times(schedule)[:, None, None].repeat(1, 2, SPEC.frames)
    times[:, 0, 1], times[:, 1, 2], times[:, 1, 3] = 0.2, 0.0, 1.0
    seen = []

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return torch.tanh(z)

    got = sampler(denoise, z, times, schedule, noise)
    for row, frame in ((0, 1), (1, 2), (1, 3)):
        assert torch.equal(got[row, :, frame], z[row, :, frame])
    assert got.isfinite().all()
    assert torch.equal(torch.stack(seen), times[:-1].float())


def test_each_frame_is_read_at_its_own_time():
    seen = []
    denoiser = Tiny()
    denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    clips = ClipSampler(
        denoiser=denoiser,
        diffusion=Diffusion(prediction="v"),
        sampler=DDIM(steps=3),
        pattern=Staggered(),
        guidance=ClassifierFree(scale=2),
        context_noise=0.1,
    )
    clips(context(latent(), [0]), (1, 2))
    first, second = seen[0], seen[1]
    assert first.shape == (4, SPEC.frames)
    assert first.tolist() == [pytest.approx([0.1, 1, 1, 1])] * 4
    assert second.tolist() == [pytest.approx([0.1, 1, 1, 1])] * 4
    assert seen[2].tolist() == [pytest.approx([0.1, 2 / 3, 1, 1], abs=1e-3)] * 4


def test_times_of_their_own_are_refused_where_a_part_cannot_have_them():
    blind = VolumeUNetConfig(latent=(2, 4, 4, 4), model_channels=8, groups=4).build()
    for denoiser, sampler, name in (
        (Tiny(), DiffusersSampler(), "DiffusersSampler"),
        (blind, DDIM(), "VolumeUNet"),
    ):
        with pytest.raises(ValueError, match=f"{name} does not support per-frame times"):
            ClipSampler(
                denoiser=denoiser, diffusion=Diffusion(), sampler=sampler, pattern=Staggered()
            )


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_scheduler_of_diffusers_keeps_frames_in_place_and_refuses_other_tables():
    noise, schedule, sampler = SampleNoise((3, 4)), ScaledLinear(), DiffusersSampler(steps=3)
    z = noise.normal(SPEC.shape)
    times = sampler.times(schedule)[:, None, None].repeat(1, 2, SPEC.frames)
    times[:, :, 0] = 0.2
    got = sampler(lambda z, t: torch.tanh(z), z, times, schedule, noise)
    assert torch.equal(got[:, :, 0], z[:, :, 0])
    with pytest.raises(ValueError, match="has one time for all frames of a clip"):
        sampler(lambda z, t: z, z, times.flip(2).cumsum(2).clamp_max(1), schedule, noise)


@pytest.mark.parametrize("pattern", [Together(), Staggered(delay=2)], ids=repr)
def test_a_pattern_is_read_back_equal(pattern):
    assert parse(AnyTimePattern, to_dict(pattern)) == pattern


def test_training_can_draw_a_time_for_each_frame():
    diffusion, seeds = Diffusion(time_per_frame=True), (5, 6)
    t = diffusion.draw_time(SampleNoise(seeds), SPEC.frames)
    assert t.shape == (2, SPEC.frames)
    assert len(t.unique()) > SPEC.frames
    assert torch.equal(diffusion.draw_time(SampleNoise(seeds[1:]), SPEC.frames), t[1:])
    loss = diffusion.losses(Tiny(), latent(), latent(), t, context(latent(), [0], 0.1))
    assert loss.isfinite().all()
