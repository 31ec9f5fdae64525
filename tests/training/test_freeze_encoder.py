"""A decoder is trained further while the encoder, and so all latents, stay as they are."""

from pathlib import Path

import pytest
import torch
from training.tiny_runs import ADVERSARY, autoencoder_run, diffusion_run, train

from longtake.config import ConfigError, changed
from longtake.model import VideoModel
from longtake.runs import AutoencoderRun


@pytest.fixture(scope="module")
def whole_model(tiny_autoencoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a denoiser."""
    folder = tmp_path_factory.mktemp("model")
    train(diffusion_run(tiny_autoencoder_folder, steps=1), folder)
    return folder


def frozen(model: Path, **training: object) -> AutoencoderRun:
    network = VideoModel.from_pretrained(model).autoencoder.config
    run = autoencoder_run(ADVERSARY, **training)
    given = [f"init_from={model}", "freeze_encoder=true"]
    return changed(AutoencoderRun, run.model_copy(update={"autoencoder": network}), given)


def test_latents_and_denoisers_stay_the_same_to_the_last_bit(whole_model: Path, tmp_path: Path):
    train(frozen(whole_model, steps=6, ema={"decay": 0.5}), tmp_path)
    before, after = map(VideoModel.from_pretrained, (whole_model, tmp_path))
    video = torch.rand(2, 3, *before.autoencoder.spec.clip) * 2 - 1
    posteriors = [model.autoencoder.encode(video) for model in (before, after)]
    assert torch.equal(posteriors[0].mean, posteriors[1].mean)
    assert torch.equal(posteriors[0].log_variance, posteriors[1].log_variance)
    frames = [model.autoencoder.decode(posteriors[0].mean) for model in (before, after)]
    assert not torch.equal(*frames)
    assert after.index.diffusion == before.index.diffusion
    assert after.index.latent_scaling == before.index.latent_scaling
    own, kept = (model.denoisers["first"].state_dict() for model in (before, after))
    assert all(torch.equal(own[name], kept[name]) for name in own)


def test_a_frozen_encoder_needs_a_model_that_gives_it(whole_model: Path):
    with pytest.raises(ConfigError, match="freeze_encoder=true freezes the encoder of init_from"):
        changed(AutoencoderRun, frozen(whole_model), ["init_from=null"])


def test_an_autoencoder_of_other_latents_is_refused_before_training(whole_model: Path):
    run = changed(AutoencoderRun, frozen(whole_model), ["autoencoder.hidden=8"])
    with pytest.raises(ValueError, match="shape"):
        run.begin()
