"""Noising, targets and losses."""

import pytest
import torch
from conditions import NOTHING, context, predict
from tiny_denoiser import SPEC, Perfect, Tiny, latent
from torch import Tensor

from longtake.config import ConfigError, parse, to_dict
from longtake.diffusion import (
    EDM,
    AlphaSigma,
    Cosine,
    Diffusion,
    Linear,
    RectifiedFlow,
    ScaledLinear,
)
from longtake.diffusion.signals import Signals, label_signal, previous_signal, text_signal
from longtake.diffusion.timesteps import LogitNormalTime

SCHEDULES = (
    *(ScaledLinear(), Linear(), Cosine(), Cosine(shift=0.25), RectifiedFlow(), EDM()),
    Linear(rescale_betas_zero_snr=True),
)
PAIRS = [
    (schedule, prediction)
    for schedule in SCHEDULES
    for prediction in ("epsilon", "x0", "v", "flow")
    if not (prediction == "epsilon" and schedule.ends_in_noise)
]
T = torch.tensor([0.3, 0.8])


def level(diffusion: Diffusion, t: Tensor) -> AlphaSigma:
    alpha, sigma = diffusion.schedule(t)
    return AlphaSigma(SPEC.expand(alpha), SPEC.expand(sigma))


def given(z: Tensor, t: float, *frames: int) -> Signals:
    return context(z, frames, t)


@pytest.mark.parametrize(("schedule", "prediction"), PAIRS)
@pytest.mark.parametrize("t", [T, torch.rand(2, 4, generator=torch.Generator().manual_seed(0))])
def test_reading_a_prediction_undoes_the_target(schedule, prediction, t):
    diffusion = Diffusion(schedule=schedule, prediction=prediction)
    z, noise = latent(), latent()
    z_t = diffusion.add_noise(SPEC, z, noise, t)
    target = diffusion.target(z, noise, level(diffusion, t))
    x0 = diffusion.to_x0(target, z_t, level(diffusion, t))
    torch.testing.assert_close(x0, z, atol=1e-4, rtol=1e-4)


def test_frames_are_noised_to_levels_of_their_own():
    z, noise = latent(), latent()
    t = torch.tensor([[0.0, 0.2, 0.5, 1.0]]).expand(2, 4)
    z_t = Diffusion().add_noise(SPEC, z, noise, t)
    assert torch.equal(z_t[:, :, 0], z[:, :, 0])
    for frame in range(4):
        alike = Diffusion().add_noise(SPEC, z, noise, t[:, frame])
        assert torch.equal(z_t[:, :, frame], alike[:, :, frame])


@pytest.mark.parametrize(("schedule", "prediction"), PAIRS)
@pytest.mark.parametrize("weighting", ["none", "min_snr"])
def test_a_perfect_denoiser_has_no_loss(schedule, prediction, weighting):
    diffusion = Diffusion(schedule=schedule, prediction=prediction, weighting=weighting)
    z = latent()
    loss = diffusion.losses(Perfect(diffusion, z), z, latent(), T, NOTHING)
    torch.testing.assert_close(loss, torch.zeros(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("schedule", "prediction"), PAIRS)
def test_min_snr_weighs_one_error_of_the_clean_latent_alike_in_every_prediction(
    schedule, prediction
):
    diffusion = Diffusion(schedule=schedule, prediction=prediction, weighting="min_snr", loss="l2")
    z, off = latent(), latent()
    loss = diffusion.losses(Perfect(diffusion, z + off), z, latent(), T, NOTHING)
    alpha, sigma = schedule(T)
    weight = (alpha / sigma).square().clamp_max(5)
    torch.testing.assert_close(loss, weight * off.square().flatten(1).mean(1), rtol=1e-3, atol=0)


def test_the_two_kinds_of_loss():
    z, noise = latent(), latent()
    denoiser = Tiny()
    error = predict(denoiser, Diffusion().add_noise(SPEC, z, noise, T), T) - noise
    for kind, want in (("l1", error.abs()), ("l2", error.square())):
        loss = parse(Diffusion, {"loss": kind}).losses(denoiser, z, noise, T, NOTHING)
        torch.testing.assert_close(loss, want.flatten(1).mean(1))


def test_each_sample_has_its_own_loss():
    z, noise, denoiser = latent(3), latent(3), Tiny()
    t = torch.tensor([0.1, 0.5, 0.9])
    whole = Diffusion().losses(denoiser, z, noise, t, given(z, 0.1, 0))
    alone = Diffusion().losses(denoiser, z[1:2], noise[1:2], t[1:2], given(z[1:2], 0.1, 0))
    torch.testing.assert_close(whole[1:2], alone)


def test_given_frames_reach_the_network_with_their_own_noise():
    z, noise, denoiser, seen = latent(), latent(), Tiny(), []
    denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    Diffusion().losses(denoiser, z, noise, T, given(z, 0.2, 0, 3))
    t = torch.tensor([[0.2, x, x, 0.2] for x in T.tolist()])
    torch.testing.assert_close(seen[0], Diffusion().add_noise(SPEC, z, noise, t))


def test_a_noise_level_that_is_not_given_leaves_given_frames_clean():
    z, noise, denoiser, seen = latent(), latent(), Tiny(), []
    denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    Diffusion().losses(denoiser, z, noise, T, given(z, -1.0, 0))
    assert torch.equal(seen[0][:, :, 0], z[:, :, 0])


def test_a_loss_on_generated_frames_ignores_the_prediction_on_context_frames():
    z, noise = latent(), latent()
    for loss_on, counted in (("all", slice(0, 4)), ("generated", slice(1, 4))):
        diffusion = parse(Diffusion, {"loss_on": loss_on, "loss": "l2", "prediction": "x0"})
        loss = diffusion.losses(Perfect(diffusion, z + 1 + noise), z, noise, T, given(z, 0.1, 0))
        error = (1 + noise[:, :, counted]).square()
        torch.testing.assert_close(loss, error.flatten(1).mean(1))


def test_a_clip_of_which_all_is_given_has_no_loss_on_generated_frames():
    z = latent()
    loss = Diffusion(loss_on="generated").losses(Tiny(), z, latent(), T, given(z, 0.1, 0, 1, 2, 3))
    assert loss.tolist() == [0, 0]


@pytest.mark.parametrize(
    "signals",
    [previous_signal(latent()), label_signal([0, 0]), text_signal(torch.zeros(2, 3, 4))],
)
def test_a_signal_that_the_network_does_not_read_is_refused(signals):
    z, (name,) = latent(), signals
    denoiser = Perfect(Diffusion(), z)
    with pytest.raises(ValueError, match=f"does not read the signal '{name}'; it reads context"):
        Diffusion().losses(denoiser, z, latent(), T, signals)
    with pytest.raises(ValueError, match=f"does not read the signal '{name}'"):
        Diffusion().estimator(denoiser, signals)


def test_weights_of_half_precision_are_given_half_precision():
    denoiser = Tiny().to(torch.float16)
    z = latent()
    signals = {**given(z, 0.101, 0), **label_signal([1, -1])}
    x0 = Diffusion().estimator(denoiser, signals)(z, T)
    assert x0.dtype == torch.float32


@pytest.mark.parametrize("schedule", ["cosine", "rectified_flow"])
def test_noise_is_not_a_prediction_where_the_path_ends_in_noise(schedule):
    with pytest.raises(ConfigError, match=f"{schedule}.*choose v, x0 or flow"):
        parse(Diffusion, {"schedule": {"kind": schedule}})


def test_networks_that_differ_in_their_training_alone_share_a_model():
    cosine = Diffusion(schedule=Cosine(), prediction="v")
    trained = {"loss": "l2", "weighting": "min_snr", "timestep_sampling": LogitNormalTime()}
    assert cosine.samples_as(cosine.model_copy(update=trained))
    for other in ({"prediction": "x0"}, {"schedule": Cosine(shift=0.25)}, {"time_per_frame": True}):
        assert not cosine.samples_as(cosine.model_copy(update=other))


def test_a_process_is_read_back_equal():
    diffusion = Diffusion(
        schedule=Cosine(), prediction="v", weighting="min_snr", loss_on="generated"
    )
    assert parse(Diffusion, to_dict(diffusion)) == diffusion
