"""A model is guided by another model's network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.denoisers import VolumeUNet
from longtake.model import Sampling, VideoModel, sampling_with
from longtake.rollout import Steering


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


@pytest.mark.parametrize(
    "guidance",
    [
        "{kind: unguided}",
        "{kind: classifier_free, scale: 3}",
        "{kind: classifier_free, scale: 3, interval: [0.2, 0.8]}",
        "{kind: autoguidance, model: WORSE, scale: 3}",
        "{kind: autoguidance, model: WORSE, scale: 3, interval: [0.2, 0.8]}",
    ],
)
def test_progress_counts_each_guided_estimate_once(
    tiny_model: VideoModel, tmp_path: Path, guidance: str
):
    smaller(tiny_model, model_channels=4).save_pretrained(tmp_path / "worse")
    words = [f"guidance={guidance.replace('WORSE', str(tmp_path / 'worse'))}", "sampler.steps=3"]
    video = tiny_model.long_video(sampling_with(tiny_model.index.sampling, words))
    seen: list[tuple[int, int]] = []
    request, watch = tiny_model.request([3]), lambda *numbers: seen.append(numbers)
    next(video(request, 8, steering=Steering(progress=watch)))
    assert seen == [(0, 3), (1, 3), (2, 3)] * 2  # keyframes, then what lies between them
