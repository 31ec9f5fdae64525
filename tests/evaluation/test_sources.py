"""Sides give the clips that were asked for, and say what is wrong with their videos."""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from longtake.data.arrays import ArrayVideos, map_array
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.source import ClipPosition, VideoSource
from longtake.data.synthetic import SkyWorld, SyntheticSource
from longtake.data.views import MirroredVideos
from longtake.evaluation.feature_sets import EvaluationSettings, FeatureSets
from longtake.evaluation.opening import SYNTHETIC, open_videos
from longtake.evaluation.protocols import Protocol, protocol
from longtake.evaluation.selection import choose_clips, usable_videos
from longtake.video import VideoWriter, open_video

TRIAL = protocol("trial", ["frames=4"])


def film(frames: int, height: int = 16, width: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def put(path: Path, frames: int = 8, fps: float = 10, **size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps) as writer:
        writer.write(film(frames, **size))
    return path


def clips(number: int = 5, frames: int = 8) -> np.ndarray:
    return film(number * frames).reshape(number, frames, 16, 24, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.mkv", "b/c.mkv", "d.mkv", "frames/")):
        put(tmp_path / "videos" / name, seed=number)
    return tmp_path / "videos"


def side_of(folder: Path) -> VideoFolder:
    return VideoFolder(path=folder, plan=ClipPlan(frames=1))


def positions(
    side: VideoSource, count: int, seed: int = 0, draw: int = 0, of: Protocol = TRIAL
) -> list[ClipPosition]:
    found = usable_videos(side, of, "real")
    return choose_clips(found, count=count, seed=seed, draw=draw)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.safetensors", "packed.npz"])
def test_array_files_are_mapped_not_read(tmp_path: Path, name: str):
    path, array = tmp_path / name, clips()
    labels = np.arange(5)
    if name == "packed.npz":
        np.savez_compressed(path, arr_0=array, arr_1=labels)
    elif path.suffix == ".npz":
        np.savez(path, arr_0=array, arr_1=labels)
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        save_file({"clips": array, "labels": labels}, path)
    found = map_array(path)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, array)
    (clip,) = ArrayVideos(path).read_clips([ClipPosition(3, 2)], count=3, stride=2)
    assert np.array_equal(clip, array[3, 2:8:2])


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (clips().astype(np.float32), r"is float32 \(5, 8, 16, 24, 3\), expected uint8 \(N, T, H"),
        (clips().transpose(0, 1, 4, 2, 3), r"is uint8 \(5, 8, 3, 16, 24\), expected uint8"),
        (np.zeros(3, np.uint8), "holds 0 arrays of videos, expected one uint8"),
        (np.asfortranarray(clips()), "stored columns first"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path: Path, array: np.ndarray, fault: str):
    np.savez(tmp_path / "x.npz", array)
    with pytest.raises(ValueError, match=fault):
        map_array(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.safetensors"])
def test_a_torn_array_file_is_named(tmp_path: Path, name: str):
    whole = tmp_path / name
    if whole.suffix == ".npy":
        np.save(whole, clips())
    elif whole.suffix == ".npz":
        np.savez(whole, clips())
    else:
        save_file({"clips": clips()}, whole)
    whole.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(ValueError, match=f"{name}: broken or truncated array file"):
        map_array(whole)
    with pytest.raises(ValueError, match=r"none\.npy: no such file"):
        map_array(tmp_path / "none.npy")


def npy(header: str, data: bytes = bytes(48)) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': ('a', 1, 1, 1, 3)}"),
        npy("{'descr': '|u1', 'fortran_order': 0, 'shape': (1, 1, 4, 4, 3)}"),
        npy("{'descr': 5, 'fortran_order': False, 'shape': (1, 1, 4, 4, 3)}"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 4, 4, 3)}", bytes(47)),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 4, 4, 3)}", bytes(49)),
        npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({1 << 70}, 1, 4, 4, 3)}}"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 1, 4, -4, 3)}"),
        npy("(" * 9000),
        npy("-" * 9000 + "1"),
        npy("{" + "'a': 1, " * 3000 + "}"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    ],
)
def test_a_header_that_is_not_valid_is_refused_in_one_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(ValueError, match=rf"^/.*/{re.escape(name)}: ") as refused:
            map_array(tmp_path / name)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "U8", "shape": [1, 1, 4, 4, 3], "data_offsets": [-40, 8]}},
        {"x": {"dtype": "U8", "shape": [1, 1, 4, 4, 3], "data_offsets": [8, 56]}},
        {"x": {"dtype": "U8", "shape": [1, 1, "4", 4, 3], "data_offsets": [0, 48]}},
        {"x": 5},
        [1],
    ],
)
def test_pixels_that_are_not_where_a_header_says_are_refused(tmp_path: Path, header: object):
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(48)
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors: broken or truncated array file"):
        map_array(tmp_path / "x.safetensors")


@pytest.mark.parametrize("length", [1 << 62, 1 << 25])
def test_the_length_of_a_header_is_not_believed(tmp_path: Path, length: int):
    (tmp_path / "x.safetensors").write_bytes(length.to_bytes(8, "little") + b"[" * 100_000)
    with pytest.raises(ValueError, match=f"broken or truncated array file .a header of {length}"):
        map_array(tmp_path / "x.safetensors")


def test_an_archive_of_thousands_of_files_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(ValueError, match=r"holds 1001 files, expected at most 1000"):
        map_array(tmp_path / "x.npz")


def test_what_does_not_fit_on_the_disk_is_not_unpacked(tmp_path: Path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", clips())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(ValueError, match=r"arr_0\.npy is .* GB unpacked, .* GB are free"):
        map_array(tmp_path / "x.npz")


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"x\.npy: is not a regular file"):
        map_array(tmp_path / "x.npy")


def test_two_arrays_of_videos_in_one_file_are_one_too_many(tmp_path: Path):
    np.savez(tmp_path / "x.npz", a=clips(), b=clips())
    with pytest.raises(ValueError, match=r"holds 2 arrays of videos.*a\.npy"):
        map_array(tmp_path / "x.npz")


def test_clips_of_a_folder_are_the_frames_of_its_videos(folder: Path):
    side = side_of(folder)
    for pick, clip in zip(
        positions(side, 4), side.read_clips(positions(side, 4), 4, 1), strict=True
    ):
        whole, _ = open_video(side.title(pick.video))
        assert np.array_equal(clip, whole[pick.start_frame :][:4])


def test_the_seed_and_the_draw_decide_which_clips(folder: Path):
    side = side_of(folder)
    assert positions(side, 4) == positions(side_of(folder), 4)
    assert positions(side, 4)[:2] == positions(side, 2)
    many = SkyWorld(plan=ClipPlan(height=8, width=8))
    others = [positions(many, 8), positions(many, 8, seed=1), positions(many, 8, draw=1)]
    assert len({tuple(other) for other in others}) == 3


def test_each_video_gives_a_clip_before_any_gives_a_second(folder: Path):
    several = protocol("trial", ["frames=4", "clips_per_video=2", "real_start=first"])
    found = positions(side_of(folder), 8, of=several)
    assert sorted(pick.video for pick in found[:4]) == [0, 1, 2, 3]
    assert {pick.start_frame for pick in found[:4]} == {0}
    assert {pick.start_frame for pick in found[4:]} == {4}


def test_real_videos_are_the_first_in_sorted_order_where_the_protocol_says_so(folder: Path):
    ordered = protocol("trial", ["frames=4", "real_order=sorted"])
    assert [pick.video for pick in positions(side_of(folder), 3, of=ordered)] == [0, 1, 2]
    generated = usable_videos(side_of(folder), ordered, "generated")
    plain = usable_videos(side_of(folder), TRIAL, "generated")
    assert choose_clips(generated, count=4) == choose_clips(plain, count=4)


def test_a_protocol_may_take_fewer_real_clips_and_mirror_images(folder: Path):
    found = protocol("trial", ["frames=4", "real_order=sorted", "fewer=take", "mirror=true"])
    mirrored = MirroredVideos(side_of(folder))
    picks = positions(mirrored, 16, of=found)
    assert [pick.video for pick in picks] == list(range(8))
    clips = list(mirrored.read_clips([ClipPosition(1, 2), ClipPosition(5, 2)], 4, 1))
    assert np.array_equal(clips[0], clips[1][:, :, ::-1])
    assert mirrored.title(5) == mirrored.title(1)
    generated = usable_videos(side_of(folder), found, "generated")
    with pytest.raises(ValueError, match="4 videos give 4 clips, trial asks for 16"):
        choose_clips(generated, count=16)


def test_fewer_real_clips_are_measured(folder: Path):
    many = SkyWorld(plan=ClipPlan(height=16, width=24), videos=64)
    changes = ["frames=4", "fewer=take", "mirror=true", "rates=any", "treatment.size=8"]
    sets = FeatureSets(
        side_of(folder), many, protocol("trial", changes, n=12), EvaluationSettings()
    )
    assert (len(sets.real()), len(sets.generated())) == (8, 12)
    assert sets.no_floor


def test_fewer_clips_than_n_are_an_error(folder: Path):
    with pytest.raises(ValueError, match="videos: 4 videos give 4 clips, trial asks for 16; give"):
        positions(side_of(folder), 16)


def test_a_broken_video_is_reported_or_skipped_and_counted(folder: Path):
    (folder / "broken.mp4").write_bytes(b"not a video")
    with pytest.raises(
        ValueError, match=r"1 of 5 videos cannot be used, first .*broken\.mp4: not a v"
    ):
        usable_videos(side_of(folder), TRIAL, "real")
    skipping = protocol("trial", ["frames=4", "unfit=skip"])
    found = usable_videos(side_of(folder), skipping, "real")
    assert (len(found.videos), found.skipped) == (4, 1)


def test_a_short_video_is_reported(folder: Path):
    put(folder / "short.mkv", frames=5)
    strided = protocol("trial", ["frames=4", "real_stride=2"])
    with pytest.raises(ValueError, match=r"short\.mkv: has 5 frames, a clip spans 7; repair or"):
        usable_videos(side_of(folder), strided, "real")
    assert len(usable_videos(side_of(folder), strided, "generated").videos) == 5
    whole = protocol("trial", ["frames=4", "real_stride=2", "needs=strides"])
    with pytest.raises(ValueError, match="has 5 frames, a clip of trial needs 8"):
        usable_videos(side_of(folder), whole, "real")


@pytest.mark.parametrize("unfit", ["refuse", "skip"])
def test_where_no_video_fits_others_are_asked_for(folder: Path, unfit: str):
    long = protocol("trial", ["frames=400", f"unfit={unfit}"])
    with pytest.raises(ValueError, match=r"4 of 4 videos cannot be used, .*; give other videos$"):
        usable_videos(side_of(folder), long, "real")


def test_mixed_sizes_are_reported_unless_real_ones_are_resized(folder: Path):
    put(folder / "wide.mkv", width=32)
    with pytest.raises(ValueError, match=r"differ in size: .* 16 x 24, .*wide\.mkv has 16 x 32"):
        usable_videos(side_of(folder), TRIAL, "real")
    sized = protocol("trial", ["frames=4", "resolution=16"])
    assert usable_videos(side_of(folder), sized, "real").height is None
    with pytest.raises(ValueError, match="differ in size"):
        usable_videos(side_of(folder), sized, "generated")


def test_generated_frames_of_another_size_than_the_protocol_asks_for_are_refused(folder: Path):
    sized = protocol("trial", ["frames=4", "resolution=32"])
    with pytest.raises(ValueError, match="generated frames are 16 x 24, trial asks for 32 x 32"):
        usable_videos(side_of(folder), sized, "generated")


def test_mixed_rates_are_reported_unless_the_protocol_admits_any(folder: Path):
    put(folder / "fast.mkv", fps=25)
    with pytest.raises(ValueError, match=r"rates differ: .* has 10 frames/s, .*fast\.mkv 25"):
        usable_videos(side_of(folder), TRIAL, "real")
    any_rate = protocol("trial", ["frames=4", "rates=any"])
    assert usable_videos(side_of(folder), any_rate, "real").fps is None


def test_sets_without_a_video_in_common_need_twice_as_many(tmp_path: Path):
    np.save(tmp_path / "x.npy", clips(8))
    source = ArrayVideos(tmp_path / "x.npy")
    for n, without_floor in ((4, False), (5, True)):
        sets = FeatureSets(
            source, source, protocol("trial", ["frames=4"], n=n), EvaluationSettings()
        )
        assert bool(sets.no_floor) == without_floor


def test_a_copy_of_a_folder_has_its_contents_but_is_cached_apart(folder: Path, tmp_path: Path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    first, second = side_of(folder), side_of(copy)
    assert first.contents() == second.contents()
    put(copy / "more.mkv")
    assert first.contents() != side_of(copy).contents()


def test_a_worlds_clips_are_the_worlds_own():
    world = SkyWorld(plan=ClipPlan(height=8, width=8), split="test")
    (clip,) = world.read_clips([ClipPosition(3, 10)], count=4, stride=2)
    plan = ClipPlan(height=8, width=8, stride=2)
    strided = SkyWorld(plan=plan, split="test", videos=4)
    assert np.array_equal(clip, strided.video(3, 10, 4).frames)
    assert world.name == "sky:test:8x8"


@pytest.mark.parametrize("name", SYNTHETIC)
def test_the_name_of_a_synthetic_data_set_is_not_a_folder_of_that_name(
    tmp_path: Path, monkeypatch, caplog, name: str
):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / name / "a.mkv")
    assert isinstance(open_videos(name), SyntheticSource)
    assert f"not the file or folder of that name here, which is ./{name}" in caplog.text
    caplog.clear()
    assert isinstance(open_videos(f"./{name}"), VideoFolder)
    assert not caplog.text


def test_clips_that_are_not_taken_are_not_waited_for(folder: Path):
    side = side_of(folder)
    taken = side.read_clips([ClipPosition(0, 0)] * 200, 4, 1)
    assert next(iter(taken)).shape == (4, 16, 24, 3)
