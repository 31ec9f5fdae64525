"""benchmarks/general_footage.py: videos out of photographs and films."""

from pathlib import Path
from types import ModuleType

import benchmark_scripts
import numpy as np
import pytest
from PIL import Image

from longtake.video import VideoWriter


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return benchmark_scripts.load("general_footage")


def _random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("size", [(64, 64), (300, 90)])
def test_a_camera_over_a_plain_photograph_shows_its_colour(benchmark, size: tuple[int, int]):
    photo = Image.new("RGB", size, (90, 120, 40))
    video = benchmark.camera(photo, _random(3))
    assert video.shape == (benchmark.FRAMES, 64, 64, 3)
    assert video.dtype == np.uint8
    assert (video == video[:, :1, :1]).all()


def test_a_camera_is_a_function_of_its_seed(benchmark):
    pixels = _random().integers(0, 255, (80, 100, 3), dtype=np.uint8)
    first, again, other = (
        benchmark.camera(Image.fromarray(pixels), _random(seed)) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_grey_video_in_other_colours_has_one_cast(benchmark):
    grey = _random().integers(115, 141, (4, 8, 8, 1), dtype=np.uint8).repeat(3, 3)
    video = benchmark.recoloured(grey, _random(2)).astype(int)
    cast = video - video[..., :1]
    assert np.abs(cast - cast[0, 0, 0]).max() <= 1  # rounding


def test_a_film_is_shown_at_every_scale_and_cut_into_pieces(benchmark, tmp_path: Path):
    frames = _random().integers(0, 255, (1, 96, 128, 3), dtype=np.uint8).repeat(60, 0)
    with VideoWriter(tmp_path / "film.mkv", 24) as writer:
        writer.write(frames)
    videos = [*benchmark.film_videos(tmp_path / "film.mkv", _random())]
    assert [len(v) for v in videos] == [40] * len(benchmark.SCALES) + [20] * len(benchmark.SCALES)
    assert all(video.shape[1:] == (64, 64, 3) for video in videos)


def test_no_film_is_both_trained_on_and_held_out(benchmark):
    names = [source.pattern for source in benchmark.FILMS]
    assert len({*names}) == len(names)
    assert not any("Megamind" in name for name in names)
