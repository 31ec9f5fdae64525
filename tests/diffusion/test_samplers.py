"""Every sampler walks to the data; DDIM is what diffusers and flows call it."""

from itertools import pairwise

import pytest
import torch
from conditions import SCHEDULES, follows, walk
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tiny_denoiser import SPEC, latent
from torch import Tensor

from longtake.config import ConfigError, parse, to_dict
from longtake.diffusion import (
    DDIM,
    DDPM,
    DiffusersSampler,
    Diffusion,
    RectifiedFlow,
    ScaledLinear,
)
from longtake.diffusion.diffusers_sampler import SCHEDULERS
from longtake.noise import SampleNoise
from longtake.registry import AnySampler

# diffusers 0.42 with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLERS = [
    DDPM(steps=50),
    DDIM(steps=5),
    DDIM(steps=7, eta=1),
    DDIM(steps=4, grid="linspace", eta=1),
    *(DiffusersSampler(scheduler=name, steps=5) for name in SCHEDULERS),
]
KARRAS = DiffusersSampler(
    scheduler="DPMSolverMultistep", steps=6, options={"use_karras_sigmas": True}
)
SEEDS = (3, 4)


def start(seeds=SEEDS) -> tuple[SampleNoise, Tensor]:
    noise = SampleNoise(seeds)
    return noise, noise.normal(SPEC.shape)


FOLLOWED = [(p, q) for p in (*SAMPLERS, KARRAS) for q in SCHEDULES if follows(p, q)]


@pytest.mark.parametrize(("sampler", "schedule"), FOLLOWED, ids=repr)
def test_who_knows_the_data_arrives_there(sampler, schedule):
    noise, z = start()
    data = latent()
    got = walk(sampler, lambda z, t: data, z, schedule, noise)
    torch.testing.assert_close(got, data, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampler", [DDPM(steps=50), DDIM(steps=5), DDIM(steps=5, eta=1)], ids=repr)
def test_on_a_flow_too(sampler):
    noise, z = start()
    data = latent()
    got = walk(sampler, lambda z, t: data, z, RectifiedFlow(), noise)
    torch.testing.assert_close(got, data, atol=1e-5, rtol=1e-5)


def test_the_leading_grid_stops_at_the_first_level_of_the_table():
    noise, z = start()
    data, schedule = latent(), ScaledLinear()
    got = walk(DDIM(steps=10, grid="leading"), lambda z, t: data, z, schedule, noise)
    alpha, sigma = schedule(torch.tensor([0.001, 0.902]))
    at_data = alpha[0] * data + sigma[0] * (z - alpha[1] * data) / sigma[1]
    torch.testing.assert_close(got, at_data, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampler", [*SAMPLERS, KARRAS], ids=repr)
def test_a_sample_is_the_same_alone_and_in_a_batch(sampler):
    def denoise(z: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(z) * (1 - SPEC.expand(t))

    noise, z = start((1, 7, 9))
    batch = walk(sampler, denoise, z, ScaledLinear(), noise)
    noise, z = start((7,))
    torch.testing.assert_close(batch[1:2], walk(sampler, denoise, z, ScaledLinear(), noise))


@pytest.mark.parametrize("name", ["DDPM", "EulerAncestralDiscrete", "LCM"])
def test_noise_that_diffusers_adds_follows_from_the_seed(name):
    sampler = DiffusersSampler(scheduler=name, steps=4)

    def walked(seeds: tuple[int, ...]) -> Tensor:
        noise, z = start(seeds)
        torch.manual_seed(len(seeds) + seeds[0])
        return walk(sampler, lambda z, t: torch.tanh(z), torch.ones_like(z), ScaledLinear(), noise)

    assert torch.equal(walked((5, 6)), walked((5, 6)))
    assert not torch.equal(walked((5,)), walked((6,)))


def test_implicit_steps_on_a_flow_are_those_of_euler():
    noise, z = start()
    got = walk(DDIM(steps=8), lambda z, t: torch.tanh(z), z, RectifiedFlow(), noise)
    t = torch.linspace(1, 0, 9).tolist()
    for now, after in pairwise(t):
        velocity = (z - torch.tanh(z)) / now
        z = z + (after - now) * velocity
    torch.testing.assert_close(got, z)


DETERMINISTIC = [
    DDIM(steps=200),
    KARRAS.model_copy(update={"steps": 25}),
    *(
        DiffusersSampler(scheduler=name, steps=steps)
        for name, steps in {
            "DDIM": 200,
            "EulerDiscrete": 200,
            "HeunDiscrete": 40,
            "DPMSolverMultistep": 25,
            "UniPCMultistep": 25,
        }.items()
    ),
]


@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=repr)
def test_normal_data_is_reached_along_the_flow_that_solves_it(sampler):
    schedule, std = ScaledLinear(), 2.0

    def variance(t: Tensor) -> Tensor:
        alpha, sigma = schedule(t)
        return (alpha * std) ** 2 + sigma**2

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        at = SPEC.expand(t.double())
        return (schedule(at).alpha * std**2 / variance(at) * z).float()

    noise, z = start()
    exact = z * std / variance(torch.ones(())).sqrt()
    got = walk(sampler, denoise, z, schedule, noise)
    torch.testing.assert_close(got, exact, atol=0, rtol=0.02)


@pytest.mark.parametrize("steps", [5, 20])
def test_our_implicit_steps_are_those_of_diffusers(steps):
    schedule = ScaledLinear()
    theirs = DDIMScheduler(
        trained_betas=schedule.betas().tolist(),
        timestep_spacing="trailing",
        clip_sample=False,
        prediction_type="epsilon",
    )
    theirs.set_timesteps(steps)
    noise, z = start()
    ours = walk(
        DDIM(steps=steps),
        lambda z, t: Diffusion().to_x0(torch.sin(z), z, schedule(SPEC.expand(t))),
        z,
        schedule,
        noise,
    )
    for index in theirs.timesteps:
        z = theirs.step(torch.sin(z), int(index), z, return_dict=False)[0]
    torch.testing.assert_close(ours, z, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_the_adapter_walks_as_our_implicit_sampler_does(eta):
    def denoise(z: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(z)

    sampler = DiffusersSampler(scheduler="DDIM", steps=10, options={"eta": eta})
    noise, z = start()
    theirs = walk(sampler, denoise, z, ScaledLinear(), noise)
    ours = walk(DDIM(steps=10, eta=eta), denoise, z, ScaledLinear(), drawn_by_the_adapter())
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


def drawn_by_the_adapter() -> SampleNoise:
    noise, _ = start()
    return SampleNoise(noise.normal((2,)).view(torch.int64).flatten().tolist())


@pytest.mark.parametrize("sampler", [DDIM(steps=4), *SAMPLERS[4:]], ids=repr)
def test_estimates_are_kept_in_their_bounds(sampler):
    noise, z = start()
    three = torch.full_like(z, 3.0)
    got = walk(sampler, lambda z, t: three, z, ScaledLinear(), noise, (-1.0, 1.0))
    torch.testing.assert_close(got, torch.ones_like(z), atol=1e-4, rtol=0)


def test_a_scheduler_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="scheduler 'EulerAncestral'; did you mean 'EulerAnc"):
        parse(AnySampler, {"kind": "diffusers", "scheduler": "EulerAncestral"})


@pytest.mark.parametrize("steps", [n for n in range(1, 201) if 1000 % n == 0])
def test_the_implicit_scheduler_of_diffusers_reaches_a_constant_estimate(steps):
    noise, z = start()
    data, sampler = latent(), DiffusersSampler(scheduler="DDIM", steps=steps)
    got = walk(sampler, lambda z, t: data, z, ScaledLinear(), noise)
    torch.testing.assert_close(got, data, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("steps", [7, 60, 512])
def test_steps_at_which_the_implicit_scheduler_of_diffusers_leaves_noise_are_refused(steps):
    with pytest.raises(ConfigError, match=f"steps={steps} must divide 1000 for the DDIM"):
        parse(AnySampler, {"kind": "diffusers", "scheduler": "DDIM", "steps": steps})


@pytest.mark.parametrize("name", ["use_karras_sigma", "prediction_type"])
def test_an_option_that_does_not_exist_or_is_ours_is_refused(name):
    noise, z = start()
    sampler = DiffusersSampler(options={name: True})
    with pytest.raises(ValueError, match=f"DPMSolverMultistep takes no option '{name}'"):
        walk(sampler, lambda z, t: z, z, ScaledLinear(), noise)


@pytest.mark.parametrize("option", ["beta_start=0.01", "beta_end=0.02", "beta_schedule=linear"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_options_of_the_noise_schedule_which_is_the_models_are_refused(scheduler, option):
    name, value = option.split("=")
    given = {"kind": "diffusers", "scheduler": scheduler, "options": {name: value}}
    with pytest.raises(ConfigError, match=f"{name} has no effect"):
        parse(AnySampler, {**given, "steps": 10})


def test_a_flow_is_refused_by_schedulers_that_preserve_variance():
    noise, z = start()
    with pytest.raises(ValueError, match="RectifiedFlow does not preserve variance"):
        walk(DiffusersSampler(), lambda z, t: z, z, RectifiedFlow(), noise)


@pytest.mark.parametrize("sampler", [*SAMPLERS, KARRAS], ids=repr)
def test_a_sampler_is_read_back_equal(sampler):
    assert parse(AnySampler, to_dict(sampler)) == sampler


def test_steps_without_a_leading_grid_are_refused():
    with pytest.raises(ConfigError, match="choose another number of steps"):
        parse(AnySampler, {"kind": "ddim", "steps": 333, "grid": "leading"})


OF_DIFFUSERS = [name for name in SCHEDULERS if name not in ("DDIM", "LCM")]


@pytest.mark.parametrize("name", OF_DIFFUSERS)
def test_every_number_of_steps_has_falling_times_that_end_in_the_data(name):
    for steps in range(1, 201):
        times = DiffusersSampler(scheduler=name, steps=steps).times(ScaledLinear())
        assert times[-2] > 0, steps
        assert times[-1] == 0, steps
        assert (times[1:] <= times[:-1]).all(), steps


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 61, 103, 121, 122])
@pytest.mark.parametrize("name", OF_DIFFUSERS)
def test_steps_at_which_the_grid_of_diffusers_is_one_too_long(name, steps):
    """A constant estimate is reached; in many steps, normal data of std 1 keep it."""
    schedule, noise = ScaledLinear(), SampleNoise((3, 4))
    z = noise.normal((1, 1, 48, 48))

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        alpha = float(schedule(t[:1].double()).alpha)
        return torch.stack([torch.full_like(z[0], 0.7), alpha * z[1]])

    got = walk(DiffusersSampler(scheduler=name, steps=steps), denoise, z, schedule, noise)
    torch.testing.assert_close(got[0], torch.full_like(got[0], 0.7), atol=1e-4, rtol=0)
    if steps > 60:
        assert abs(float(got[1].std() / z[1].std()) - 1) < 0.06
    assert got.isfinite().all()


def test_more_steps_than_lcm_has_are_refused():
    assert DiffusersSampler(scheduler="LCM", steps=50).steps == 50
    with pytest.raises(ConfigError, match="steps=51 must be at most 50 for the LCM"):
        parse(AnySampler, {"kind": "diffusers", "scheduler": "LCM", "steps": 51})


ORDERS = [("dpmsolver++", 1), ("dpmsolver++", 2), ("dpmsolver++", 3)]
STOCHASTIC = [("sde-dpmsolver++", 1), ("sde-dpmsolver++", 2)]


@pytest.mark.parametrize(("algorithm", "order"), ORDERS + STOCHASTIC)
def test_more_steps_of_dpm_solver_add_no_variance_to_normal_data(algorithm, order):
    options = {"algorithm_type": algorithm, "solver_order": order}
    schedule, noise = ScaledLinear(), SampleNoise((3,))
    z = noise.normal((1, 1, 64, 64))

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        return schedule(t[0].double()).alpha.float() * z

    for steps in (25, 100):
        got = walk(DiffusersSampler(steps=steps, options=options), denoise, z, schedule, noise)
        assert got.std() <= 1.03 * z.std(), steps


def test_the_stochastic_third_order_of_diffusers_which_adds_noise_is_refused():
    options = {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}
    with pytest.raises(ConfigError, match="solver_order=3 must be at most 2 for the sde-dpm"):
        parse(AnySampler, {"kind": "diffusers", "options": options})
