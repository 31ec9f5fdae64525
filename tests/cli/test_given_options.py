"""Given frames on the command line: what comes out, and one sentence for what cannot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longtake.diffusion.signals.context_cases import AnyFrames
from longtake.model import VideoModel
from longtake.rollout import Autoregressive
from longtake.video import VideoWriter, open_video, write_image


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Images a.png and b.png, a video film.mkv of 6 frames at 8 per second."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    for name, frame in zip("ab", pixels, strict=False):
        write_image(tmp_path / f"{name}.png", frame)
    with VideoWriter(tmp_path / "film.mkv", 8) as writer:
        writer.write(pixels)
    return tmp_path


@pytest.mark.parametrize(
    ("option", "names", "frames"),
    [
        ("--start-image", ["a.png"], 12),
        ("--continue", ["film.mkv"], 12),
        ("--between", ["a.png", "b.png"], 4),
        ("--interpolate", ["film.mkv"], 16),
    ],
)
def test_given_frames_are_in_the_video(
    longtake, tiny_run_folder: Path, files: Path, option: str, names: list[str], frames: int
):
    given = [files / name for name in names]
    length = ["--frames", frames] if option in ("--start-image", "--continue") else []
    out = files / "out.mkv"
    called = longtake("generate", tiny_run_folder, option, *given, *length, "-o", out)
    assert called.code == 0, called.err
    assert all(f"{path}: 16x16 (height x width)" in called.out for path in given)
    assert called.out.splitlines()[-1].startswith(f"{out}: {frames} frames")
    made, fps = open_video(out)
    own = np.concatenate(
        [open_video(path)[0] for path in given if path.suffix == ".mkv"]
        or [open_picture(path) for path in given]
    )
    expected = made[::3] if option in ("--between", "--interpolate") else made[: len(own)]
    assert np.array_equal(expected, own)
    assert fps == (24 if option == "--interpolate" else 8)


@pytest.fixture
def masked_folder(tiny_model: VideoModel, tmp_path: Path) -> Path:
    """A model whose network was trained with any frames given."""
    sampling = tiny_model.index.sampling.model_copy(update={"rollout": Autoregressive()})
    cases = {"first": (AnyFrames(),)}
    index = tiny_model.index.model_copy(update={"sampling": sampling, "context_cases": cases})
    path = tmp_path / "masked"
    replace(tiny_model, index=index).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("options", "frames", "places"),
    [
        ("--end-image b.png", 7, {6: "b.png"}),
        ("--end-image b.png --frames 4", 4, {3: "b.png"}),
        ("--given 3:a.png", 8, {3: "a.png"}),
        ("--given 6:b.png --given 0-3:film.mkv", 8, {0: "film.mkv", 6: "b.png"}),
        ("--given 2:a.png --frames 5", 5, {2: "a.png"}),
    ],
)
def test_frames_are_given_at_places_of_one_clip(
    longtake, masked_folder: Path, files: Path, monkeypatch, options, frames, places
):
    monkeypatch.chdir(files)
    called = longtake("generate", masked_folder, *options.split(), "-o", "out.mkv")
    assert called.code == 0, called.err
    assert all(f"{name}: 16x16 (height x width)" in called.out for name in places.values())
    made, fps = open_video(Path("out.mkv"))
    assert (len(made), fps) == (frames, 8)
    for place, name in places.items():
        film = name.endswith("mkv")
        own = open_video(Path(name))[0][:4] if film else open_picture(Path(name))
        assert np.array_equal(made[place : place + len(own)], own)


def test_more_frames_than_a_clip_has_are_refused_where_they_lead_up_to_an_image(
    longtake, masked_folder: Path, files: Path
):
    options = ["--end-image", files / "b.png", "--frames", 8, "-o", files / "out.mkv"]
    called = longtake("generate", masked_folder, *options)
    assert called.code == 2
    assert "--frames 8 must be at most 7: given frames have their places in one clip" in called.err
    assert len(called.err.splitlines()) == 1


def test_a_loop_begins_with_the_given_frames_and_has_the_length_asked_for(
    longtake, tiny_run_folder: Path, files: Path
):
    out, film = files / "out.mkv", files / "film.mkv"
    options = ["--continue", film, "--loop", "--frames", 17, "-o", out]
    called = longtake("generate", tiny_run_folder, *options)
    assert called.code == 0, called.err
    made, _ = open_video(out)
    assert len(made) == 17
    assert np.array_equal(made[:6], open_video(film)[0])


def open_picture(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path))[None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--start-image a.png --continue film.mkv", "--start-image and --continue cannot be comb"),
        (
            "--end-image b.png",
            "was trained with only frames 4 to 5 of a clip of 6 given; train one",
        ),
        ("--end-image b.png --continue film.mkv", "--continue and --end-image cannot be combined"),
        ("--end-image b.png --loop", "--loop and --end-image cannot be combined: that video"),
        ("--given 2:a.png", "was trained with only frames 2 to 3 of a clip of 6 given; train one"),
        ("--given 2:a.png --start-image b.png", "--start-image and --given cannot be combined"),
        ("--given 2:a.png --loop", "--loop and --given cannot be combined; choose one"),
        ("--given a.png", "--given a.png: expected a place and a file, such as 8:a.png, or 8-11:"),
        ("--given 9:a.png", "given frames have the places 9 to 9, expected 0 to 5, those of one"),
        ("--given 4-2:film.mkv", "4-2: expected the place of an image, such as 8, or the first"),
        ("--given 0:a.png --given 0:b.png", "place 0 is given twice; give one file there"),
        ("--given 2:film.mkv", "film.mkv: not an image; expected a file that ends in"),
        ("--given 0-7:film.mkv", "film.mkv: 6 frames at 8 fps, expected 8 for the places 0 to 7"),
        ("--factor 3", "--factor 3 belongs to --interpolate VIDEO; give that too"),
        ("--interpolate film.mkv --factor 4", "fills 2 frames between two given ones, which is"),
        ("--between a.png b.png --frames 9", "2 given frames, 3 apart, make a video of 4; leave"),
        ("--start-image a.png --frames 1", "--frames 1 must be more than the 1 given frame with"),
        ("--continue film.mkv --frames 6", "--frames 6 must be more than the 6 given frames"),
        ("--loop --between a.png b.png", "--loop and --between cannot be combined: that video"),
        ("--loop --frames 9", "--frames 9 must be at least 10: 8 frames lead from the end back to"),
        ("--loop --continue film.mkv --frames 14", "--frames 14 must be more than the 6 given"),
        ("--start-image film.mkv", "film.mkv: not an image; expected a file that ends in"),
        ("--continue a.txt", "a.txt: no such file"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    longtake, tiny_run_folder: Path, files: Path, monkeypatch, options: str, message: str
):
    monkeypatch.chdir(files)
    called = longtake("generate", tiny_run_folder, *options.split(), "-o", "out.mp4")
    assert called.code == 2
    assert message in called.err
    assert len(called.err.splitlines()) == 1
    assert not Path("out.mp4").exists()
