"""Schedules are affine paths from data to noise; times are those of the papers."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from hypothesis import given
from hypothesis import strategies as st

from longtake.config import parse
from longtake.diffusion import (
    EDM,
    AlphaSigma,
    Cosine,
    Diffusion,
    Linear,
    RectifiedFlow,
    ScaledLinear,
)
from longtake.diffusion.timesteps import (
    DiscreteTime,
    LogitNormalTime,
    UniformTime,
    grid_times,
)
from longtake.noise import SampleNoise
from longtake.registry import AnySchedule

RESCALED = (
    ScaledLinear(rescale_betas_zero_snr=True),
    Linear(rescale_betas_zero_snr=True),
)
PRESERVING = (ScaledLinear(), Linear(), Cosine(), Cosine(shift=0.25), EDM(), *RESCALED)
SCHEDULES = (*PRESERVING, RectifiedFlow())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_starts_clean_and_loses_signal(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 101, dtype=torch.float64))
    assert (alpha[0].item(), sigma[0].item()) == (1, 0)
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()


@pytest.mark.parametrize("schedule", PRESERVING)
def test_variance_is_preserved(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 77, dtype=torch.float64))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_single_precision_agrees_with_double(schedule):
    t = torch.arange(1001, dtype=torch.float64) / 1000
    for exact, rounded in zip(schedule(t), schedule(t.float()), strict=True):
        torch.testing.assert_close(rounded.double(), exact, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_times_of_any_shape_give_levels_of_that_shape(schedule):
    assert schedule(torch.rand(3, 4)).alpha.shape == (3, 4)
    assert schedule(torch.tensor(0.5)).sigma.shape == ()


@pytest.mark.parametrize("schedule", [ScaledLinear(), Linear(), *RESCALED])
def test_networks_are_given_the_index_of_the_table(schedule):
    t = torch.arange(1, 1001) / 1000
    assert schedule.embedding(t).tolist() == list(range(1000))
    assert schedule.embedding(torch.zeros(1)).item() == 0


def test_only_paths_that_reach_it_end_in_noise():
    assert [schedule.ends_in_noise for schedule in SCHEDULES] == [False, False, *[True] * 6]


@pytest.mark.parametrize("schedule", RESCALED)
def test_a_rescaled_table_is_that_of_diffusers(schedule):
    plain = schedule.model_copy(update={"rescale_betas_zero_snr": False})
    theirs = rescale_zero_terminal_snr(plain.betas())
    torch.testing.assert_close(schedule.betas(), theirs)
    alpha = schedule(torch.arange(1, 1001, dtype=torch.float64) / 1000).alpha
    torch.testing.assert_close(alpha, (1 - theirs).cumprod(0).sqrt())


def test_a_table_that_is_not_rescaled_is_stored_as_before():
    assert Linear().model_dump() == {"kind": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    stored = Linear(rescale_betas_zero_snr=True).model_dump()
    assert stored["rescale_betas_zero_snr"] is True


def test_v_on_the_path_of_edm_is_its_preconditioning():
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    z, output = torch.randn(2, 50, 1, dtype=torch.float64)
    level = AlphaSigma(*(x[:, None] for x in EDM()(t)))
    x0 = Diffusion(schedule=EDM(), prediction="v").to_x0(-output, z, level)
    noise = level.sigma / level.alpha  # EDM's sigma; its sigma_data is 1
    torch.testing.assert_close(level.alpha, 1 / (noise**2 + 1).sqrt())  # c_in
    noisy = z / level.alpha
    skip, out = 1 / (noise**2 + 1), noise / (noise**2 + 1).sqrt()
    torch.testing.assert_close(x0, skip * noisy + out * output)


def test_logit_normal_times_have_log_normal_noise_on_the_path_of_edm():
    t = LogitNormalTime(mean=-0.507, std=1.2)(SampleNoise(range(4000))).double()
    level = EDM()(t)
    logarithm = (level.sigma / level.alpha).log()
    assert abs(logarithm.mean().item() + 0.507) < 0.06
    assert abs(logarithm.std().item() - 1.2) < 0.05


@given(st.floats(0.05, 20))
def test_a_shift_multiplies_the_ratio_of_signal_to_noise(shift):
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    plain, shifted = Cosine()(t), Cosine(shift=shift)(t)
    ratio = shift * plain.alpha / plain.sigma
    torch.testing.assert_close(shifted.alpha / shifted.sigma, ratio)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_is_read_back_equal(schedule):
    assert parse(AnySchedule, schedule.model_dump(mode="json")) == schedule


@given(st.integers(1, 1000))
def test_trailing_times_fall_from_noise_to_data(steps):
    times = grid_times("trailing", steps)
    assert len(times) == steps + 1
    assert (times[0], times[-1]) == (1, 0)
    assert list(times) == sorted(set(times), reverse=True)


@pytest.mark.parametrize("steps", [3, 9, 27, 36, 101, 333, 1000])
def test_leading_times_that_leave_the_table_are_refused(steps):
    with pytest.raises(ValueError, match=rf"steps={steps} has no leading grid"):
        grid_times("leading", steps)


def test_linspace_times_are_those_of_pvdm():
    assert grid_times("linspace", 4) == (1.0, 0.75, 0.5, 0.25, 0.0)


@pytest.mark.parametrize("draw", [DiscreteTime(), UniformTime(), LogitNormalTime()])
def test_a_training_time_is_that_of_its_sample_alone(draw):
    seeds = range(200)
    t = draw(SampleNoise(seeds))
    assert ((t > 0) & (t <= 1)).all()
    assert draw(SampleNoise([7])).item() == t[7].item()
    assert abs(t.mean().item() - 0.5) < 0.05


def test_discrete_times_are_places_of_the_table():
    places = DiscreteTime()(SampleNoise(range(50))) * 1000
    torch.testing.assert_close(places, places.round())


@pytest.mark.parametrize("schedule", [ScaledLinear(), RectifiedFlow()])
def test_the_embedding_has_one_derivative_on_and_off_the_table(schedule):
    t = torch.tensor([0.02, 0.0205, 0.5], requires_grad=True)
    (slope,) = torch.autograd.grad(schedule.embedding(t).sum(), t)
    torch.testing.assert_close(slope, torch.full_like(slope, 1000))
