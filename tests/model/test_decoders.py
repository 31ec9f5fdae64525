"""Other decoders of a model's latents: saved with it and chosen by name."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_decoder import LARGE

from longtake.autoencoders import VolumeAutoencoder
from longtake.config import ConfigError, parse
from longtake.model import ModelIndex, VideoModel
from longtake.model.decoders import save_with_decoders


@pytest.fixture
def model(tiny_model: VideoModel) -> VideoModel:
    return replace(tiny_model, decoders={"large": LARGE.build()})


def frames(model: VideoModel, decoder: str) -> torch.Tensor:
    request = model.request([0])
    return torch.cat([part.pixels for part in model.long_video(decoder=decoder)(request, 24)], 2)


def test_a_saved_model_has_its_decoders_again(model: VideoModel, tmp_path: Path):
    model.save_pretrained(tmp_path / "model")
    again = VideoModel.from_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "large_decoder" / "model.safetensors").exists()
    assert again.index.decoders == {"large": "large_decoder"}
    assert torch.equal(frames(again, "large"), frames(model, "large"))


def test_a_decoder_may_make_larger_frames_of_the_same_latents(model: VideoModel):
    assert frames(model, "full").shape[2:] == (24, 16, 16)
    assert frames(model, "large").shape[2:] == (24, 32, 32)


def test_a_model_that_is_moved_is_one_that_was_opened_there(model: VideoModel, tmp_path: Path):
    model = copy.deepcopy(model)  # networks of the fixture are those of other tests
    model.save_pretrained(tmp_path / "model")
    opened = VideoModel.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    assert model.to(dtype=torch.bfloat16) is model
    one, other = (
        torch.cat([part.pixels for part in each.long_video()(each.request([3]), 8)], 2)
        for each in (model, opened)
    )
    assert torch.equal(one, other)
    weights = [w for part in model.components.values() for w in part.parameters()]
    assert {w.dtype for w in weights} == {torch.bfloat16}
    assert model.components.keys() == {"autoencoder", "denoiser", "interpolator", "large_decoder"}
    wrongs: list[dict[str, Any]] = [{"device": "toaster"}, {"dtype": torch.int8}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"no such device here|expected a floating-point"):
            model.to(**wrong)
    model.to()
    assert {w.dtype for w in weights} == {torch.bfloat16}
    model.to("meta")
    moved = {w.device.type for part in model.components.values() for w in part.parameters()}
    assert moved == {"meta"}


def test_a_model_without_decoders_is_written_as_before(tiny_model: VideoModel, tmp_path: Path):
    tiny_model.save_pretrained(tmp_path / "model")
    assert "decoders" not in (tmp_path / "model" / "model_index.json").read_text()


def test_a_decoder_that_there_is_not_is_refused_by_those_that_there_are(
    model: VideoModel, tiny_model: VideoModel
):
    with pytest.raises(ValueError, match=r"'lage': .* no such decoder; did you mean 'large'\?"):
        model.long_video(decoder="lage")
    with pytest.raises(ValueError, match=r"'light': .* no such decoder; valid are full"):
        tiny_model.long_video(decoder="light")


def test_a_merged_model_keeps_the_decoders_of_both(model: VideoModel, tiny_model: VideoModel):
    alone = replace(tiny_model, denoisers={})
    assert model.merge(alone).decoders.keys() == {"large"}
    assert alone.merge(model).decoders.keys() == {"large"}


def test_decoders_are_added_to_a_copy_of_a_model(
    model: VideoModel, tiny_model: VideoModel, tmp_path: Path
):
    tiny_model.save_pretrained(tmp_path / "base")
    replace(model, denoisers={}).save_pretrained(tmp_path / "trained")
    save_with_decoders(tmp_path / "base", [tmp_path / "trained"], tmp_path / "both")
    both = VideoModel.from_pretrained(tmp_path / "both")
    assert torch.equal(frames(both, "large"), frames(model, "large"))
    for name in ("denoiser", "autoencoder"):
        path = f"{name}/model.safetensors"
        before, after = (tmp_path / part / path for part in ("base", "both"))
        assert before.read_bytes() == after.read_bytes()


def test_a_decoder_of_another_autoencoder_or_none_is_not_added(
    model: VideoModel, tiny_model: VideoModel, tmp_path: Path
):
    tiny_model.save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="has no decoder besides its autoencoder's"):
        save_with_decoders(tmp_path / "base", [tmp_path / "base"], tmp_path / "both")
    other = VolumeAutoencoder(tiny_model.autoencoder.config)  # pyright: ignore[reportArgumentType]
    replace(model, autoencoder=other, denoisers={}).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="has another autoencoder than"):
        save_with_decoders(tmp_path / "base", [tmp_path / "other"], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_full_is_the_autoencoders_own_name():
    with pytest.raises(ConfigError, match="'full' is the autoencoder's own decoder"):
        parse(ModelIndex, {"decoders": {"full": "other"}})
