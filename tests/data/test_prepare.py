"""Prepared footage: one file a scene, the same frames smaller, continued after a kill."""

import json
import os
import re
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from longtake.checkpoint import ExistsError, file_hash
from longtake.data import prepare as module
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.prepare import PrepareSettings, prepare, read_manifest
from longtake.data.scenes import CutFinder
from longtake.files import InUseError
from longtake.pipeline.footage import left_out
from longtake.video import VideoWriter, open_video, probe
from longtake.video.timeline import timeline

SETTINGS = PrepareSettings(size=8, format="mkv", shortest=4)


def scene(colour: int, frames: int, height: int = 16, width: int = 24) -> np.ndarray:
    """A gradient of one colour that moves a pixel a frame."""
    across = np.arange(width)[None, None, :, None] + np.arange(frames)[:, None, None, None]
    picture = np.broadcast_to(across % width * 2 + colour, (frames, height, width, 3))
    return picture.astype(np.uint8)


def write(path: Path, *scenes: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 10) as writer:
        for frames in scenes:
            writer.write(frames)
    return path


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    write(folder / "day" / "a.mkv", scene(10, 12), scene(180, 9), scene(10, 3), scene(100, 8))
    write(folder / "b.mkv", scene(50, 10))
    (folder / "b.txt").write_text("a hill\n")
    return folder


def content(folder: Path) -> dict[str, object]:
    """Frames of each video, text of other files; the manifest without hashes of files."""
    found: dict[str, object] = {}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".mkv":
            found[name] = open_video(path)[0].tobytes()
        else:
            found[name] = re.sub(r'"sha256": "\w+"', "", path.read_text())
    return found


def run(footage: Path, out: Path, **settings: object) -> list[module.PreparedVideo]:
    changed = SETTINGS.model_copy(update=settings)
    return prepare(footage, out, changed, processes=1)


def test_each_scene_is_a_file_with_its_source_and_frames(footage: Path, tmp_path: Path):
    _, day = run(footage, tmp_path / "data")
    assert [(s.file, s.first_frame, s.frames) for s in day.scenes] == [
        ("day/a.mkv.0000.mkv", 0, 12),
        ("day/a.mkv.0001.mkv", 12, 9),
        ("day/a.mkv.0002.mkv", 24, 8),
    ]
    assert (day.frames, day.dropped, day.fault) == (32, 3, "")
    assert [s.sha256 for s in day.scenes] == [
        file_hash(tmp_path / "data" / s.file) for s in day.scenes
    ]
    assert [*read_manifest(tmp_path / "data")][1] == day


@pytest.mark.slow
def test_two_processes_prepare_what_one_does(footage: Path, tmp_path: Path):
    run(footage, tmp_path / "one")
    prepare(footage, tmp_path / "two", SETTINGS, processes=2)
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_prepared_frames_are_those_of_the_source_made_smaller(footage: Path, tmp_path: Path):
    run(footage, tmp_path / "data")
    frames, fps = open_video(tmp_path / "data" / "day" / "a.mkv.0001.mkv")
    assert frames.shape == (9, 8, 12, 3)
    assert fps == 10
    folder = VideoFolder(path=footage, plan=ClipPlan(frames=9, height=8, width=12))
    whole = folder.read(1, 12, 9)
    assert np.abs(frames.mean((1, 2)) - whole.mean((1, 2))).max() < 2


def test_prepared_footage_is_a_source_like_any_other(footage: Path, tmp_path: Path):
    run(footage, tmp_path / "data")
    source = VideoFolder(path=tmp_path / "data", plan=ClipPlan(frames=8, height=8, width=8))
    assert [info.frames for info in source.infos()] == [10, 12, 9, 8]
    assert source.passed_over() == ()
    assert (tmp_path / "data" / "b.mkv.0000.txt").read_text() == "a hill\n"


def test_h264_has_key_frames_at_most_sixteen_frames_apart(tmp_path: Path):
    write(tmp_path / "footage" / "a.mkv", scene(10, 40))
    run(tmp_path / "footage", tmp_path / "data", format="mp4")
    line = timeline(tmp_path / "data" / "a.mkv.0000.mp4")
    assert line.ticks is not None
    keys = np.searchsorted(line.ticks, line.keys)
    assert keys[0] == 0
    assert np.diff([*keys, 40]).max() <= 16


def test_a_killed_preparation_ends_equal(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(footage, tmp_path / "whole")
    original = module.prepare_video

    def killed(name: str, *args: object, **kwargs: object) -> module.PreparedVideo:
        made = original(name, *args, **kwargs)  # pyright: ignore[reportArgumentType]
        if name.startswith("day"):
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(module, "prepare_video", killed)
    with pytest.raises(KeyboardInterrupt):
        run(footage, tmp_path / "data")
    monkeypatch.undo()
    calls: list[str] = []
    monkeypatch.setattr(
        module, "prepare_video", lambda n, **k: (calls.append(n), original(n, **k))[1]
    )
    run(footage, tmp_path / "data")
    assert calls == ["day/a.mkv"]
    assert content(tmp_path / "data") == content(tmp_path / "whole")


def test_a_changed_source_or_file_is_made_again(footage: Path, tmp_path: Path):
    out = tmp_path / "data"
    run(footage, out)
    before = content(out)
    (out / "b.mkv.0000.mkv").write_bytes(b"torn")
    run(footage, out)
    assert content(out) == before
    (footage / "b.mkv").unlink()
    write(footage / "b.mkv", scene(200, 10))
    run(footage, out)
    assert content(out)["b.mkv.0000.mkv"] != before["b.mkv.0000.mkv"]


@pytest.mark.parametrize("damaged", ["refuse", "keep"])
def test_damage_that_the_decoder_conceals_is_noticed_in_a_sandbox(tmp_path: Path, damaged: str):
    path = write(tmp_path / "footage" / "a.mkv", scene(10, 12))
    path.write_bytes(path.read_bytes()[:-20])
    out = tmp_path / "data"
    (video,) = run(path, out, sandbox=True, damaged=damaged)
    kept = damaged == "keep"
    assert video.fault.startswith("damaged (")
    assert [found.frames for found in video.scenes] == ([12] if kept else [])
    assert video.dropped == (0 if kept else 12)
    assert any(out.glob("*.mkv")) == kept
    assert not kept or open_video(out / video.scenes[0].file)[1] == 10


def test_a_changed_caption_is_copied_again(footage: Path, tmp_path: Path):
    run(footage, tmp_path / "data")
    (footage / "b.txt").write_text("a valley\n")
    run(footage, tmp_path / "data")
    assert (tmp_path / "data" / "b.mkv.0000.txt").read_text() == "a valley\n"


def test_no_scene_is_left_of_a_source_that_has_fewer(footage: Path, tmp_path: Path):
    run(footage, tmp_path / "data")
    (footage / "day" / "a.mkv").unlink()
    write(footage / "day" / "a.mkv", scene(10, 12))
    run(footage, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data" / "day").iterdir()] == ["a.mkv.0000.mkv"]


def test_two_processes_do_not_prepare_one_folder(footage: Path, tmp_path: Path):
    out = tmp_path / "data"
    run(footage, out)
    other = "import sys; from pathlib import Path; from longtake.files import locked\n"
    other += "with locked(Path('x'), Path(sys.argv[1])): print(flush=True), sys.stdin.read()"
    command = [sys.executable, "-c", other, str(out / module.LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(InUseError, match="is in use"):
            run(footage, out)
        process.communicate()
    run(footage, out)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_processes_end_with_the_one_that_started_them():
    context = get_context("fork")
    here, there = context.Pipe()

    def work() -> None:
        module._end_with_parent()
        here.close()
        there.send(os.getpid())
        time.sleep(600)

    def killed() -> None:
        context.Process(target=work).start()
        time.sleep(600)

    starter = context.Process(target=killed)
    starter.start()
    there.close()
    assert here.recv() != starter.pid
    starter.kill()
    with pytest.raises(EOFError):  # the last holder of the other end is gone
        here.recv()
    starter.join()


def test_damaged_files_are_counted_and_used_up_to_the_damage(footage: Path, tmp_path: Path):
    (footage / "c.mp4").write_bytes(b"not a video")
    frames = sorted(write(footage / "d", scene(10, 12)).iterdir())
    frames[7].write_bytes(frames[7].read_bytes()[:60])
    found = {video.source: video for video in run(footage, tmp_path / "data")}
    assert found["c.mp4"].fault
    assert found["c.mp4"].scenes == ()
    assert found["b.mkv"].fault == ""
    assert "after 0 frames" in found["d"].fault


def test_other_settings_or_files_are_not_replaced_unasked(footage: Path, tmp_path: Path):
    out = tmp_path / "data"
    run(footage, out)
    with pytest.raises(ExistsError, match="prepared with size=8"):
        run(footage, out, size=4)
    prepare(footage, out, SETTINGS.model_copy(update={"size": 4}), processes=1, overwrite=True)
    assert probe(out / "b.mkv.0000.mkv").height == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ExistsError, match="holds other files"):
        run(footage, tmp_path / "mine")


def test_no_frame_is_read_after_the_deadline(footage: Path, tmp_path: Path):
    late = prepare(footage, tmp_path / "data", SETTINGS, processes=1, deadline=0.0)
    assert {video.frames for video in late} == {0}
    assert all("the time limit was reached after 0 of" in video.fault for video in late)
    frames = sum(video.unread for video in late)
    assert frames == sum(video.frames for video in run(footage, tmp_path / "whole"))
    (line,) = left_out(late, 0.15)
    assert f"{frames} of {frames} frames, of 2 of 2 videos, are left out" in line


def test_a_training_says_which_videos_are_damaged(footage: Path, tmp_path: Path):
    (footage / "torn.mkv").write_bytes(b"no video")
    (line,) = left_out(run(footage, tmp_path / "data"), 0.15)
    assert line.startswith("torn.mkv: ")


def test_without_cuts_a_video_is_one_file(footage: Path, tmp_path: Path):
    found = run(footage, tmp_path / "data", cuts=False)
    assert [len(video.scenes) for video in found] == [1, 1]


def test_small_videos_are_not_enlarged(tmp_path: Path):
    write(tmp_path / "footage" / "a.mkv", scene(10, 8, 6, 10))
    run(tmp_path / "footage", tmp_path / "data")
    info = probe(tmp_path / "data" / "a.mkv.0000.mkv")
    assert (info.height, info.width) == (6, 10)


def cuts(frames: np.ndarray) -> list[int]:
    finder, found = CutFinder(), []
    for frame in frames:
        found += [*finder.push(frame)]
    found += [*finder.flush()]
    assert len(found) == len(frames)
    return [number for number, (_, cut) in enumerate(found) if cut]


def test_cuts_are_found_and_motion_and_fades_are_not():
    a, b = scene(10, 20), scene(150, 20)
    assert cuts(np.concatenate([a, b, a])) == [20, 40]
    assert cuts(a) == []
    fade = np.linspace(1, 0, 20)[:, None, None, None]
    assert cuts(np.concatenate([a, (fade * a + (1 - fade) * b).astype(np.uint8), b])) == []
    noise = np.random.default_rng(0).integers(0, 255, (30, 16, 24, 3), dtype=np.uint8)
    assert cuts(noise) == []


def test_the_manifest_survives_a_torn_line(footage: Path, tmp_path: Path):
    run(footage, tmp_path / "data")
    path = tmp_path / "data" / "manifest.jsonl"
    path.write_text(path.read_text() + json.dumps({"source": "x"})[:-3])
    assert len(read_manifest(tmp_path / "data")) == 2


@pytest.mark.parametrize("place", ["../mine.mkv", "day/../../mine.mkv", "{root}/mine.mkv"])
def test_a_manifest_cannot_name_files_outside_its_folder(footage: Path, tmp_path: Path, place: str):
    out, mine = tmp_path / "data", tmp_path / "mine.mkv"
    run(footage, out)
    mine.write_bytes(b"precious")
    manifest = out / "manifest.jsonl"
    line = json.loads(manifest.read_text().splitlines()[0])
    line["scenes"][0]["file"] = place.format(root=tmp_path)
    manifest.write_text(json.dumps(line) + "\n")
    assert read_manifest(out) == []
    prepare(footage, out, SETTINGS.model_copy(update={"size": 4}), processes=1, overwrite=True)
    assert mine.read_bytes() == b"precious"
