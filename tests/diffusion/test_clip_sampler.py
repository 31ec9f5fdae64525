"""A clip follows from its seed and its row of the condition."""

import pytest
import torch
from tiny_denoiser import SPEC, Perfect, Tiny, latent, there
from torch import Tensor

from longtake.diffusion import (
    DDIM,
    DDPM,
    ClassifierFree,
    ClipSampler,
    Condition,
    DiffusersSampler,
    Diffusion,
    KnownFrames,
    Sampler,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SEEDS = (11, 7, 5)


def clips(sampler: Sampler | None = None, context_noise: float = 0.101, **more) -> ClipSampler:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = Tiny()
    return ClipSampler(
        denoiser=denoiser,
        diffusion=Diffusion(prediction="v"),
        sampler=sampler or DDIM(steps=4),
        context_noise=context_noise,
        **more,
    )


def given(rows: int, *frames: int, t: float = 0.0) -> Condition:
    mask = torch.zeros(rows, SPEC.frames, dtype=torch.bool)
    mask[:, list(frames)] = True
    return Condition(known=KnownFrames(z=latent(rows), mask=mask, t=torch.full((rows,), t)))


def mixed() -> Condition:
    """Frames given in the first two rows, none in the last, as for a first clip."""
    condition = given(3, 0)
    there(condition.known).mask[2] = False
    there(condition.known).t[2] = -1
    return Condition(known=condition.known, label=torch.tensor([0, 4, -1]))


@pytest.mark.parametrize(
    "sampler",
    [DDPM(steps=20), DDIM(steps=4, eta=1), DiffusersSampler(scheduler="LCM", steps=4)],
    ids=repr,
)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_sample_is_the_same_alone_and_in_a_batch(sampler, scale):
    draw, condition = clips(sampler, guidance=ClassifierFree(scale=scale)), mixed()
    batch = draw(condition, SEEDS)
    for row, seed in enumerate(SEEDS):
        alone = draw(condition.rows(torch.tensor([row])), (seed,))
        torch.testing.assert_close(alone, batch[row : row + 1])


def test_another_seed_is_another_sample():
    draw = clips()
    assert torch.equal(draw(Condition(), (1,)), draw(Condition(), (1,)))
    assert not torch.equal(draw(Condition(), (1,)), draw(Condition(), (2,)))


@pytest.mark.parametrize("context_noise", [0.0, 0.101])
def test_given_frames_come_back_as_they_were_given(context_noise):
    condition = given(2, 0, 3)
    z = clips(context_noise=context_noise)(condition, (1, 2))
    assert torch.equal(z[:, :, [0, 3]], there(condition.known).z[:, :, [0, 3]])


def seen_by(draw: ClipSampler, condition: Condition) -> tuple[list[Tensor], list[Condition]]:
    latents, conditions = [], []

    def keep(_module, inputs) -> None:
        latents.append(inputs[0])
        conditions.append(inputs[2])

    with draw.denoiser.register_forward_pre_hook(keep):
        draw(condition, (1, 2))
    return latents, conditions


def test_given_frames_are_seen_clean_without_perturbation():
    condition = given(2, 0)
    latents, conditions = seen_by(clips(context_noise=0.0), condition)
    assert all(torch.equal(z[:, :, 0], there(condition.known).z[:, :, 0]) for z in latents)
    assert all((there(seen.known).t == 0).all() for seen in conditions)


def test_given_frames_are_seen_with_one_noise_all_along_and_its_level_is_told():
    condition = given(2, 0)
    latents, conditions = seen_by(clips(context_noise=0.25), condition)
    noisy = latents[0][:, :, 0]
    assert all(torch.equal(z[:, :, 0], noisy) for z in latents)
    assert all((there(seen.known).t == 0.25).all() for seen in conditions)
    alpha, sigma = Diffusion().schedule(torch.tensor(0.25))
    noise = (noisy - alpha * there(condition.known).z[:, :, 0]) / sigma
    assert 0.5 < noise.std() < 1.5


def test_a_noise_level_that_is_not_told_stays_untold():
    _, conditions = seen_by(clips(), given(2, 0, t=-1.0))
    assert all((there(seen.known).t < 0).all() for seen in conditions)


def test_a_first_clip_of_which_nothing_is_given_costs_no_guidance():
    draw = clips(guidance=ClassifierFree(scale=2))
    latents, _ = seen_by(draw, given(2, t=-1.0))
    assert {len(z) for z in latents} == {2}
    latents, _ = seen_by(draw, given(2, 0))
    assert {len(z) for z in latents} == {4}


def test_a_perfect_denoiser_draws_the_data_around_what_is_given():
    diffusion, data = Diffusion(), latent(2)
    draw = ClipSampler(
        denoiser=Perfect(diffusion, data),
        diffusion=diffusion,
        sampler=DDIM(steps=5),
        context_noise=0.101,
    )
    condition = given(2, 1)
    got = draw(condition, (1, 2))
    want = there(condition.known).impose(SPEC, data)
    torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)


def test_half_precision_weights_draw_in_single_precision():
    draw = clips()
    exact = draw(mixed(), SEEDS)
    draw.denoiser.to(torch.bfloat16)
    rough = draw(mixed(), SEEDS)
    assert rough.dtype == exact.dtype == torch.float32


def test_nothing_that_is_drawn_needs_a_gradient():
    assert not clips()(mixed(), SEEDS).requires_grad


def test_a_row_short_of_the_seeds_is_refused():
    with pytest.raises(ValueError, match="'label' has 2 rows for 3 seeds"):
        clips()(Condition(label=torch.tensor([0, 1])), SEEDS)
