"""Training another decoder of a model's latents."""

from pathlib import Path

import pytest
import torch
from tiny_runs import autoencoder_run, decoder_run, last_checkpoint, losses, train

from longtake.checkpoint import weights_hash
from longtake.config import ConfigError, parse, to_dict
from longtake.losses.autoencoder import edge_error, flicker_error
from longtake.model import VideoModel
from longtake.runs import DecoderRun


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autoencoder")
    train(autoencoder_run(steps=2), folder)
    return folder


def test_the_decoder_is_trained_and_exported_beside_the_same_autoencoder(
    model: Path, tmp_path: Path
):
    train(decoder_run(model, steps=30, optimizer={"lr": 1e-2}), tmp_path)
    found, base = (VideoModel.from_pretrained(folder) for folder in (tmp_path, model))
    assert weights_hash(found.autoencoder) == weights_hash(base.autoencoder)
    assert found.autoencoder_with("large").spec.clip == (4, 32, 32)
    assert sum(losses(tmp_path)[-5:]) < sum(losses(tmp_path)[:5])
    kept = {name.split("/")[1].split(".")[0] for name in last_checkpoint(tmp_path)}
    assert not kept & {"autoencoder", "encoder"} or "encoder" not in kept


def test_a_stopped_run_continues_bit_for_bit(model: Path, tmp_path: Path):
    train(decoder_run(model, steps=6), tmp_path / "whole")
    train(decoder_run(model, steps=3), tmp_path / "parts")
    train(decoder_run(model, steps=6), tmp_path / "parts")
    whole, parts = (last_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


def test_a_run_begins_with_the_decoder_of_another(model: Path, tmp_path: Path):
    train(decoder_run(model, steps=1), tmp_path / "first")
    data = to_dict(decoder_run(model, steps=1, optimizer={"lr": 1e-30}))
    again = parse(DecoderRun, {**data, "init_from": str(tmp_path / "first")})
    train(again, tmp_path / "second")
    first, second = (
        VideoModel.from_pretrained(tmp_path / name).decoder("large").state_dict()
        for name in ("first", "second")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_clips_of_another_size_are_refused_before_anything_is_read(tmp_path: Path):
    data = to_dict(decoder_run(tmp_path / "none"))
    data["data"]["plan"]["height"] = 16
    with pytest.raises(ConfigError, match=r"data.plan has clips of 8x16x32 .* makes 4x32x32"):
        parse(DecoderRun, data)


def test_flicker_and_edges_are_errors_of_differences_alone():
    video = torch.rand(1, 3, 5, 4, 4)
    ramp = torch.arange(5.0)[:, None, None]
    assert flicker_error(video, video + 0.1 * ramp) < 1e-6
    assert flicker_error(video, video + 0.1 * (ramp % 2)) == pytest.approx(0.2, rel=1e-5)
    assert edge_error(video, video + 0.3) < 1e-6
    assert edge_error(video, video + 0.1 * torch.arange(4.0)) == pytest.approx(0.05, rel=1e-5)
