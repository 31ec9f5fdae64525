"""A decoder is trained further while the encoder, and so all latents, stay as they are."""

from pathlib import Path

import pytest
import torch
from training.tiny_runs import (
    ADVERSARY,
    autoencoder_run,
    diffusion_run,
    train,
    triplane_autoencoder_run,
)

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.config import ConfigError, changed, parse, to_dict
from longtake.model import ModelIndex, VideoModel
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


FRAMES = FramewiseAutoencoderConfig(
    clip=(4, 16, 16), channels=2, width=8, channel_mult=(1, 2), num_res_blocks=1, groups=4
)
NETWORKS = {
    "volume": autoencoder_run(steps=1).autoencoder,
    "planes": triplane_autoencoder_run(steps=1).autoencoder,
    "frames": FRAMES,
}


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("volume", {"factors": [4, 4, 4]}, r"factors=\[2, 4, 4\] instead of \[4, 4, 4\]$"),
        ("volume", {"groups": 2}, "autoencoder.groups=4 instead of 2$"),
        ("volume", {"clip": [8, 16, 16]}, r"clip=\[4, 16, 16\] instead of \[8, 16, 16\]$"),
        ("volume", {"embed_dim": 3}, "autoencoder.embed_dim=null instead of 3$"),
        ("volume", {"groups": 2, "hidden": 8}, "hidden=4 instead of 8, autoencoder.groups=4 inst"),
        ("planes", {"std": 0.1}, "autoencoder.std=0.0 instead of 0.1$"),
        ("planes", {"heads": 4, "head_channels": 4}, "heads=2 instead of 4, .*channels=8 inst"),
        ("planes", {"clip": [4, 32, 16]}, r"clip=\[4, 16, 16\] instead of \[4, 32, 16\]$"),
        ("frames", {"groups": 2}, "autoencoder.groups=4 instead of 2$"),
        ("frames", to_dict(NETWORKS["planes"]), "kind=framewise_autoencoder instead of triplane"),
    ],
)
def test_an_autoencoder_of_other_latents_is_refused_before_training(
    kind: str, changes: dict[str, object], message: str, tmp_path: Path
):
    model = VideoModel(index=ModelIndex(fps=8.0), autoencoder=NETWORKS[kind].build())
    model.save_pretrained(tmp_path / "model")
    run = frozen(tmp_path / "model", steps=1)
    run.begin()
    own = {**to_dict(run.autoencoder), **changes} if "kind" not in changes else changes
    run = parse(AutoencoderRun, {**to_dict(run), "autoencoder": own})
    with pytest.raises(ConfigError, match=rf"init_from={tmp_path}/model, so the .*: .*{message}"):
        train(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()
