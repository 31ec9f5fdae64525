"""Latent caches are complete or not there, belong to what made them, and survive interruption."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from longtake.autoencoders.base import VideoAutoencoder
from longtake.autoencoders.triplane import TriplaneAutoencoder, TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoder, VolumeAutoencoderConfig
from longtake.checkpoint import (
    CheckpointError,
    read_metadata,
    read_tensors,
    weights_hash,
    write_tensors,
)
from longtake.config import digest, parse
from longtake.data import latents
from longtake.data.clips import ClipPlan
from longtake.data.latents import CachePlan, LatentCache, build_cache, cache_key
from longtake.data.order import Order
from longtake.data.synthetic import SkyWorld
from longtake.denoisers import VolumeUNetConfig
from longtake.diffusion import Diffusion
from longtake.distributed import Ranks
from longtake.latents import LatentScaling, LatentSpec
from longtake.noise import generator
from longtake.training.latent_batches import LatentBatches, TrainingBatch, TrainingClip
from longtake.video import to_model

SKY = SkyWorld(videos=5, plan=ClipPlan(frames=8, height=8, width=8))
PLAN = CachePlan(copies=2, batch=3)
SPEC = LatentSpec(shape=(2, 3, 2, 2), clip=(6, 8, 8), frame_axis=2)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "SHARD_ITEMS", 4)


@pytest.fixture(scope="module")
def autoencoder() -> VolumeAutoencoder:
    torch.manual_seed(0)
    config = VolumeAutoencoderConfig(
        clip=(4, 8, 8), factors=(2, 4, 4), hidden=4, groups=4, z_channels=2
    )
    return config.build().eval()


@pytest.fixture(scope="module")
def planes() -> TriplaneAutoencoder:
    torch.manual_seed(0)
    config = TriplaneAutoencoderConfig(
        clip=(4, 8, 8), patch=4, width=8, depth=1, heads=2, head_channels=4, embed_dim=2
    )
    return config.build().eval()


def build(folder: Path, autoencoder: VideoAutoencoder, **settings) -> LatentCache:
    source, plan = settings.pop("source", SKY), settings.pop("plan", PLAN)
    return build_cache(folder, source, autoencoder, plan, Ranks(), **settings)


def other_than(autoencoder: VolumeAutoencoder) -> VolumeAutoencoder:
    torch.manual_seed(1)
    return autoencoder.config.build().eval()


def batches(cache: LatentCache, **plan) -> LatentBatches:
    return LatentBatches(
        cache,
        SPEC,
        TrainingClip(**plan),
        Diffusion(),
        LatentScaling(),
        seed=3,
        reads=frozenset({"label"}),
    )


def rows(make: LatentBatches, numbers: Sequence[int]) -> TrainingBatch:
    return make(list(numbers))


def captions(folder: Path) -> list[str]:
    shards = sorted(folder.glob("latents_*.safetensors"))
    return [text for path in shards for text in json.loads(read_metadata(path)["captions"])]


def test_what_is_cached_is_the_posterior_of_each_window(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    assert len(cache) == 10
    assert cache.shape == (2, 4, 2, 2)
    assert cache.classes == SKY.classes
    item = 7
    clip = SKY.clip(item % 5, generator(0, "cache", item // 5, item % 5))
    video = to_model(clip.frames)[None]
    with torch.no_grad():
        windows = [autoencoder.encode(video[:, :, start : start + 4]) for start in (0, 4)]
    mean = torch.cat([window.mean for window in windows], 2)
    log_variance = torch.cat([window.log_variance for window in windows], 2)
    cached = cache[item]
    torch.testing.assert_close(cached.posterior.mean, mean, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(cached.posterior.log_variance, log_variance, atol=1e-5, rtol=1e-5)
    assert (cached.label, captions(tmp_path)[item]) == (clip.label, clip.caption)


@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_windows_that_overlap_begin_that_many_frames_before_the_last_ones_end(
    tmp_path: Path, planes, overlap: int
):
    hop = 4 - overlap
    source = SKY.model_copy(update={"plan": ClipPlan(frames=4 + 2 * hop, height=8, width=8)})
    cache = build(tmp_path, planes, source=source, plan=CachePlan(batch=2), overlap_frames=overlap)
    video = to_model(source.clip(3, generator(0, "cache", 0, 3)).frames)[None]
    windows = cache[3].posterior.mean.split(planes.spec.shape[-1], 2)
    assert len(windows) == 3
    for number, window in enumerate(windows):
        with torch.no_grad():
            alone = planes.encode(video[:, :, number * hop : number * hop + 4]).mean
        torch.testing.assert_close(window, alone, atol=1e-6, rtol=1e-5)


def test_scaled_latents_have_mean_zero_and_standard_deviation_one(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    posteriors = [cache[item].posterior for item in range(len(cache))]
    random = torch.Generator().manual_seed(0)
    drawn = [p.sample(torch.randn(p.mean.shape, generator=random)) for p in posteriors * 20]
    z = cache.latent_scaling.forward(torch.cat(drawn))
    assert abs(z.mean().item()) < 0.05
    assert abs(z.std().item() - 1) < 0.05


def test_an_interrupted_building_goes_on_after_its_last_shard(tmp_path: Path, autoencoder):
    whole = build(tmp_path / "whole", autoencoder)
    place = tmp_path / "stopped"

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(place, autoencoder, report=stop)
    first = place / "latents_00000.safetensors"
    written = first.stat().st_mtime_ns
    with pytest.raises(CheckpointError, match="no latent cache, or an incomplete one"):
        LatentCache(place)
    cache = build(place, autoencoder)
    assert first.stat().st_mtime_ns == written
    for item in range(len(whole)):
        assert torch.equal(cache[item].posterior.mean, whole[item].posterior.mean)


def test_a_broken_shard_of_an_interrupted_building_is_made_anew(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    expected = cache[5].posterior.mean.clone()
    (tmp_path / "index.json").unlink()
    shard = tmp_path / "latents_00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:50])
    assert torch.equal(build(tmp_path, autoencoder)[5].posterior.mean, expected)


def test_shards_that_another_autoencoder_left_are_made_anew(tmp_path: Path, autoencoder):
    build(tmp_path, other_than(autoencoder))
    (tmp_path / "index.json").unlink()
    cache = build(tmp_path, autoencoder)
    expected = build(tmp_path / "fresh", autoencoder)
    assert torch.equal(cache[9].posterior.mean, expected[9].posterior.mean)


def test_a_finished_cache_is_opened_and_not_built(tmp_path: Path, autoencoder):
    build(tmp_path, autoencoder)

    def never(done: int, total: int) -> None:
        raise AssertionError

    build(tmp_path, autoencoder, report=never)


def test_progress_is_told_in_clips(tmp_path: Path, autoencoder):
    reported: list[tuple[int, int]] = []
    build(tmp_path, autoencoder, report=lambda done, total: reported.append((done, total)))
    assert reported == [(4, 10), (8, 10), (10, 10)]


def test_the_key_depends_on_autoencoder_source_and_draws_alone(autoencoder):
    other = other_than(autoencoder)
    keys = [
        cache_key(SKY, autoencoder, PLAN),
        cache_key(SKY, other, PLAN),
        cache_key(SKY.model_copy(update={"seed": 1}), autoencoder, PLAN),
        cache_key(SKY, autoencoder, CachePlan(copies=1)),
        cache_key(SKY, autoencoder, CachePlan(copies=2, seed=1)),
        cache_key(SKY, autoencoder, CachePlan(copies=2), 1),
        cache_key(SKY, autoencoder, CachePlan(copies=2), 2),
    ]
    assert len(set(keys)) == len(keys)
    assert cache_key(SKY, autoencoder, CachePlan(copies=2, batch=1)) == keys[0]


def test_the_key_of_a_cache_without_overlap_is_that_of_before_there_was_one(autoencoder):
    before = {
        "format": 1,
        "autoencoder": weights_hash(autoencoder),
        "source": SKY.identity(),
        "copies": 2,
        "seed": 0,
    }
    assert cache_key(SKY, autoencoder, PLAN) == digest(before)


def test_a_stale_cache_is_refused_by_name(tmp_path: Path, autoencoder):
    build(tmp_path / "latents", autoencoder)
    with pytest.raises(CheckpointError, match=r"latents: stale latent cache: made from another"):
        build(tmp_path / "latents", autoencoder, plan=CachePlan(copies=1))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_broken_shard_is_refused_by_name(tmp_path: Path, autoencoder, damage: str):
    build(tmp_path, autoencoder)
    path = tmp_path / "latents_00001.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-8])
    else:
        content[-1] ^= 1
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"latents_00001\.safetensors: .*shard.*encode again"):
        build(tmp_path, autoencoder)


@pytest.mark.parametrize("index", ["{", "[]", "{}"])
def test_a_broken_index_is_refused_by_name(tmp_path: Path, autoencoder, index: str):
    build(tmp_path, autoencoder)
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(CheckpointError, match="latent cache"):
        build(tmp_path, autoencoder)


def test_clips_that_are_no_whole_windows_are_refused(tmp_path: Path, autoencoder):
    odd = SKY.model_copy(update={"plan": ClipPlan(frames=6, height=8, width=8)})
    with pytest.raises(ValueError, match=r"have 6 frames, .* valid lengths are 4 and 8 "):
        build(tmp_path, autoencoder, source=odd)


@pytest.mark.parametrize(
    ("frames", "near"), [(3, "4 and 7"), (6, "4 and 7"), (8, "7 and 10"), (12, "10 and 13")]
)
def test_clips_that_overlapping_windows_do_not_fill_are_refused(
    tmp_path: Path, planes, frames: int, near: str
):
    odd = SKY.model_copy(update={"plan": ClipPlan(frames=frames, height=8, width=8)})
    reported = (
        f"have {frames} frames, must be .* clips of 4 that share 1; the nearest valid lengths"
    )
    with pytest.raises(ValueError, match=f"{reported} are {near} "):
        build(tmp_path, planes, source=odd, overlap_frames=1)


def test_an_overlap_that_latents_cannot_have_is_refused(tmp_path: Path, autoencoder, planes):
    with pytest.raises(ValueError, match="overlap=1 must be 0 for latents with a time axis"):
        build(tmp_path, autoencoder, overlap_frames=1)
    with pytest.raises(ValueError, match="overlap=4 must be from 0 to 3, under the clip's 4"):
        build(tmp_path, planes, overlap_frames=4)
    assert not list(tmp_path.iterdir())


def test_two_processes_build_the_cache_that_one_builds(tmp_path: Path, autoencoder):
    whole = build(tmp_path / "one", autoencoder)
    key = cache_key(SKY, autoencoder, PLAN)
    place = tmp_path / "two"
    place.mkdir()
    for rank in range(2):
        for start in Ranks(rank=rank, size=2).shard(range(0, 10, 4)):
            path = place / f"latents_{start // 4:05d}.safetensors"
            items = range(start, min(start + 4, 10))
            latents._write_shard(path, key, SKY, autoencoder, PLAN, 0, items)
    again = build(place, autoencoder)
    for item in range(len(whole)):
        assert torch.equal(again[item].posterior.mean, whole[item].posterior.mean)
    assert captions(place) == captions(tmp_path / "one")


def test_a_posterior_is_drawn_from_anew_each_epoch(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    order = Order(3, len(cache))
    places = {order(number): number for number in range(20)}
    _, item = order(0)
    make = batches(cache)
    first, second = (rows(make, [places[epoch, item]]) for epoch in (0, 1))
    assert not torch.equal(first.z, second.z)
    assert torch.equal(rows(make, [places[0, item]]).z, first.z)


def test_a_sample_of_training_does_not_depend_on_its_batch(tmp_path: Path, autoencoder):
    make = batches(build(tmp_path, autoencoder), context={"interpolate": 0.5, "predict": 0.5})
    whole, part = rows(make, range(6)), rows(make, range(1, 6, 2))
    for name in ("z", "noise", "t"):
        assert torch.equal(getattr(whole, name)[1::2], getattr(part, name))
    for name in ("label", "context_mask"):
        assert torch.equal(whole.signals[name].value[1::2], part.signals[name].value)


def test_a_stride_takes_latents_that_far_apart(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    spec = LatentSpec(shape=(2, 2, 2, 2), clip=(4, 8, 8), frame_axis=2)
    plan = TrainingClip(stride=3)
    make = LatentBatches(cache, spec, plan, Diffusion(), LatentScaling(), seed=3, reads=frozenset())
    assert rows(make, [0]).z.shape == (1, 2, 2, 2, 2)
    with pytest.raises(ValueError, match="3 latent frames with stride 3 span 7, but a cached clip"):
        batches(cache, stride=3)


def test_labels_are_withheld_as_often_as_asked(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    for dropout, reported in ((0.0, 40), (1.0, 0)):
        label = rows(batches(cache, label_dropout=dropout), range(40)).signals["label"].value
        assert int((label >= 0).sum()) == reported


def test_a_shard_of_the_right_name_but_no_cache_is_overwritten(tmp_path: Path, autoencoder):
    write_tensors(tmp_path / "latents_00000.safetensors", {"x": torch.ones(1)})
    build(tmp_path, autoencoder)
    assert "mean" in read_tensors(tmp_path / "latents_00000.safetensors")
    assert len(LatentCache(tmp_path)) == 10


def test_a_cache_of_an_earlier_version_opens(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    index = tmp_path / "index.json"
    index.write_text(index.read_text().replace('"std"', '"deviation"'))
    assert LatentCache(tmp_path).latent_scaling == cache.latent_scaling


@pytest.mark.parametrize(
    ("clip", "signal"), [({"context": {}}, "context"), ({"previous_share": 0.3}, "previous")]
)
def test_a_signal_that_the_network_does_not_read_is_refused_before_training(clip, signal: str):
    network = VolumeUNetConfig(latent=(2, 3, 2, 2), model_channels=8, groups=4).build()
    with pytest.raises(ValueError, match=f"VolumeUNet does not read the signal '{signal}"):
        parse(TrainingClip, clip).check(network)
