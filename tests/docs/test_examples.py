"""The examples run, at toy size, and stay short."""

import runpy
import sys
from pathlib import Path

import pytest

from longtake.video import probe

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
