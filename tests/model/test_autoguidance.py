"""A model is guided by another model's network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.denoisers import VolumeUNet
from longtake.model import Sampling, VideoModel, sampling_with


def smaller(model: VideoModel, **changes: object) -> VideoModel:
    networks = {
        role: network.config.model_copy(update=changes).build().eval()
        for role, network in model.denoisers.items()
        if isinstance(network, VolumeUNet)
    }
    return replace(model, denoisers=networks)


def guided(model: VideoModel, folder: Path, scale: float) -> Sampling:
    words = [f"guidance={{kind: autoguidance, model: {folder}, scale: {scale}}}"]
    return sampling_with(model.index.sampling, [*words, "sampler.steps=1"])


def test_each_role_is_guided_by_the_network_of_its_role(tiny_model: VideoModel, tmp_path: Path):
    worse = smaller(tiny_model, model_channels=4)
    worse.save_pretrained(tmp_path / "worse")
    videos = [
        next(tiny_model.long_video(guided(tiny_model, tmp_path / "worse", scale))(request, 8))
        for request in [tiny_model.request([3])]
        for scale in (0.0, 1.0, 2.0)
    ]
    own = sampling_with(tiny_model.index.sampling, ["sampler.steps=1"])
    request = tiny_model.request([3])
    bad = next(worse.long_video(own)(request, 8)).pixels
    good = next(tiny_model.long_video(own)(request, 8)).pixels
    torch.testing.assert_close(videos[0].pixels, bad, atol=1e-5, rtol=1e-4)
    assert torch.equal(videos[1].pixels, good)
    assert not torch.equal(videos[2].pixels, good)


def test_a_model_of_other_latents_or_signals_cannot_guide(tiny_model: VideoModel, tmp_path: Path):
    smaller(tiny_model, num_classes=None).save_pretrained(tmp_path / "blind")
    with pytest.raises(ValueError, match="cannot guide this model: they differ in what their netw"):
        tiny_model.long_video(guided(tiny_model, tmp_path / "blind", 2))
