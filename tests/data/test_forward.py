"""Clips that are read in order are those that are read one by one."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.forward import read_ahead
from longtake.noise import generator
from longtake.video import VideoError, VideoWriter, frames_from, open_video

STARTS = [(0, 0), (0, 3), (0, 4), (0, 30), (0, 2), (1, 0), (1, 12), (0, 33), (2, 1), (2, 5)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films of different sizes with distant key frames, and a folder of frames."""
    folder = tmp_path_factory.mktemp("films")
    random = np.random.default_rng(0)
    for name, frames, height, width in (("a.mp4", 40, 36, 50), ("b.mkv", 20, 16, 16)):
        with VideoWriter(folder / name, 8.0, key_frames=15) as writer:
            writer.write(random.integers(255, size=(frames, height, width, 3), dtype=np.uint8))
    with VideoWriter(folder / "c", 8.0) as writer:
        writer.write(random.integers(255, size=(14, 20, 16, 3), dtype=np.uint8))
    return folder


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("crop", ["centre", "random"])
def test_clips_in_order_are_those_one_by_one(films: Path, stride: int, crop: str):
    plan = ClipPlan(frames=4, stride=stride, height=16, width=16, flip=True)
    source = VideoFolder(path=films, plan=plan, crop=crop)  # pyright: ignore[reportArgumentType]
    forward = source.forward()
    for video, start in STARTS:
        one, other = (s.clip(video, generator(0, start), start) for s in (source, forward))
        assert np.array_equal(one.frames, other.frames)
        assert (one.path, one.start_frame, one.fps) == (other.path, other.start_frame, other.fps)


def test_a_damaged_frame_is_an_error_of_its_clips_alone(films: Path, tmp_path: Path):
    data = bytearray((films / "b.mkv").read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "b.mkv").write_bytes(data)
    source = VideoFolder(path=tmp_path, plan=ClipPlan(frames=2, height=16, width=16))
    forward, faults = source.forward(), {}
    for name, each in (("one", source), ("other", forward)):
        faults[name] = []
        for start in range(0, 19, 2):
            try:
                each.clip(0, generator(0), start)
            except VideoError as error:
                faults[name].append((start, str(error)))
    assert faults["one"] == faults["other"] != []


@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "c"])
def test_frames_from_one_on_are_the_rest_of_the_video(films: Path, name: str):
    whole, _ = open_video(films / name)
    for start in (0, 7, len(whole) - 1):
        assert np.array_equal(np.stack([*frames_from(films / name, start)]), whole[start:])


def test_items_are_made_ahead_in_order_and_errors_come_where_they_were():
    made, waited = [], threading.Event()

    def items() -> Iterator[int]:
        for number in range(6):
            made.append(number)
            if number == 3:
                waited.set()
            if number == 5:
                raise VideoError("broken")
            yield number

    ahead = read_ahead(items(), 3)
    assert next(ahead) == 0
    assert waited.wait(5)
    assert [next(ahead) for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(VideoError, match="broken"):
        next(ahead)
    assert made == [*range(6)]
    assert [*read_ahead([], 3)] == []
