"""Broken files of runs, caches, captions and exports: refused, passed over, or valid."""

import json
import math
import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import COUNT, TEXTS, Tally, changed, places, torn
from tiny_runs import autoencoder_run, diffusion_run, train

from longtake.autoencoders import VolumeAutoencoderConfig
from longtake.checkpoint import file_hash, is_finite, read_tensors
from longtake.config import ConfigError, parse, read, to_dict
from longtake.data.cache_plan import CachePlan
from longtake.data.captions import CaptionTable
from longtake.data.clips import ClipPlan
from longtake.data.export import export_world, read_export
from longtake.data.latents import build_cache
from longtake.data.prepare import _kept, _remove, read_manifest
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.evaluation.extraction import FeatureCache
from longtake.model import VideoModel
from longtake.model_videos import Kept, _read_kept
from longtake.pipeline.plan import Plan, read_plan, seconds_spent
from longtake.runs import AnyRun, presets
from longtake.training import checkpoint
from longtake.training.log import Log


def mutate(path: Path, draw: random.Random) -> None:
    """Change values of a JSON file, or bytes of any."""
    if path.suffix == ".json" and draw.randrange(4):
        path.write_text(json.dumps(changed(json.loads(path.read_text()), draw)))
    elif path.suffix == ".json":
        path.write_text(draw.choice(TEXTS))
    else:
        path.write_bytes(torn(path.read_bytes(), draw))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(autoencoder_run(steps=1), folder)
    return folder


def test_run_folders_with_broken_files_are_refused(finished: Path, tmp_path: Path, tally: Tally):
    draw, folder = random.Random(0), tmp_path / "run"
    names = [p.relative_to(finished) for p in finished.rglob("*") if p.is_file()]
    own = [n for n in sorted(names) if n.parts[0] not in ("environment.json", "model")]
    for number in range(COUNT // 4):  # each is a start of training
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(finished, folder)
        path = folder / draw.choice(own)
        mutate(path, draw)
        state = path.parent / "state.json"
        if path.suffix == ".safetensors" and number % 2:  # a file that is not the one saved
            data = json.loads(state.read_text())
            data["files"][path.name] = file_hash(path)
            state.write_text(json.dumps(data))
        if tally(lambda: train(autoencoder_run(steps=1), folder) or True):
            assert all(
                map(
                    is_finite, read_tensors(folder / "model/autoencoder/model.safetensors").values()
                )
            )
            stored = checkpoint.newest(folder, Ranks())
            assert stored is not None
            assert all(map(is_finite, stored.weights.values()))
            assert not (tmp_path / "escaped").exists()


def test_latent_caches_with_broken_files_are_refused(tmp_path: Path, tally: Tally):
    draw, folder = random.Random(1), tmp_path / "cache"
    sizes = {"clip": (4, 8, 8), "factors": (2, 4, 4), "hidden": 4, "groups": 4, "z_channels": 2}
    encoder = parse(VolumeAutoencoderConfig, sizes).build().eval()
    source = SkyWorld(videos=3, plan=ClipPlan(frames=8, height=8, width=8))

    def build(place: Path) -> Any:
        return build_cache(place, source, encoder, CachePlan(), Ranks())

    build(tmp_path / "whole")
    for number in range(COUNT):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder)
        path = draw.choice(sorted(folder.iterdir()))
        mutate(path, draw)
        if path.suffix == ".safetensors" and number % 2:
            index = json.loads((folder / "index.json").read_text())
            index["shards"][0]["sha256"] = file_hash(path)
            (folder / "index.json").write_text(json.dumps(index))
        if (cache := tally(lambda: build(folder))) is not None:
            assert len(cache) > 0
            assert np.isfinite([cache.latent_scaling.shift, cache.latent_scaling.scale]).all()
            clip = cache[len(cache) - 1]
            assert clip.posterior.mean.shape == (1, *cache.shape)
            assert is_finite(clip.posterior.mean)
            assert is_finite(clip.posterior.log_variance)
            assert clip.label < max(1, len(cache.classes))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_caption_tables_with_broken_bytes_are_refused(suffix: str, tmp_path: Path, tally: Tally):
    draw, path, videos = random.Random(2), tmp_path / f"t.{suffix}", [tmp_path / "a.mp4"]
    rows = [{"file": f"{name}.mp4", "caption": f"{name}, \u00e4 sky"} for name in "abc"]
    lines = ["file,caption", *(f'{r["file"]},"{r["caption"]}"' for r in rows)]
    whole = "\n".join(map(json.dumps, rows) if suffix == "jsonl" else lines).encode()
    for _ in range(COUNT):
        path.write_bytes(torn(whole, draw))
        found = tally(lambda: CaptionTable(path=path).read(tmp_path, videos))
        assert found is None or all(isinstance(text, str) and text for text in found.values())


def test_exports_with_broken_listings_stay_in_their_folder(tmp_path: Path, tally: Tally):
    draw, out = random.Random(3), tmp_path / "in" / "out"
    world = SkyWorld(plan=ClipPlan(frames=2, height=8, width=8))
    export_world(world, out, videos=1, frames=2)
    precious = tmp_path / "in" / "a.mp4"
    precious.write_text("years")
    listing, line = out / "videos.jsonl", (out / "videos.jsonl").read_text()
    for _ in range(COUNT):
        data = changed(json.loads(line), draw)
        listing.write_text(json.dumps(data) if draw.randrange(2) else draw.choice(TEXTS))
        tally(lambda: read_export(out))
    for name in ("../a.mp4", str(precious)):
        listing.write_text(json.dumps({**json.loads(line), "file": name}))
        assert read_export(out) == []
        export_world(world, out, videos=1, frames=3, overwrite=True)
    assert precious.read_text() == "years"


def test_lines_of_a_log_that_are_broken_are_dropped(tmp_path: Path):
    lines = ['{"step": 1, "seconds": 2.5}', *TEXTS, '{"step": "1"}', '{"step": 2, "seconds": "x"}']
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    Log(tmp_path, first_step=2).close()
    kept = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in kept] == [1, 2]


def test_kept_videos_with_a_broken_note_are_refused(tmp_path: Path, tally: Tally):
    draw, whole = random.Random(4), {"videos": "0" * 16, "made": 3}
    for _ in range(COUNT):
        text = draw.choice([*TEXTS, json.dumps(changed(whole, draw))])
        (tmp_path / "kept.json").write_text(text)
        found = tally(lambda: _read_kept(tmp_path))
        assert found is None or isinstance(found, Kept)


def test_feature_caches_with_broken_bytes_are_computed_again(tmp_path: Path, tally: Tally):
    draw, cache, rows = random.Random(5), FeatureCache(folder=tmp_path), torch.rand(3, 8)
    cache.write("key", 0, rows)
    path = tmp_path / "key" / "00000.safetensors"
    whole = path.read_bytes()
    for _ in range(COUNT):
        path.write_bytes(torn(whole, draw))
        found = tally(lambda: cache.read("key", 0, 3, 8))
        assert found is None or torch.equal(found, rows)


def test_listings_of_prepared_footage_with_broken_values_stay_in_their_folder(
    tmp_path: Path, tally: Tally
):
    draw, out = random.Random(6), tmp_path / "in" / "out"
    scene = {"file": "b/a_0000.mp4", "first_frame": 0, "frames": 6, "sha256": "0" * 64}
    whole = {"source": "b/a.mkv", "fingerprint": "1" * 16, "frames": 6, "scenes": [scene]}
    names = ["", ".", "./", "..", "../out.mp4", "/etc/passwd", "b/../../out.mp4", "a\0b"]
    (out / "b").mkdir(parents=True)
    (tmp_path / "in" / "out.txt").write_text("years")
    (out / "own.mp4").write_text("years")
    for number in range(COUNT + len(names)):
        data = changed(whole, draw)
        if number < len(names):
            data = whole | {"scenes": [scene | {"file": names[number]}]}
        text = json.dumps(data) if number % 4 or number < len(names) else draw.choice(TEXTS)
        (out / "manifest.jsonl").write_text(text)
        for video in tally(lambda: read_manifest(out)) or []:
            assert number >= len(names)
            assert min(video.frames, video.dropped, video.unread) >= 0
            assert tally(lambda v=video: _kept(tmp_path, out, v)) in (False, None)
        _remove(out)
        assert [path.name for path in (tmp_path / "in").iterdir()] == ["out", "out.txt"]
        assert (out / "own.mp4").exists()


def test_plans_and_times_of_stages_with_broken_values_are_refused(tmp_path: Path, tally: Tally):
    draw = random.Random(7)
    stage = {"width": 8, "seconds": 9.5, "step": 0.1, "precisions": {"float32": 0.1}, "steps": 7}
    asked = {"system": "pvdm", "size": 16, "budget_seconds": 60, "given": "films", "denoisers": 1}
    footage = dict.fromkeys(("span", "videos", "clips", "held_out_clips", "validation_span"), 9)
    footage |= {"path": "films", "held_out": 0.1, "hours": 1.5, "unusable": 0}
    whole = {**asked, "footage": footage, "stages": {"autoencoder": stage}, "results": {}}
    assert parse(Plan, whole)
    for number in range(COUNT):
        data = whole if number % 2 else {"seconds": 7.5}
        text = draw.choice([*TEXTS, *[json.dumps(changed(data, draw))] * 40])
        (tmp_path / ("plan.yaml" if number % 2 else "time.json")).write_text(text)
        if number % 2:
            plan = tally(lambda: read_plan(tmp_path))
            assert plan is None or parse(Plan, to_dict(plan)) == plan
        else:
            spent = tally(lambda: seconds_spent(tmp_path))
            assert spent is None or 0 <= spent < math.inf


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
SLOW = [HealthCheck.too_slow]  # types are checked in tests
RUNS = {name: to_dict(parse(AnyRun, read(path))) for name, path in presets().items()}


@settings(max_examples=COUNT // 2, derandomize=True, deadline=None, suppress_health_check=SLOW)
@given(name=st.sampled_from(sorted(RUNS)), place=st.integers(0, 10**6), value=PLAIN)
def test_a_run_that_is_accepted_comes_back_equal(name: str, place: int, value: Any):
    data = json.loads(json.dumps(RUNS[name]))
    options = places(data)
    node, key = options[place % len(options)]
    node[key] = value
    with suppress(ConfigError):
        run = parse(AnyRun, data)
        assert parse(AnyRun, to_dict(run)) == run


def test_a_run_refused_for_its_base_model_leaves_no_folder(
    tiny_autoencoder_folder: Path, tmp_path: Path
):
    model = shutil.copytree(tiny_autoencoder_folder, tmp_path / "model")
    weights = model / "autoencoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    index = json.loads((model / "model_index.json").read_text())
    index["weights"]["autoencoder"] = file_hash(weights)
    (model / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="broken or truncated"):
        train(diffusion_run(model), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="broken or truncated"):
        VideoModel.from_pretrained(model)
