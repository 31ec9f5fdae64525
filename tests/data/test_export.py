import json
import os
from pathlib import Path

import numpy as np
import pytest

from longtake.data import export
from longtake.data.clips import ClipPlan
from longtake.data.export import export_world, read_export
from longtake.data.synthetic.marbles import MarblesWorld
from longtake.video import open_video

WORLD = MarblesWorld(plan=ClipPlan(frames=4, height=16, width=16))


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}


def test_an_export_shows_the_world_and_says_what_it_shows(tmp_path: Path) -> None:
    done = export_world(WORLD, tmp_path, videos=3, frames=70, size=32)
    shown = MarblesWorld(plan=ClipPlan(frames=70, height=32, width=32))
    assert (tmp_path / "classes.txt").read_text().splitlines() == list(WORLD.classes)
    for index, entry in enumerate(done):
        clip = shown.video(index, 0, 70, shown.video_seed(index))
        frames, fps = open_video(tmp_path / entry.file)
        assert fps == shown.fps
        assert frames.shape == (70, 32, 32, 3)
        assert np.abs(frames.astype(float) - clip.frames).mean() < 6
        assert (entry.label, entry.caption) == (clip.label, clip.caption)
        caption = (tmp_path / entry.file).with_suffix(".txt").read_text()
        assert caption == f"{entry.caption}\n"


def test_an_export_continues_where_it_stopped_and_grows(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    export_world(WORLD, tmp_path, videos=2, frames=4)
    before = stamps(tmp_path)
    (tmp_path / "000001.mp4").unlink()
    with (tmp_path / "videos.jsonl").open("a") as listing:
        listing.write('{"file": "0000')
    done = export_world(
        WORLD, tmp_path, videos=3, frames=4, report=lambda *state: heard.append(state)
    )
    after = stamps(tmp_path)
    assert after["000000.mp4"] == before["000000.mp4"]
    assert sorted(after) == [entry.file for entry in done] == [f"{i:06d}.mp4" for i in range(3)]
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert read_export(tmp_path) == done


def test_a_stopped_export_ends_as_an_unstopped_one(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_world(WORLD, tmp_path / "a", videos=2, frames=4, report=stop)
    one = export_world(WORLD, tmp_path / "a", videos=2, frames=4)
    other = export_world(WORLD, tmp_path / "b", videos=2, frames=4)
    assert one == other
    names = [sorted(path.name for path in (tmp_path / folder).iterdir()) for folder in "ab"]
    assert names[0] == names[1]


@pytest.mark.parametrize("kill", ["replace", "fsync"])
def test_a_killed_export_lists_no_video_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: str
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if kill == "replace" else (os, "fsync")), killed)
        patch.setattr(export, "write_text", lambda path, text: path.write_text(text))
        with pytest.raises(KeyboardInterrupt):
            export_world(WORLD, tmp_path, videos=2, frames=4)
    done = export_world(WORLD, tmp_path, videos=2, frames=4)
    lines = (tmp_path / "videos.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["000000.mp4", "000001.mp4"]
    assert read_export(tmp_path) == done


def test_another_export_in_the_same_folder_is_refused_by_what_differs(tmp_path: Path) -> None:
    export_world(WORLD, tmp_path, videos=1, frames=4)
    with pytest.raises(ValueError, match=r"differs in world\.seed; choose another path"):
        export_world(MarblesWorld(plan=WORLD.plan, seed=1), tmp_path, videos=1, frames=4)


def test_overwrite_leaves_nothing_of_the_export_before(tmp_path: Path) -> None:
    export_world(WORLD, tmp_path, videos=3, frames=4)
    done = export_world(WORLD, tmp_path, videos=1, frames=6, overwrite=True)
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["000000.mp4"]
    assert [path.name for path in tmp_path.glob("0*.txt")] == ["000000.txt"]
    assert read_export(tmp_path) == done
    assert json.loads((tmp_path / "export.json").read_text())["frames"] == 6


@pytest.mark.parametrize("name", ["000000.mp4", "classes.txt", "videos.jsonl"])
def test_files_of_other_origin_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=r"choose another path or set overwrite=True"):
        export_world(WORLD, tmp_path, videos=1, frames=4)
    assert (tmp_path / name).read_text() == "mine"


def test_a_changed_video_is_not_taken_for_the_exported_one(tmp_path: Path) -> None:
    export_world(WORLD, tmp_path, videos=1, frames=4)
    (tmp_path / "000000.mp4").write_bytes(b"cut short")
    with pytest.raises(ValueError, match="or was changed"):
        export_world(WORLD, tmp_path, videos=1, frames=4)
    export_world(WORLD, tmp_path, videos=1, frames=4, overwrite=True)
    assert (tmp_path / "000000.mp4").stat().st_size > 100
