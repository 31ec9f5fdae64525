"""Weights, scaling, latents and frames that are not finite are refused by name."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from longtake.checkpoint import CheckpointError, file_hash, is_finite
from longtake.config import ConfigError
from longtake.data.source import ClipPosition
from longtake.features.i3d import read_weights
from longtake.given import FilledVideo, LoopedVideo
from longtake.latents import LatentScaling
from longtake.model import VideoModel
from longtake.model_videos import ModelVideos
from longtake.reconstruct import reconstruct_file, reconstruct_frames
from longtake.video import VideoWriter

BAD = [float("nan"), float("inf"), -float("inf")]


@pytest.fixture
def model(tiny_run_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_run_folder / "model", tmp_path / "model")


@pytest.fixture
def spoil(model: Path) -> Callable[..., str]:
    """Put a value into one weight of a component, with the hash that belongs to it."""

    def put(part: str, value: float) -> str:
        path = model / part / "model.safetensors"
        weights = load_file(path)
        name = sorted(weights)[len(weights) // 2]
        weights[name].view(-1)[-1] = value
        save_file(weights, path)
        index = json.loads((model / "model_index.json").read_text())
        index["weights"][part] = file_hash(path)
        (model / "model_index.json").write_text(json.dumps(index))
        return name

    return put


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", BAD)
def test_one_bad_value_among_many_is_found(dtype: torch.dtype, value: float):
    tensor = torch.ones(3, 5, dtype=dtype)
    assert is_finite(tensor)
    tensor[1, 2] = value
    assert not is_finite(tensor)
    assert is_finite(torch.ones(2, dtype=torch.int64))
    assert is_finite(torch.empty(0))


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("part", ["autoencoder", "denoiser", "interpolator"])
def test_weights_that_are_not_finite_are_named_when_a_model_is_opened(model, spoil, part, value):
    name = spoil(part, value)
    with pytest.raises(CheckpointError) as caught:
        VideoModel.from_pretrained(model)
    assert f"{model}/{part}/model.safetensors: {name!r} has values that are not finite" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("scale", 0.0), ("scale", -1.0), *(("scale", x) for x in BAD), *(("shift", x) for x in BAD)],
)
def test_a_scaling_that_cannot_be_inverted_is_named(model: Path, field: str, value: float):
    path = model / "model_index.json"
    index = json.loads(path.read_text())
    index["latent_scaling"][field] = value
    path.write_text(json.dumps(index))
    with pytest.raises(ConfigError, match=rf"model_index\.json: latent_scaling\.{field}: input"):
        VideoModel.from_pretrained(model)


def test_a_scaling_spoilt_in_memory_is_not_written(tiny_model: VideoModel, tmp_path: Path):
    scaling = LatentScaling().model_copy(update={"scale": float("nan")})
    index = tiny_model.index.model_copy(update={"latent_scaling": scaling})
    with pytest.raises(ConfigError, match=r"latent_scaling\.scale"):
        replace(tiny_model, index=index).save_pretrained(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def spoilt(model: VideoModel, part: str) -> VideoModel:
    """The model with one infinite weight in a network."""
    network = {"autoencoder": model.autoencoder, **model.denoisers}[part]
    again = network.config.build().eval()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    name = max(weights, key=lambda key: weights[key].numel())
    weights[name] = torch.full_like(weights[name], float("inf"))
    again.load_state_dict(weights)
    if part == "autoencoder":
        return replace(model, autoencoder=again)
    return replace(model, denoisers={**model.denoisers, part: again})


@pytest.mark.parametrize("part", ["autoencoder", "first"])
def test_weights_spoilt_in_memory_are_neither_written_nor_merged(
    tiny_model: VideoModel, tmp_path: Path, part: str
):
    bad = spoilt(tiny_model, part)
    with pytest.raises(CheckpointError, match="has values that are not finite"):
        bad.save_pretrained(tmp_path / "out")
    assert not list(tmp_path.iterdir())
    for models in ((bad, tiny_model), (tiny_model, bad)):
        with pytest.raises(CheckpointError, match="has values that are not finite"):
            models[0].merge(models[1])


def test_weights_too_large_for_half_precision_are_refused(tiny_model: VideoModel, tmp_path: Path):
    network = tiny_model.autoencoder
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    name = next(iter(weights))
    weights[name].view(-1)[0] = 1e5
    config: Any = network.config
    large = config.build()
    large.load_state_dict(weights)
    model = VideoModel(index=tiny_model.index, autoencoder=large)
    with pytest.raises(CheckpointError, match=f"autoencoder: '{name}' has values"):
        model.save_pretrained(tmp_path / "out", dtype=torch.float16)
    model.save_pretrained(tmp_path / "out")


def test_sampled_latents_that_are_not_finite_are_named_with_their_seed(tiny_model: VideoModel):
    bad = spoilt(tiny_model, "first")
    with pytest.raises(FloatingPointError, match="sampled latents of seed 5 near frame 0 are not"):
        list(bad.long_video()(bad.request([5, 6]), 8))


def test_latents_of_a_gap_that_are_not_finite_are_named_with_the_frame_before_it(
    tiny_model: VideoModel,
):
    frames = np.zeros((3, *tiny_model.autoencoder.spec.clip[1:], 3), np.uint8)
    good, bad = (
        FilledVideo(video=model.long_video(), frames=frames)
        for model in (tiny_model, spoilt(tiny_model, "interpolator"))
    )
    request = tiny_model.request([5])
    first = next(iter(good(request, good.length)))
    with pytest.raises(FloatingPointError, match=f"seed 5 near frame {good.factor} are not"):
        next(iter(bad(request, good.length, first.state)))


def test_latents_of_a_loop_s_gap_that_are_not_finite_are_named_with_the_frame_before_it(
    tiny_model: VideoModel,
):
    bad = spoilt(tiny_model, "interpolator").long_video()
    looped = LoopedVideo(video=bad, opening=tiny_model.long_video())
    last = 20 - looped.closing - 1
    with pytest.raises(FloatingPointError, match=f"seed 5 near frame {last} are not"):
        list(looped(tiny_model.request([5]), 20))


def test_decoded_frames_that_are_not_finite_are_named_with_their_seed(tiny_model: VideoModel):
    tiny = LatentScaling().model_copy(update={"scale": 1e-38})
    bad = replace(tiny_model, index=tiny_model.index.model_copy(update={"latent_scaling": tiny}))
    with pytest.raises(FloatingPointError, match="decoded frames of seed 7 near frame 0 are not"):
        list(bad.long_video()(bad.request([7]), 8))
    source = ModelVideos(
        model_name="bad", model=bad, sampling=bad.index.sampling, videos=4, frames=8
    )
    with pytest.raises(FloatingPointError, match="decoded frames of seed 2"):
        next(iter(source.read_clips([ClipPosition(2, 0)], 8, 1)))


def test_reconstructions_that_are_not_finite_are_named_with_their_video(
    tiny_model: VideoModel, tmp_path: Path
):
    bad = spoilt(tiny_model, "autoencoder").autoencoder
    frames = np.zeros((8, 16, 16, 3), np.uint8)
    with pytest.raises(FloatingPointError, match="of the clip near frame 0 are not finite"):
        reconstruct_frames(bad, frames)
    with VideoWriter(tmp_path / "a.mp4", 8.0) as writer:
        writer.write(frames)
    with pytest.raises(FloatingPointError, match=r"of .*/a\.mp4 near frame 0 are not finite"):
        reconstruct_file(bad, tmp_path / "a.mp4", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_weights_of_feature_networks_are_finite(tmp_path: Path):
    save_file({"x": torch.tensor([1.0, float("nan")])}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="'x' has values that are not finite"):
        read_weights(tmp_path / "a.safetensors", None, "", "")
