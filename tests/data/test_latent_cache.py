"""Latent caches are complete or not there, belong to what made them, and survive interruption."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks import run_ranks

from longtake.autoencoders.base import Posterior, VideoAutoencoder
from longtake.autoencoders.triplane import TriplaneAutoencoder, TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoder, VolumeAutoencoderConfig
from longtake.checkpoint import (
    CheckpointError,
    file_hash,
    read_metadata,
    read_tensors,
    weights_hash,
    write_tensors,
)
from longtake.config import digest, parse, to_dict
from longtake.data import latent_cache, latents
from longtake.data.cache_plan import CachePlan, PlannedClips, warn_of_few_clips
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.latent_cache import LatentCache
from longtake.data.latents import build_cache, cache_key
from longtake.data.order import Order
from longtake.data.synthetic import SkyWorld
from longtake.denoisers import VolumeUNetConfig
from longtake.diffusion import Diffusion
from longtake.distributed import Ranks
from longtake.latents import LatentScaling, LatentSpec
from longtake.noise import generator
from longtake.training.latent_batches import LatentBatches, TrainingBatch, TrainingClip
from longtake.video import VideoWriter, to_model

SKY = SkyWorld(videos=5, plan=ClipPlan(frames=8, height=8, width=8))
PLAN = CachePlan(copies=2, batch=3)
SPEC = LatentSpec(shape=(2, 3, 2, 2), clip=(6, 8, 8), frame_axis=2)

OPENED_BY_EACH = """
import sys
from pathlib import Path

from longtake.data import latent_cache
from longtake.distributed import join

read, whole = [], latent_cache._shard_facts
latent_cache._shard_facts = lambda path: read.append(path) or whole(path)
with join() as ranks:
    with ranks.first_on_machine():
        cache = latent_cache.LatentCache(Path(sys.argv[1]))
    print(len(read), len(cache))
"""


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


def test_clips_of_one_window_are_encoded_several_at_once(
    tmp_path: Path, autoencoder, monkeypatch: pytest.MonkeyPatch
):
    source = SKY.model_copy(update={"plan": ClipPlan(frames=4, height=8, width=8)})
    caches, encode = {}, autoencoder.encode
    for batch, expected in [(1, [1] * 10), (3, [3, 1, 3, 1, 2]), (8, [4, 4, 2])]:
        sizes: list[int] = []
        monkeypatch.setattr(
            autoencoder, "encode", lambda x, to=sizes: (to.append(len(x)), encode(x))[1]
        )
        plan = CachePlan(copies=2, batch=batch)
        caches[batch] = build(tmp_path / str(batch), autoencoder, source=source, plan=plan)
        assert sizes == expected
    for item in range(10):
        one, three, eight = (caches[batch][item] for batch in (1, 3, 8))
        assert one.label == three.label == eight.label
        for other in (three, eight):
            torch.testing.assert_close(
                one.posterior.mean, other.posterior.mean, atol=1e-6, rtol=1e-5
            )


def test_scaled_latents_have_mean_zero_and_standard_deviation_one(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    posteriors = [cache[item].posterior for item in range(len(cache))]
    random = torch.Generator().manual_seed(0)
    drawn = [p.sample(torch.randn(p.mean.shape, generator=random)) for p in posteriors * 20]
    z = cache.latent_scaling.forward(torch.cat(drawn))
    assert abs(z.mean().item()) < 0.05
    assert abs(z.std().item() - 1) < 0.05


def test_an_interrupted_building_continues_after_its_last_shard(tmp_path: Path, autoencoder):
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


def test_a_broken_shard_of_an_interrupted_building_is_made_again(tmp_path: Path, autoencoder):
    cache = build(tmp_path, autoencoder)
    expected = cache[5].posterior.mean.clone()
    (tmp_path / "index.json").unlink()
    shard = tmp_path / "latents_00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:50])
    assert torch.equal(build(tmp_path, autoencoder)[5].posterior.mean, expected)


def test_shards_that_another_autoencoder_left_are_made_again(tmp_path: Path, autoencoder):
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


def test_progress_is_reported_in_clips(tmp_path: Path, autoencoder):
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
    with pytest.raises(CheckpointError, match=r"latents: stale latent cache: copies has changed; "):
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


def changed_index(folder: Path, **changes: object) -> None:
    path = folder / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"mean": float("nan")}, "mean"),
        ({"std": float("inf")}, "std"),
        ({"std": 0.0}, "std"),
        ({"std": -1.0}, "std"),
        ({"shards": []}, "shards"),
    ],
)
def test_an_index_with_impossible_numbers_is_refused(tmp_path: Path, autoencoder, changes, fault):
    build(tmp_path, autoencoder)
    changed_index(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=f"a broken latent cache.*{fault}"):
        LatentCache(tmp_path)


@pytest.mark.parametrize(
    ("shard", "fault"),
    [
        ({"items": 0}, "items"),
        ({"items": -4}, "items"),
        ({"items": 3}, "holds .* expected mean and log_variance of 3 clips of one shape"),
        ({"sha256": "0" * 63}, "sha256"),
        ({"file": "../latents_00000.safetensors"}, "file"),
        ({"file": "/tmp/latents_00000.safetensors"}, "file"),
        ({"file": "..safetensors"}, "file"),
        ({"file": "latents_00001.safetensors"}, r"lists latents_00001.safetensors 2 times"),
        (
            {"file": "linked.safetensors"},
            "linked.safetensors: is a link or a folder, expected a file",
        ),
    ],
)
def test_shards_that_the_index_cannot_have_are_refused(tmp_path: Path, autoencoder, shard, fault):
    folder = tmp_path / "cache"
    cache = build(folder, autoencoder)
    outside = tmp_path / "outside.safetensors"
    shutil.copy(folder / "latents_00000.safetensors", outside)
    (folder / "linked.safetensors").symlink_to(outside)
    first, *others = [entry.model_dump() for entry in cache.index.shards]
    changed_index(folder, shards=[{**first, **shard}, *others])
    with pytest.raises(CheckpointError, match=fault):
        LatentCache(folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"mean": torch.zeros(4, 2, 4, 2)}, "holds .* expected mean and log_variance of 4 clips"),
        ({"mean": torch.zeros(4, 2, 4, 2, 2).half()}, "holds .* float32"),
        ({"label": torch.zeros(4)}, "holds .* int64"),
        ({"label": None}, "holds .* int64"),
        ({"label": torch.tensor([0, 0, 0, 999])}, "labels from 0 to 999 for"),
        ({"label": torch.tensor([-2, 0, 0, 0])}, "labels from -2 to 0 for"),
        ({"log_variance": torch.full((4, 2, 4, 2, 2), torch.nan)}, "are not finite"),
    ],
)
def test_a_shard_with_other_tensors_is_refused(tmp_path: Path, autoencoder, change, fault: str):
    cache = build(tmp_path, autoencoder)
    path = tmp_path / "latents_00001.safetensors"
    tensors = {**read_tensors(path), **change}
    write_tensors(path, {name: value for name, value in tensors.items() if value is not None})
    shards = [entry.model_dump() for entry in cache.index.shards]
    shards[1]["sha256"] = file_hash(path)
    changed_index(tmp_path, shards=shards)
    with pytest.raises(CheckpointError, match=rf"latents_00001\.safetensors: the shard .*{fault}"):
        LatentCache(tmp_path)


def test_latents_that_are_not_finite_are_not_written(tmp_path: Path, autoencoder):
    broken = autoencoder.config.build().eval()
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"sky/train/0: the autoencoder's latents .* not finite"):
        build(tmp_path, broken)
    assert not list(tmp_path.glob("latents_*"))


def test_latents_that_are_all_equal_are_refused(tmp_path: Path, autoencoder, monkeypatch):
    shape = (1, 2, 4, 2, 2)
    flat = Posterior(mean=torch.zeros(shape), log_variance=torch.full(shape, -1000.0))
    monkeypatch.setattr(latents, "encode_clips", lambda _, clips, *__: [flat] * len(clips))
    with pytest.raises(ValueError, match="all latents are equal, so they cannot be scaled"):
        build(tmp_path, autoencoder)


def film_folder(folder: Path, names: Sequence[str] = ("a", "b")) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
        with VideoWriter(folder / f"{name}.mkv", 10) as writer:
            writer.write(pixels)
    return folder


def footage(folder: Path, **settings: object) -> VideoFolder:
    plan = ClipPlan(frames=8, height=8, width=8)
    return VideoFolder(path=folder, **{"plan": plan, **settings})  # pyright: ignore[reportArgumentType]


def test_footage_is_cached_whole_by_default(tmp_path: Path, autoencoder):
    source = footage(film_folder(tmp_path / "films"))
    cache = build(tmp_path / "cache", autoencoder, source=source, plan=CachePlan())
    assert len(cache) == 14  # from frames 0, 2, ... 12 of two videos of 20


def test_a_cache_stays_for_videos_that_only_moved(tmp_path: Path, autoencoder):
    films, place = film_folder(tmp_path / "films"), tmp_path / "cache"
    build(place, autoencoder, source=footage(films), plan=CachePlan())
    (films / "a.mkv").touch()
    copied = footage(shutil.copytree(films, tmp_path / "copied"))

    def never(done: int, total: int) -> None:
        raise AssertionError

    for source in (footage(films), copied):
        build(place, autoencoder, source=source, plan=CachePlan(), report=never)


def test_a_cache_stays_for_captions_that_changed_and_has_the_new_ones(tmp_path: Path, autoencoder):
    films, place = film_folder(tmp_path / "films"), tmp_path / "cache"
    for name in ("a", "b"):
        (films / f"{name}.txt").write_text(f"old {name}")
    described = footage(films, captions={"kind": "beside"})
    old = build(place, autoencoder, source=described, plan=CachePlan())
    texts = [old.caption(item) for item in range(len(old))]
    assert texts == ["old a"] * 7 + ["old b"] * 7
    (films / "b.txt").write_text("new b")
    for source, expected in (
        (footage(films, captions={"kind": "beside"}), ["old a", "new b"]),
        (footage(films), ["", ""]),
    ):
        new = build(place, autoencoder, source=source, plan=CachePlan())
        assert [new.caption(item) for item in (0, 13)] == expected
    former = LatentCache(place)  # nothing is known of the source
    assert [former.caption(item) for item in (0, 13)] == ["old a", "old b"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("video", r"source\.videos\.a\.mkv has changed"),
        ("new", r"source\.videos\.c\.mkv is new"),
        ("gone", r"source\.videos\.b\.mkv is gone"),
        ("plan", r"source\.plan\.flip has changed"),
        ("cache", r"every is gone, clips is new"),
        ("weights", "autoencoder has changed"),
    ],
)
def test_a_stale_cache_says_what_changed(tmp_path: Path, autoencoder, change: str, cause: str):
    films, place = film_folder(tmp_path / "films"), tmp_path / "cache"
    build(place, autoencoder, source=footage(films), plan=CachePlan())
    plan, settings, encoder = CachePlan(), {}, autoencoder
    if change in ("video", "new"):
        shutil.copy(films / "b.mkv", films / ("a.mkv" if change == "video" else "c.mkv"))
    elif change == "gone":
        (films / "b.mkv").unlink()
    elif change == "plan":
        settings = {"plan": ClipPlan(frames=8, height=8, width=8, flip=True)}
    elif change == "cache":
        plan = CachePlan(clips=3)
    else:
        encoder = other_than(autoencoder)
    with pytest.raises(CheckpointError, match=f"stale latent cache: {cause}; remove it"):
        build(place, encoder, source=footage(films, **settings), plan=plan)


def test_a_cache_of_videos_that_an_earlier_version_made_is_opened(tmp_path: Path, autoencoder):
    source, place = footage(film_folder(tmp_path / "films")), tmp_path / "cache"
    later = ("path", "split", "held_out")
    before = {
        "format": 1,
        "autoencoder": weights_hash(autoencoder),
        "source": {
            **{k: v for k, v in to_dict(source).items() if k not in later},
            "videos": [
                [f"{name}.mkv", 20, (stat := (source.path / f"{name}.mkv").stat()).st_size,
                 stat.st_mtime_ns, None, None]
                for name in "ab"
            ],
        },
        "copies": 1,
        "seed": 0,
    }  # fmt: skip
    build(place, autoencoder, source=source, plan=CachePlan(copies=1))
    changed_index(place, key=digest(before))
    (place / "origin.json").unlink()
    for plan in (CachePlan(copies=1), CachePlan()):
        assert len(build(place, autoencoder, source=source, plan=plan)) == 2
    with pytest.raises(CheckpointError, match="stale latent cache: it does not say what it was"):
        build(place, autoencoder, source=source, plan=CachePlan(every=2))


def test_few_clips_for_a_batch_are_warned_of_with_the_remedy(caplog: pytest.LogCaptureFixture):
    warn_of_few_clips(64, 16)
    assert not caplog.messages
    warn_of_few_clips(1, 16)
    assert "has 1 clip, fewer than 4 batches of 16" in caplog.text
    assert "cache.every" in caplog.text


def test_a_cache_opened_again_reads_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shards, items = 50, 4
    tensors = {"mean": torch.zeros(items, 1, 1), "log_variance": torch.zeros(items, 1, 1)}
    path = tmp_path / "latents_00000.safetensors"
    write_tensors(path, {**tensors, "label": torch.full((items,), -1)})
    entries = []
    for number in range(shards):
        name = f"latents_{number:05d}.safetensors"
        if number:
            os.link(path, tmp_path / name)
        entries.append({"file": name, "sha256": file_hash(path), "items": items})
    index = {"format": 1, "key": "k", "classes": [], "mean": 0.0, "std": 1.0, "shards": entries}
    (tmp_path / "index.json").write_text(json.dumps(index))
    time.sleep(0.2)  # facts about files that have just changed are not kept
    read = []
    whole = latent_cache._shard_facts
    monkeypatch.setattr(latent_cache, "_shard_facts", lambda path: read.append(path) or whole(path))
    LatentCache(tmp_path)
    assert len(read) == shards
    cache = LatentCache(tmp_path)
    assert len(read) == shards
    assert len(cache) == 200
    assert {cache[number].label for number in (0, 199)} == {-1}


def test_clips_that_are_not_whole_windows_are_refused(tmp_path: Path, autoencoder):
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
    key, clips = cache_key(SKY, autoencoder, PLAN), PlannedClips(SKY, PLAN)
    place = tmp_path / "two"
    place.mkdir()
    for rank in range(2):
        for start in Ranks(rank=rank, size=2).shard(range(0, 10, 4)):
            path = place / f"latents_{start // 4:05d}.safetensors"
            items = range(start, min(start + 4, 10))
            some = ([clips[item]] for item in items)
            latents._write_shard(path, key, some, autoencoder, PLAN.batch, 0)
    again = build(place, autoencoder)
    for item in range(len(whole)):
        assert torch.equal(again[item].posterior.mean, whole[item].posterior.mean)
    assert captions(place) == captions(tmp_path / "one")


def test_one_process_of_a_machine_hashes_a_cache(tmp_path: Path, autoencoder, monkeypatch):
    build(tmp_path / "cache", autoencoder)
    time.sleep(0.2)  # facts about files that have just changed are not kept
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "facts"))
    said = run_ranks(tmp_path, OPENED_BY_EACH, tmp_path / "cache")
    assert [printed.split() for printed in said] == [["3", "10"], ["0", "10"]]  # hashed, clips


def test_a_posterior_is_drawn_from_again_each_epoch(tmp_path: Path, autoencoder):
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
    with pytest.raises(ValueError, match=r"at clip\.stride=3 need cached clips of 7"):
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
