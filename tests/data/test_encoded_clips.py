"""Clips that are encoded whenever they are drawn: their latents are those of the source's clips."""

from pathlib import Path
from typing import Any

import pytest
import torch
from training.tiny_runs import SKY, diffusion_run, losses, train, triplane_autoencoder_run

from longtake.autoencoders import VideoAutoencoder
from longtake.config import parse, to_dict
from longtake.data.cache_plan import CachePlan
from longtake.data.clips import ClipPlan
from longtake.data.encoded_clips import EncodedClips
from longtake.data.folders import VideoFolder
from longtake.data.latents import build_cache
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.model import VideoModel
from longtake.noise import generator
from longtake.runs import DiffusionRun
from longtake.video import VideoWriter, to_model

PLACES = [(0, 3), (0, 1), (4, 3)]


def sky(frames: int) -> SkyWorld:
    return parse(SkyWorld, {**SKY, "plan": {"frames": frames, "height": 16, "width": 16}})


@pytest.fixture(params=["volume", "planes"])
def autoencoder(request, tiny_autoencoder_folder: Path) -> VideoAutoencoder:
    if request.param == "volume":
        return VideoModel.from_pretrained(tiny_autoencoder_folder).autoencoder
    torch.manual_seed(0)
    return triplane_autoencoder_run().autoencoder.build().eval()


def test_latents_are_those_of_the_clip_that_the_source_gives_in_that_epoch(autoencoder):
    window = autoencoder.spec.clip[0]
    source = sky(2 * window)
    latents = EncodedClips(source, autoencoder, batch=4, overlap_frames=0, seed=7)
    for (epoch, item), found in zip(PLACES, latents.read(PLACES), strict=True):
        clip = source.clip(item, generator(7, "clip", epoch, item))
        video = to_model(clip.frames)[None]
        with torch.no_grad():
            parts = [autoencoder.encode(part).mean for part in video.split(window, 2)]
        torch.testing.assert_close(found.posterior.mean, torch.cat(parts, 2), atol=1e-6, rtol=1e-5)
        assert found.posterior.mean.shape[1:] == latents.shape
        assert found.label == clip.label
        assert latents.caption(found.item) == source.caption(item)


def test_a_clip_is_another_in_every_epoch_and_the_same_again(autoencoder):
    source = sky(autoencoder.spec.clip[0])
    latents = EncodedClips(source, autoencoder, batch=2, overlap_frames=0, seed=0)
    one, two, again = latents.read([(0, 2), (1, 2), (0, 2)])
    assert not torch.equal(one.posterior.mean, two.posterior.mean)
    assert torch.equal(one.posterior.mean, again.posterior.mean)


def test_the_scale_is_that_of_a_cache_of_as_many_clips(autoencoder, tmp_path: Path):
    source = sky(autoencoder.spec.clip[0])
    latents = EncodedClips(source, autoencoder, batch=2, overlap_frames=0, seed=0)
    cache = build_cache(tmp_path, source, autoencoder, CachePlan(clips=6), Ranks())
    assert latents.latent_scaling.scale == pytest.approx(cache.latent_scaling.scale, rel=1e-5)
    assert latents.latent_scaling.shift == pytest.approx(cache.latent_scaling.shift, abs=1e-6)


def test_a_damaged_clip_is_replaced_with_label_and_caption_of_the_other(
    autoencoder, tmp_path: Path
):
    random = torch.Generator().manual_seed(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with VideoWriter(tmp_path / name / "film.mkv", 8.0) as writer:
            writer.write(torch.randint(256, (24, 16, 16, 3), generator=random).byte().numpy())
        (tmp_path / name / "film.txt").write_text(name)
    window = autoencoder.spec.clip[0]
    plan = ClipPlan(frames=window, height=16, width=16)
    source = parse(
        VideoFolder,
        {"path": tmp_path, "labels": "folder", "captions": {"kind": "beside"}, "plan": plan},
    )
    assert len(source) == 2
    latents = EncodedClips(source, autoencoder, batch=2, overlap_frames=0, seed=0)
    film = tmp_path / "a" / "film.mkv"
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 8])
    found = latents.read([(0, 0), (0, 1)])
    assert [clip.label for clip in found] == [1, 1]
    assert [latents.caption(clip.item) for clip in found] == ["b", "b"]


def without_cache(folder: Path, **training: Any) -> DiffusionRun:
    return parse(DiffusionRun, {**to_dict(diffusion_run(folder, **training)), "cache": None})


def test_a_run_without_cache_writes_no_latents_and_continues_bit_for_bit(
    tiny_autoencoder_folder: Path, tmp_path: Path
):
    run = without_cache(tiny_autoencoder_folder, steps=4, save_every=1)
    train(run, tmp_path / "whole")
    assert not (tmp_path / "whole" / "latents").exists()
    scaling = VideoModel.from_pretrained(tmp_path / "whole").index.latent_scaling
    assert scaling.scale not in (1.0, 0.0)

    train(without_cache(tiny_autoencoder_folder, steps=2, save_every=1), tmp_path / "stopped")
    train(run, tmp_path / "stopped")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 4
