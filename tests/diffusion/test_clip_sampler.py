"""A clip follows from its seed and its row of the condition."""

import pytest
import torch
from conditions import context
from tiny_denoiser import SPEC, Perfect, Tiny, latent
from torch import Tensor

from longtake.diffusion import (
    DDIM,
    DDPM,
    ClassifierFree,
    ClipSampler,
    DiffusersSampler,
    Diffusion,
    Sampler,
)
from longtake.diffusion.signals import Signal, Signals, impose, label_signal
from longtake.diffusion.signals import rows as select_rows

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


def given(rows: int, *frames: int, t: float = 0.0) -> Signals:
    return context(latent(rows), frames, t)


def mixed() -> Signals:
    """Context frames in the first two rows, none in the last, as for a first clip."""
    signals = given(3, 0)
    signals["context_mask"].value[2] = False
    signals["context_noise"].value[2] = -1
    return {**signals, **label_signal([0, 4, -1])}


@pytest.mark.parametrize(
    "sampler",
    [DDPM(steps=20), DDIM(steps=4, eta=1), DiffusersSampler(scheduler="LCM", steps=4)],
    ids=repr,
)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_sample_is_the_same_alone_and_in_a_batch(sampler, scale):
    sample, signals = clips(sampler, guidance=ClassifierFree(scale=scale)), mixed()
    batch = sample(signals, SEEDS).z
    for row, seed in enumerate(SEEDS):
        alone = sample(select_rows(signals, torch.tensor([row])), (seed,)).z
        torch.testing.assert_close(alone, batch[row : row + 1])


def test_another_seed_is_another_sample():
    sample = clips()
    assert torch.equal(sample({}, (1,)).z, sample({}, (1,)).z)
    assert not torch.equal(sample({}, (1,)).z, sample({}, (2,)).z)


@pytest.mark.parametrize("context_noise", [0.0, 0.101])
def test_context_frames_come_back_as_they_were_given(context_noise):
    signals = given(2, 0, 3)
    z = clips(context_noise=context_noise)(signals, (1, 2)).z
    assert torch.equal(z[:, :, [0, 3]], signals["context"].value[:, :, [0, 3]])


def seen_by(sample: ClipSampler, signals: Signals) -> tuple[list[Tensor], list[Tensor]]:
    """Latents that the network is given, and noise times of context frames."""
    latents, times = [], []

    def keep(_module, inputs) -> None:
        latents.append(inputs[0])
        times.append(inputs[2][0].get("context_noise"))

    with sample.denoiser.register_forward_pre_hook(keep):
        sample(signals, (1, 2))
    return latents, times


def test_context_frames_are_seen_clean_without_context_noise():
    signals = given(2, 0)
    latents, times = seen_by(clips(context_noise=0.0), signals)
    assert all(torch.equal(z[:, :, 0], signals["context"].value[:, :, 0]) for z in latents)
    assert all((t == 0).all() for t in times)


def test_context_frames_are_seen_with_one_noise_throughout_and_its_level_is_read():
    signals = given(2, 0)
    latents, times = seen_by(clips(context_noise=0.25), signals)
    noisy = latents[0][:, :, 0]
    assert all(torch.equal(z[:, :, 0], noisy) for z in latents)
    assert all((t == 0.25).all() for t in times)
    alpha, sigma = Diffusion().schedule(torch.tensor(0.25))
    noise = (noisy - alpha * signals["context"].value[:, :, 0]) / sigma
    assert 0.5 < noise.std() < 1.5


def test_a_noise_level_that_is_absent_stays_absent():
    _, times = seen_by(clips(), given(2, 0, t=-1.0))
    assert all((t < 0).all() for t in times)


def test_a_first_clip_of_which_nothing_is_given_costs_no_guidance():
    sample = clips(guidance=ClassifierFree(scale=2))
    latents, _ = seen_by(sample, given(2, t=-1.0))
    assert {len(z) for z in latents} == {2}
    latents, _ = seen_by(sample, given(2, 0))
    assert {len(z) for z in latents} == {4}


def test_a_perfect_denoiser_draws_the_data_around_what_is_given():
    diffusion, data = Diffusion(), latent(2)
    sample = ClipSampler(
        denoiser=Perfect(diffusion, data),
        diffusion=diffusion,
        sampler=DDIM(steps=5),
        context_noise=0.101,
    )
    signals = given(2, 1)
    got = sample(signals, (1, 2)).z
    want = impose(SPEC, signals, data)
    torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)


def test_half_precision_weights_draw_in_single_precision():
    sample = clips()
    exact = sample(mixed(), SEEDS).z
    sample.denoiser.to(torch.bfloat16)
    rough = sample(mixed(), SEEDS).z
    assert rough.dtype == exact.dtype == torch.float32


def test_nothing_that_is_drawn_needs_a_gradient():
    assert not clips()(mixed(), SEEDS).z.requires_grad


def test_a_row_short_of_the_seeds_is_refused():
    with pytest.raises(ValueError, match="'label' has 2 rows for 3 seeds"):
        clips()(label_signal([0, 1]), SEEDS)


@pytest.mark.parametrize(
    ("sampler", "total"),
    [(DDIM(steps=4), 4), (DiffusersSampler(scheduler="HeunDiscrete", steps=3), 5)],
    ids=repr,
)
def test_every_evaluation_is_reported_and_may_cancel_the_clip(sampler, total):
    sample, reported = clips(sampler), []
    sample(mixed(), SEEDS, lambda *progress: reported.append(progress))
    assert reported == [(done, total) for done in range(total)]

    def cancel(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    evaluations: list[int] = []
    sample.denoiser.register_forward_pre_hook(lambda *_: evaluations.append(1))
    with pytest.raises(KeyboardInterrupt):
        sample(mixed(), SEEDS, cancel)
    assert len(evaluations) == 2


def test_signals_are_prepared_once_a_clip(monkeypatch):
    calls, prepare = [], Tiny.prepare
    monkeypatch.setattr(Tiny, "prepare", lambda *args: calls.append(1) or prepare(*args))
    clips(guidance=ClassifierFree(scale=2))(mixed(), SEEDS)
    assert len(calls) == 1


def test_a_signal_that_is_not_read_is_refused_before_anything_is_drawn(monkeypatch):
    sample = clips()
    monkeypatch.setattr("longtake.diffusion.clip_sampler.SampleNoise", None)
    with pytest.raises(ValueError, match="does not read the signal 'camera'; it reads context"):
        sample({"camera": Signal(value=torch.zeros(3), null=torch.zeros(3))}, SEEDS)
