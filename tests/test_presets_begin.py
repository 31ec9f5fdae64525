"""Every preset can begin to train: with its footage and origins there, all parts of it fit."""

import shutil
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake import run_folder
from longtake.config import ConfigError
from longtake.data.ucf101 import CLASSES
from longtake.distributed import Ranks
from longtake.hub import shipped_models
from longtake.model import ModelIndex, VideoModel
from longtake.runs import (
    AutoencoderRun,
    Callbacks,
    DecoderRun,
    DiffusionRun,
    DistillationRun,
    presets,
    read_run,
)
from longtake.video import VideoWriter

FRAMES = 64


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with footage where presets look for it: one tiny video in each part of it."""
    root = tmp_path_factory.mktemp("presets")
    film, frames = root / "film.mp4", root / "frames"
    for path in (film, frames):
        with VideoWriter(path, 24) as writer:
            writer.write(np.zeros((FRAMES, 16, 16, 3), np.uint8))
    data = root / "data"
    for name in ("general/train/1.mp4", "general/held_out/1.mp4", "taichi/train/1.mp4"):
        _copy(film, data / name)
    _copy(film, data / "taichi/test/1.mp4")
    lists = data / "ucf101/ucfTrainTestlist"
    lists.mkdir(parents=True)
    names = [f"{name}/1.avi" for name in CLASSES]
    for name in names:
        _copy(film, data / "ucf101" / name)
    for split in ("train", "test"):
        (lists / f"{split}list01.txt").write_text("\n".join(names))
        shutil.copytree(frames, data / "sky_timelapse" / split / "VIDEO" / "CLIP")
    return root


def _copy(film: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(film, to)


@pytest.fixture(autouse=True)
def _in_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@cache
def opened(name: str) -> VideoModel:
    """A model that comes with longtake, or what the preset of a run makes, without weights."""
    if name in shipped_models():
        return VideoModel.from_pretrained(name)
    run = read_run(name.removeprefix("runs/"))
    if isinstance(run, AutoencoderRun):
        with torch.device("meta"):
            return untrained(run)
    assert isinstance(run, DiffusionRun)
    return begun(run)


def untrained(run: AutoencoderRun) -> VideoModel:
    index = ModelIndex(fps=run.data.fps, classes=run.data.classes)
    return VideoModel(index=index, autoencoder=run.autoencoder.build())


def begun(run: DiffusionRun) -> VideoModel:
    if run.init_from is not None:
        return run.begin(opened(run.model), run.initial_denoiser(opened(run.init_from)))
    with torch.device("meta"):  # weights of the papers' networks are gigabytes
        denoiser = run.initial_denoiser()
    return run.begin(opened(run.model), denoiser)


@pytest.mark.parametrize("name", sorted(presets()))
def test_a_preset_can_begin(name: str):
    run = read_run(name).settled()
    assert len(run.data) > 0
    if isinstance(run, AutoencoderRun):
        _save_origin(run.init_from)
        with torch.device("meta") if run.init_from is None else nullcontext():
            clip, plan = run.begin().autoencoder.spec.clip, run.data.plan
        assert clip[1:] in ((plan.height, plan.width), run.crop)
        assert clip[0] % plan.frames == 0
    elif isinstance(run, DecoderRun):
        _save_origin(run.init_from)
        run.begin(opened(run.model))
    elif isinstance(run, DistillationRun):
        run.model_copy(update={"teacher_backend": "torch"}).begin(opened(run.teacher))
    else:
        trained = begun(run).denoisers[run.roles[0]]
        assert any(weight.requires_grad for weight in trained.parameters())


ORIGINS = [
    (name, setting)
    for name in sorted(presets())
    for setting in ("model", "init_from", "teacher")
    if str(getattr(read_run(name), setting, None)).startswith("runs/")
]


@pytest.mark.parametrize(("name", "setting"), ORIGINS)
def test_a_preset_says_which_one_comes_before_it(
    name: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    run = read_run(name)
    origin = getattr(run, setting)
    with pytest.raises(ConfigError, match=f"^{setting}={origin}: no such folder; the preset"):
        run_folder.start(run, tmp_path / "run", Ranks(), Callbacks())
    assert not (tmp_path / "run").exists()


def _save_origin(name: str | None) -> None:
    """Save what the preset of a run makes, untrained, where its run would."""
    if name is None or not name.startswith("runs/") or Path(name).exists():
        return
    run = read_run(name.removeprefix("runs/"))
    if isinstance(run, AutoencoderRun):
        untrained(run).save_pretrained(name)
    else:
        assert isinstance(run, DecoderRun)
        model = VideoModel.from_pretrained(run.model)
        replace(model, denoisers={}, decoders={run.name: run.decoder.build()}).save_pretrained(name)
