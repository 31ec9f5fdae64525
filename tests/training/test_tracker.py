"""Trackers get what the log and the previews have; a missing one is named before work begins."""

import importlib.util
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import autoencoder_run, log, train

from longtake.config import ConfigError, parse
from longtake.training.config import TrainingConfig
from longtake.training.tracker import TrackerName, check_tracker, open_tracker

TRACKERS = ["tensorboard", "wandb", "trackio"]


def tracked(name: str, folder: Path) -> Any:
    pytest.importorskip(name)
    train(autoencoder_run(steps=2, sample_every=2, tracker=name), folder)
    return log(folder)


def test_tensorboard_gets_values_and_videos(tmp_path: Path):
    lines = tracked("tensorboard", tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = [line["loss"] for line in lines if "loss" in line]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(logged)
    (image,) = events.Images("previews/00")
    assert (image.step, image.height, image.width) == (2, 16, 32)
    assert image.encoded_image_string[:4] == b"GIF8"


def test_wandb_gets_values_and_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracked("wandb", tmp_path)
    (videos,) = tmp_path.glob("wandb/offline-run-*/files/media/videos/previews")
    assert [path.suffix for path in videos.iterdir()] == [".mp4"]


def test_trackio_gets_values_and_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    lines = tracked("trackio", tmp_path / "run")
    (path,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(path) as base:
        rows = [json.loads(row) for (row,) in base.execute("SELECT metrics FROM metrics")]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses == pytest.approx([line["loss"] for line in lines if "loss" in line])
    assert any("previews/00" in row for row in rows)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_named_at_the_start(
    name: TrackerName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "longtake.training.tracker.find_spec", lambda n: None if n == name else found(n)
    )
    with pytest.raises(ValueError, match=rf"pip install 'longtake\[{name}\]'"):
        train(autoencoder_run(steps=1, tracker=name), tmp_path)
    with pytest.raises(ValueError, match=rf"pip install 'longtake\[{name}\]'"):
        open_tracker(name, tmp_path)  # a trainer of one's own, without a run
    assert not any(tmp_path.iterdir())
    check_tracker("none")


def test_the_former_field_is_read_and_answered():
    plain = {"steps": 1, "batch": 1}
    for former, name in ((True, "tensorboard"), (False, "none")):
        found = parse(TrainingConfig, {**plain, "tensorboard": former}, upgrade=True)
        assert found.tracker == name
    with pytest.raises(ConfigError, match="'tensorboard' is now called 'tracker'"):
        parse(TrainingConfig, {**plain, "tensorboard": True})
