"""A model as a side: its videos depend on their seeds alone, and are kept only where asked."""

import copy
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from longtake.autoencoders.base import VideoAutoencoder
from longtake.data.arrays import ArrayVideos
from longtake.data.cache_plan import CachePlan
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.latents import build_cache
from longtake.data.loader import Loader
from longtake.data.source import ClipPosition
from longtake.data.synthetic import MarblesWorld, SkyWorld
from longtake.data.views import TrainingClips
from longtake.diffusion import Denoiser
from longtake.distributed import Ranks
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.feature_sets import EvaluationSettings as Settings
from longtake.evaluation.opening import (
    SamplingSettings,
    open_sources,
    open_videos,
    world_of,
)
from longtake.evaluation.protocols import protocol
from longtake.evaluation.reconstruction import evaluate_reconstruction
from longtake.evaluation.result import Result
from longtake.model import VideoModel
from longtake.model_videos import ModelVideos, open_kept
from longtake.noise import generator
from longtake.video import open_video

PROTOCOL = protocol("trial", ["frames=8", "treatment.size=16", "network.width=4"], n=4)
ALONE = Ranks()


def side_of(model: VideoModel, **settings) -> ModelVideos:
    fixed = {"model_name": "tiny", "model": model, "sampling": model.index.sampling}
    return ModelVideos(**fixed, **{"videos": 4, "frames": 8, **settings})


def clips(side: ModelVideos, *videos: int) -> np.ndarray:
    return np.stack(list(side.read_clips([ClipPosition(video, 0) for video in videos], 8, 1)))


def test_a_video_depends_on_its_seed_alone(tiny_model: VideoModel):
    four = clips(side_of(tiny_model, batch=4), 0, 1, 2, 3)
    assert np.abs(clips(side_of(tiny_model, batch=1), 2, 1).astype(int) - four[[2, 1]]).max() <= 1
    later = side_of(tiny_model, first_seed=2, batch=2)
    assert np.abs(clips(later, 0, 1).astype(int) - four[2:]).max() <= 1
    assert (four[0] != four[1]).any()


def test_a_models_videos_are_those_that_generate_makes(tiny_model: VideoModel):
    parts = tiny_model.long_video()(tiny_model.request([0]), 8)
    whole = np.concatenate([part.frames[0] for part in parts])[:8]
    assert np.array_equal(clips(side_of(tiny_model), 0)[0], whole)


class Zeroed:
    """Runs copies of the networks whose weights are 0."""

    device: ClassVar[str] = "cpu"
    identity: ClassVar[Mapping[str, Any]] = {"kind": "zeroed"}

    def denoiser(self, network: Denoiser) -> Denoiser:
        return self._of(network)

    def autoencoder(self, network: VideoAutoencoder) -> VideoAutoencoder:
        return self._of(network)

    def _of(self, network: Any) -> Any:
        made = copy.deepcopy(network)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.zero_()
        return made


def test_videos_are_made_by_the_backend(tiny_model: VideoModel):
    assert np.ptp(clips(side_of(tiny_model), 0)) > 0
    assert np.ptp(clips(side_of(tiny_model, backend=Zeroed()), 0)) == 0


def test_levels_are_truncated_where_the_protocol_says_so(tiny_model: VideoModel):
    rounded, truncated = (
        clips(side_of(tiny_model, levels=levels), 0).astype(int) for levels in ("round", "truncate")
    )
    assert set(np.unique(rounded - truncated)) == {0, 1}


def test_kept_videos_are_those_that_were_judged(tiny_model: VideoModel, tmp_path: Path):
    keep = tmp_path / "kept"
    open_kept(side_of(tiny_model), keep)
    side = side_of(tiny_model, keep=keep)
    found = clips(side, 1)
    video, _ = open_video(keep / "seed_00001.mkv")
    assert np.array_equal(video, found[0])
    assert side.identity() != side_of(tiny_model).identity()
    open_kept(side_of(tiny_model), keep)
    with pytest.raises(ValueError, match="holds videos made with other settings"):
        open_kept(side_of(tiny_model, first_seed=9), keep)


def test_videos_are_not_kept_among_other_files(tiny_model: VideoModel, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty, and its files are not kept videos"):
        open_kept(side_of(tiny_model), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_what_changes_the_videos_changes_the_key(tiny_model: VideoModel):
    sides = [
        side_of(tiny_model),
        side_of(tiny_model, first_seed=1),
        side_of(tiny_model, label_words="wind, left"),
        side_of(tiny_model, levels="truncate"),
        side_of(tiny_model, frames=16),
    ]
    assert len({str(side.identity()) for side in sides}) == len(sides)


def test_a_model_is_measured_and_named_in_the_result(tiny_run_folder: Path):
    use = SamplingSettings(changes=["sampler.steps=1"], seed=2, batch=3)
    real, generated = open_sources(["sky:test", str(tiny_run_folder)], PROTOCOL, use, ALONE)
    result = evaluate(real, generated, PROTOCOL, ["fvd"], Settings())
    assert result.real is not None
    assert result.real.name == "sky:test:16x16"
    about = result.generated.about
    assert about["sampling"]["sampler"]["steps"] == 1
    assert about["averaged"] is True
    assert about["seeds"] == [8, 11]
    assert set(about["weights"]) == {"autoencoder", "denoiser", "interpolator"}


def test_a_model_of_a_world_is_measured_against_that_world(tiny_model: VideoModel, tmp_path: Path):
    assert world_of(SkyWorld().classes) == "sky"
    assert world_of(MarblesWorld().classes) == "marbles"
    assert world_of(("calm",)) is None
    tiny_model.save_pretrained(tmp_path / "run" / "model")
    with pytest.raises(ValueError, match="is not a model of a synthetic data set"):
        open_sources([str(tmp_path / "run")], PROTOCOL, SamplingSettings(), ALONE)
    (tmp_path / "run" / "config.yaml").write_text("data: {kind: marbles}\n")
    real, _ = open_sources([str(tmp_path / "run")], PROTOCOL, SamplingSettings(), ALONE)
    assert real is not None
    assert real.name == "marbles:test:16x16"


def test_names_are_sides_or_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((1, 1, 8, 8, 3), np.uint8))
    (tmp_path / "footage").mkdir()
    (tmp_path / "words.txt").write_text("none")
    assert isinstance(open_videos(str(tmp_path / "a.npy")), ArrayVideos)
    assert isinstance(open_videos(str(tmp_path / "footage")), VideoFolder)
    world = open_videos("marbles:test:24x32")
    assert isinstance(world, MarblesWorld)
    assert (world.info(0).height, world.info(0).width) == (24, 32)
    for name, fault in (
        ("sky:tset", "'tset' is neither a split"),
        ("ucf101:train", "names no folder"),
        (str(tmp_path / "words.txt"), "is not a source of videos"),
        ("lvdm-skyy", "no such file, folder, data set or model.*did you mean 'lvdm-sky'"),
    ):
        with pytest.raises(ValueError, match=fault):
            open_videos(name)
    with pytest.raises(ValueError, match="alone cannot be measured"):
        open_sources([str(tmp_path / "a.npy")], PROTOCOL, SamplingSettings(), ALONE)


def test_reconstructions_are_measured_against_their_own_originals(tiny_model: VideoModel):
    side = open_videos("sky:test:20")
    assert side is not None
    result = evaluate_reconstruction("tiny", tiny_model.autoencoder, side, PROTOCOL, Settings())
    assert list(result.scores) == ["random_features_rfd", "psnr", "frame_psnr", "ssim"]
    rfd = result.scores["random_features_rfd"]
    assert (rfd.floor, rfd.no_floor) == (None, "perfect reconstructions are at 0")
    assert rfd.interval_of == "RANDOM FEATURES RFD of 4 pairs"
    assert result.real is not None
    assert (result.real.height, result.real.width) == (16, 16)
    assert result.scores["ssim"].value < 1
    assert 0 < result.scores["psnr"].value < 40
    assert result.scores["psnr"].deviation is not None


def test_an_autoencoder_that_gives_back_all_has_no_distance(
    tiny_model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from longtake.evaluation import reconstruction

    monkeypatch.setattr(reconstruction, "reconstruct_frames", lambda _, frames, name: frames)
    side = open_videos("sky:test:16")
    assert side is not None
    result = evaluate_reconstruction("tiny", tiny_model.autoencoder, side, PROTOCOL, Settings())
    assert result.scores["random_features_rfd"].value == pytest.approx(0, abs=1e-5)
    assert result.scores["ssim"].value == pytest.approx(1)
    assert torch.tensor(result.scores["psnr"].value).isinf()
    assert result.scores["psnr"].deviation is None
    result.write(tmp_path / "a.json")
    assert Result.read(tmp_path / "a.json") == result


def test_the_interval_of_reconstructions_is_that_of_pairs(
    tiny_model: VideoModel, monkeypatch: pytest.MonkeyPatch
):
    """Originals and reconstructions are weighed alike, so near ones have a narrow interval."""
    from longtake.evaluation import reconstruction

    def nearly(_: object, frames: np.ndarray, name: str) -> np.ndarray:
        assert name
        return (frames // 2 * 2).astype(np.uint8)

    monkeypatch.setattr(reconstruction, "reconstruct_frames", nearly)
    side = open_videos("sky:test:16")
    assert side is not None
    work = (tiny_model.autoencoder, side, PROTOCOL, Settings())
    rfd = evaluate_reconstruction("tiny", *work).scores["random_features_rfd"]
    generated = open_videos("sky:train:16")
    assert generated is not None
    apart = evaluate(side, generated, PROTOCOL, ["fvd"], Settings()).scores["random_features_fd"]
    assert rfd.deviation is not None
    assert apart.deviation is not None
    assert rfd.deviation < apart.deviation / 10


def test_a_models_videos_are_training_clips(tiny_model: VideoModel, tmp_path: Path):
    """Another model can be trained on them, and the latents of its autoencoder be cached."""
    videos = side_of(tiny_model)
    source = TrainingClips(videos, ClipPlan(frames=4, height=16, width=16, flip=True))
    clip = source.clip(1, generator(0))
    whole = clips(videos, 1)[0]
    found = whole[clip.start_frame :][:4]
    assert any(np.array_equal(clip.frames, each) for each in (found, found[:, :, ::-1]))
    assert clip.path == "tiny, seed 1"
    assert clip.label == videos.label(1)
    (batch,) = islice(Loader(source=source, batch=2, seed=0).batches(), 1)
    assert batch.video.shape == (2, 3, 4, 16, 16)
    with pytest.raises(ValueError, match="shortest video has 8 frames, a clip spans 9"):
        TrainingClips(videos, ClipPlan(frames=9))
    long = TrainingClips(videos, ClipPlan(frames=8, height=16, width=16))
    cache = build_cache(tmp_path, long, tiny_model.autoencoder, CachePlan(), ALONE)
    assert len(cache) == len(videos)
    assert cache.classes == tiny_model.index.classes


def test_without_prompts_a_video_is_captioned_by_its_class(tiny_model: VideoModel):
    side = side_of(tiny_model, label_words="left")
    assert side.caption(2) == "wind, left"
    assert side_of(tiny_model, label_words="none").caption(2) is None
