"""A model's sampling chooses the time of each frame at each step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.config import ConfigError, to_dict
from longtake.denoisers import VolumeUNet
from longtake.diffusion import Staggered
from longtake.model import Sampling, VideoModel, sampling_with


@pytest.fixture
def model(tiny_model: VideoModel) -> VideoModel:
    """The tiny model with networks that read a time for each frame."""
    denoisers = {
        role: network.config.model_copy(update={"frame_times": True, "noise_classes": None}).build()
        for role, network in tiny_model.denoisers.items()
        if isinstance(network, VolumeUNet)
    }
    return replace(tiny_model, denoisers=denoisers)


def test_a_pattern_is_chosen_by_a_setting_and_saved(model: VideoModel, tmp_path: Path):
    sampling = sampling_with(model.index.sampling, ["pattern.kind=staggered"])
    assert all(
        sampler.pattern == Staggered() for sampler in model.long_video(sampling).samplers.values()
    )
    index = model.index.model_copy(update={"sampling": sampling})
    replace(model, index=index).save_pretrained(tmp_path / "model")
    assert VideoModel.from_pretrained(tmp_path / "model").index.sampling == sampling


def test_the_default_pattern_is_not_written_so_that_files_and_their_hashes_stay():
    assert "pattern" not in to_dict(Sampling())
    assert to_dict(Sampling(pattern=Staggered(delay=2)))["pattern"] == {
        "kind": "staggered",
        "delay": 2,
    }


def test_a_pattern_makes_another_video(model: VideoModel):
    request, sampling = model.request([3]), model.index.sampling
    staggered = sampling_with(sampling, ["pattern.kind=staggered"])
    videos = [
        next(model.long_video(settings)(request, 8)).pixels for settings in (sampling, staggered)
    ]
    assert not torch.equal(*videos)


def test_a_pattern_without_its_kind_is_refused():
    with pytest.raises(
        ConfigError, match=r"pattern\.kind: is missing; valid are together, stagger"
    ):
        sampling_with(Sampling(), ["pattern.delay=2"])


def test_a_pattern_that_the_network_does_not_support_is_refused(tiny_triplane_model: VideoModel):
    sampling = tiny_triplane_model.index.sampling.model_copy(update={"pattern": Staggered()})
    with pytest.raises(ValueError, match="does not support per-frame times"):
        tiny_triplane_model.long_video(sampling)
