"""The option ``--decoder``: frames of its size, one sentence where a model has no such decoder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_decoder import LARGE

from longtake.model import VideoModel
from longtake.video import VideoWriter, probe, write_image


@pytest.fixture
def folder(tiny_model: VideoModel, tmp_path: Path) -> Path:
    model = replace(tiny_model, decoders={"large": LARGE.build()})
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_videos_have_the_size_of_the_decoder(longtake, folder: Path, tmp_path: Path):
    for decoder, size in (("full", 16), ("large", 32)):
        out = tmp_path / f"{decoder}.mp4"
        called = longtake("generate", folder, "--decoder", decoder, "--frames", 12, "-o", out)
        assert called.code == 0, called.err
        assert (probe(out).frames, probe(out).height, probe(out).width) == (12, size, size)


def test_given_frames_have_the_size_of_the_decoder(longtake, folder: Path, tmp_path: Path):
    write_image(tmp_path / "a.png", np.full((32, 32, 3), 90, np.uint8))
    out = tmp_path / "out.mkv"
    options = ["--start-image", tmp_path / "a.png", "--frames", 12, "-o", out]
    called = longtake("generate", folder, "--decoder", "large", *options)
    assert called.code == 0, called.err
    assert "a.png: 32x32 (height x width)" in called.out
    assert (probe(out).frames, probe(out).height) == (12, 32)


def test_a_video_is_reconstructed_at_the_size_of_the_decoder(
    longtake, folder: Path, tmp_path: Path
):
    with VideoWriter(tmp_path / "film.mkv", 8) as writer:
        writer.write(np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8))
    options = [tmp_path / "film.mkv", "-o", tmp_path / "out", "--decoder", "large"]
    called = longtake("reconstruct", folder, *options)
    assert called.code == 0, called.err
    made = probe(tmp_path / "out" / "film.mp4")
    assert (made.frames, made.height, made.width) == (12, 32, 64)


@pytest.mark.parametrize("command", ["generate", "reconstruct"])
def test_a_model_without_the_decoder_says_so(longtake, tiny_run_folder, tmp_path, command: str):
    film = tmp_path / "film.mkv"
    with VideoWriter(film, 8) as writer:
        writer.write(np.zeros((12, 16, 16, 3), np.uint8))
    given = [film] if command == "reconstruct" else []
    called = longtake(command, tiny_run_folder, *given, "--decoder", "light")
    assert called.code == 2
    assert "decoder 'light': this model has no such decoder; valid are full" in called.err
    assert "Traceback" not in called.err
