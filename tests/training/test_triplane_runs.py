"""PVDM from clips to a long video, by the same runs, loop, cache and commands as LVDM."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from training.tiny_runs import (
    last_checkpoint,
    losses,
    train,
    triplane_autoencoder_run,
    triplane_run,
)
from typer.testing import CliRunner

from longtake import config
from longtake.autoencoders.base import Posterior
from longtake.checkpoint import file_hash, write_text
from longtake.cli import app
from longtake.data.latents import CachedShard, CacheIndex, LatentCache
from longtake.diffusion import Diffusion
from longtake.latents import LatentScaling, LatentSpec
from longtake.model import VideoModel
from longtake.training.latent_batches import LatentBatches, TrainingClip
from longtake.video import probe, to_model

CELLS = 3


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planes") / "autoencoder"
    train(triplane_autoencoder_run(), folder)
    return folder


@pytest.fixture(scope="module")
def whole_run(autoencoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planes") / "diffusion"
    train(triplane_run(autoencoder), folder)
    return folder


def batches(folder: Path, clips: int, share: float) -> LatentBatches:
    """Of a cache of four videos whose clip ``k`` of video ``v`` holds 10 v + k + 1 throughout."""
    values = 10 * torch.arange(4)[:, None] + torch.arange(clips) + 1
    mean = values.float().repeat_interleave(CELLS, 1)[:, None].contiguous()
    folder.mkdir()
    tensors = {"mean": mean, "log_variance": torch.full_like(mean, -60)}
    label = torch.zeros(4, dtype=torch.long)
    file = folder / "shard.safetensors"
    save_file({**tensors, "label": label}, file, {"captions": json.dumps(4 * [""])})
    shard = CachedShard(file=file.name, sha256=file_hash(file), items=4)
    index = CacheIndex(key="k", classes=(), mean=0, std=1, shards=(shard,))
    write_text(folder / "index.json", index.model_dump_json())
    return LatentBatches(
        LatentCache(folder),
        LatentSpec(shape=(1, CELLS), clip=(4, 16, 16), frame_axis=None),
        TrainingClip(previous_share=share),
        Diffusion(),
        LatentScaling(),
        seed=3,
        reads=frozenset({"previous"}),
    )


def test_the_clip_before_is_the_one_before_or_zeros(tmp_path: Path) -> None:
    batch = batches(tmp_path / "cache", clips=3, share=0.5)(range(400))
    clip, before = batch.z[:, 0, 0].round(), batch.signals["previous"].value[:, 0, 0].round()
    continues = before != 0
    assert torch.equal(clip[continues], before[continues] + 1)
    assert continues.float().mean().item() == pytest.approx(0.5, abs=0.08)


def test_every_clip_is_trained_on_alone_and_every_pair_together(tmp_path: Path) -> None:
    batch = batches(tmp_path / "cache", clips=2, share=0.3)(range(300))
    pairs = (
        torch.stack([batch.z[:, 0, 0], batch.signals["previous"].value[:, 0, 0]], 1).round() % 10
    )
    assert sorted(set(map(tuple, pairs.tolist()))) == [(1.0, 0.0), (2.0, 0.0), (2.0, 1.0)]


def test_a_sample_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    draw = batches(tmp_path / "cache", clips=3, share=0.5)
    whole, alone = draw(range(6)), draw([4])
    assert torch.equal(whole.z[4:5], alone.z)
    assert torch.equal(whole.noise[4:5], alone.noise)


def test_one_cached_clip_cannot_continue_another(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a second one after it; cache videos of 8 frames"):
        batches(tmp_path / "cache", clips=1, share=0.5)


def test_a_denoiser_of_other_latents_is_refused_before_anything_is_encoded(
    autoencoder: Path, tmp_path: Path
) -> None:
    run = triplane_run(autoencoder)
    frames, height, width = run.denoiser.latent[1:]
    other = run.denoiser.model_copy(update={"latent": (5, frames, height, width)})
    with pytest.raises(config.ConfigError, match="the denoiser samples latents of"):
        train(run.model_copy(update={"denoiser": other}), tmp_path / "run")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_killed_and_resumed_run_ends_with_equal_weights(
    autoencoder: Path, whole_run: Path, tmp_path: Path
) -> None:
    train(triplane_run(autoencoder, steps=3), tmp_path / "run")
    train(triplane_run(autoencoder), tmp_path / "run")
    assert losses(tmp_path / "run") == losses(whole_run)
    resumed, whole = last_checkpoint(tmp_path / "run"), last_checkpoint(whole_run)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_commands_serve_planes_as_volumes(whole_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "long.mp4"
    generate = ["generate", str(whole_run), "--frames", "18", "--seed", "1", "-o", str(out)]
    assert CliRunner().invoke(app, generate, catch_exceptions=False).exit_code == 0
    assert probe(out).frames == 18
    again = ["reconstruct", str(whole_run), str(out), "-o", str(tmp_path / "again")]
    assert CliRunner().invoke(app, again, catch_exceptions=False).exit_code == 0
    assert probe(tmp_path / "again" / "long.mp4").frames == 18


def test_a_denoiser_of_overlapping_clips_makes_videos_of_them(
    autoencoder: Path, tmp_path: Path
) -> None:
    train(triplane_run(autoencoder, overlap=1), tmp_path / "run")
    cache = LatentCache(tmp_path / "run" / "latents")
    model = VideoModel.from_pretrained(tmp_path / "run")
    assert cache.shape[-1] == 2 * model.autoencoder.spec.shape[-1]
    assert model.denoisers["first"].spec.clip_overlap_frames == 1
    parts = [*model.long_video()(model.request([1]), 9)]
    assert [part.frames.shape[1] for part in parts] == [3, 3, 4]
    again = [*model.long_video()(model.request([1]), 9, parts[0].state)]
    for part, same in zip(parts[1:], again, strict=True):
        assert np.array_equal(part.frames, same.frames)


def test_models_of_other_overlaps_are_not_merged(whole_run: Path) -> None:
    model = VideoModel.from_pretrained(whole_run)
    run = triplane_run(whole_run, overlap=1)
    other = replace(model, denoisers={"next": run.denoiser.build()})
    with pytest.raises(ValueError, match="cannot be merged: they differ in clip_overlap_frames"):
        model.merge(other)


@pytest.mark.parametrize("clip", [(8, 48, 64), (16, 64, 64), (12, 32, 96)])
def test_any_size_trains_and_comes_back(clip: tuple[int, int, int], tmp_path: Path) -> None:
    first = triplane_autoencoder_run(clip, steps=1)
    train(first, tmp_path / "autoencoder")
    train(triplane_run(tmp_path / "autoencoder", clip, steps=1, batch=1), tmp_path / "diffusion")
    model = VideoModel.from_pretrained(tmp_path / "diffusion")
    video = to_model(first.data.clip(0, torch.Generator()).frames)[None]
    with torch.no_grad():
        posterior: Posterior = model.autoencoder.encode(video)
        drawn = model.denoisers["first"].spec.shape
        assert posterior.mean.shape[1:] == model.autoencoder.spec.shape == drawn
        assert model.autoencoder.decode(posterior.mean).shape == video.shape


def test_training_begins_with_the_weights_of_an_autoencoder_for_smaller_frames(autoencoder: Path):
    own = triplane_autoencoder_run()
    frames, height, width = own.autoencoder.clip
    clip = (frames, 2 * height, 2 * width)
    network = own.autoencoder.model_copy(update={"clip": clip})
    plan = own.data.plan.model_copy(update={"height": clip[1], "width": clip[2]})
    data = own.data.model_copy(update={"plan": plan})
    run = own.model_copy(
        update={"autoencoder": network, "data": data, "init_from": str(autoencoder)}
    )
    given = VideoModel.from_pretrained(autoencoder).autoencoder.state_dict()
    begun = run.begin().autoencoder.state_dict()
    assert {name for name in given if begun[name].shape != given[name].shape} == {
        "encoder.motion_h.position",
        "encoder.motion_w.position",
    }
    assert torch.equal(begun["encoder.content.position"], given["encoder.content.position"])
