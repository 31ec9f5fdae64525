"""Footage is split into two halves that share no frame, whatever clips are cut from it."""

from pathlib import Path

import numpy as np
import pytest

from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.noise import generator
from longtake.video import VideoWriter


def footage(folder: Path, videos: int, frames: int) -> Path:
    folder.mkdir()
    for number in range(videos):
        with VideoWriter(folder / f"{number:02d}.mkv", 8) as writer:
            levels = np.arange(frames, dtype=np.uint8)[:, None, None, None] + np.uint8(number)
            writer.write(np.broadcast_to(levels, (frames, 2, 2, 3)).copy())
    return folder


def half(path: Path, split: str, frames: int = 1) -> VideoFolder:
    return VideoFolder(path=path, split=split, plan=ClipPlan(frames=frames, height=2, width=2))  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return footage(tmp_path_factory.mktemp("few") / "videos", 2, 200)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return footage(tmp_path_factory.mktemp("many") / "videos", 20, 2)


def test_of_few_videos_the_end_of_each_is_held_out(few: Path):
    train, validation = half(few, "train"), half(few, "validation")
    assert [info.frames for info in train.infos()] == [180, 180]
    assert [info.frames for info in validation.infos()] == [20, 20]
    assert train.read(1, 0, 180)[:, 0, 0, 0].tolist() == [*range(1, 181)]
    assert validation.read(1, 0, 2)[:, 0, 0, 0].tolist() == [181, 182]
    clip = half(few, "validation", 20).clip(0, generator(0))
    assert clip.frames[:, 0, 0, 0].tolist() == [*range(180, 200)]


def test_of_few_short_videos_whole_ones_are_held_out(tmp_path: Path):
    path = footage(tmp_path / "videos", 2, 20)
    train, validation = half(path, "train"), half(path, "validation")
    assert [info.frames for info in train.infos()] == [20]
    assert [info.frames for info in validation.infos()] == [20]


def test_of_many_videos_whole_ones_are_held_out(many: Path):
    train, validation = half(many, "train"), half(many, "validation")
    assert (len(train), len(validation)) == (18, 2)
    names = {info.path for source in (train, validation) for info in source.infos()}
    assert len(names) == 20


def test_the_split_does_not_depend_on_the_plan(few: Path):
    long = half(few, "train", 180)
    assert [info.frames for info in long.infos()] == [180, 180]
    with pytest.raises(ValueError, match="spans 21 frames"):
        len(half(few, "validation", 21))


def test_each_half_has_its_own_identity_and_all_keeps_the_former_one(few: Path):
    halves = [half(few, split).identity() for split in ("all", "train", "validation")]
    assert halves[0] != halves[1] != halves[2]
    assert "split" not in halves[0]
    assert half(few, "train").name == "videos:train"
    assert half(few, "all").name == "videos"


def test_a_copy_of_the_folder_is_split_alike(many: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in many.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    held = [{i.path.name for i in half(root, "validation").infos()} for root in (many, copy)]
    assert held[0] == held[1]
