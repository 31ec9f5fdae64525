"""The examples run, at toy size, and stay short."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from longtake.video import VideoWriter, probe

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_has_under_60_lines_and_says_how_to_run_it(path: Path):
    text = path.read_text()
    assert text.count("\n") < 60
    assert f"python examples/{path.name}" in text


def test_a_video_is_generated(monkeypatch, tiny_run_folder: Path, tmp_path: Path):
    out = tmp_path / "a.mp4"
    run(monkeypatch, "generate.py", "--model", tiny_run_folder, "--frames", 20, "--out", out)
    assert probe(out).frames == 20


def test_a_long_video_is_steered(monkeypatch, tiny_run_folder: Path, tmp_path: Path):
    out = tmp_path / "a.mp4"
    labels = ("--labels", "left", "right")
    tiny = ("--model", tiny_run_folder, "--frames", 40, "--out", out)
    run(monkeypatch, "steer_long_video.py", *tiny, *labels)
    assert probe(out).frames == 40


def test_an_own_sampler_makes_a_video(monkeypatch, tiny_run_folder: Path, tmp_path: Path):
    out = tmp_path / "a.mp4"
    tiny = ("--model", tiny_run_folder, "--frames", 8, "--out", out)
    run(monkeypatch, "custom_sampler.py", *tiny, "--steps", 2)
    assert probe(out).frames >= 8


def test_two_sources_are_compared(monkeypatch, capsys):
    settings = ("--protocol", "trial", "--changes", "frames=4", "--n", 4)
    run(monkeypatch, "evaluate_folder.py", "sky:test:16", "sky:train:16", *settings)
    assert "random_features_kd: " in capsys.readouterr().out


def test_a_video_is_enlarged(monkeypatch, tmp_path: Path):
    from PIL import Image, ImageSequence

    frames = np.stack([np.full((16, 16, 3), 40 * i, np.uint8) for i in range(6)])
    with VideoWriter(tmp_path / "a.mkv", 8) as writer:
        writer.write(frames)
    out = tmp_path / "a.webp"
    run(monkeypatch, "animate.py", tmp_path / "a.mkv", "--times", 2, "--out", out)
    with Image.open(out) as picture:
        assert [frame.size for frame in ImageSequence.all_frames(picture)] == [(32, 32)] * 6


def test_a_tiny_model_is_trained_and_sampled(monkeypatch, tmp_path: Path):
    short = ("steps=1", "cooldown_steps=0", "sample_every=0")
    changes = [f"training.{setting}" for setting in short]
    out = ("--out", tmp_path / "runs", "--frames", 12)
    run(monkeypatch, "train_tiny.py", *changes, "data.videos=2", *out)
    assert probe(tmp_path / "runs" / "video.mp4").frames >= 12
