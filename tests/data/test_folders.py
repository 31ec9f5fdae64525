"""Clips of videos on disk: cut as planned, decided by the generator alone, faults named once."""

import importlib.util
import json
import logging
import os
import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from longtake.config import ConfigError, parse, to_dict
from longtake.data import captions as module
from longtake.data.captions import CaptionBeside, CaptionTable
from longtake.data.clips import ClipPlan, fit_frames
from longtake.data.fingerprint import fingerprints
from longtake.data.folders import SkyTimelapse, Taichi, VideoFolder, VideosOnDisk
from longtake.data.ucf101 import CLASSES, UCF101
from longtake.noise import generator
from longtake.video import VideoWriter, open_video

PLAN = ClipPlan(frames=4, height=16, width=16)
SPLITS = ("train", "test", "all")
LISTS = "ucfTrainTestlist"


def film(frames: int, height: int = 16, width: int = 24, seed: int = 0) -> np.ndarray:
    """Noise, so that every frame, place and side differs from every other."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def put(path: Path, frames: int = 8, **size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 10) as writer:
        writer.write(film(frames, **size))
    return path


def put_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/deep/two.mkv", "a/one.mkv", "a/frames/", "top.mkv"):
        put(tmp_path / name)
    return tmp_path


def names(source: VideosOnDisk) -> list[str]:
    clips = [source.clip(number, generator(0, number)) for number in range(len(source))]
    return [Path(clip.path).relative_to(source.path).as_posix() for clip in clips]


def test_videos_and_folders_of_frames_are_found_at_any_depth(folder: Path) -> None:
    source = VideoFolder(path=folder, plan=PLAN)
    assert names(source) == ["a/frames", "a/one.mkv", "b/deep/two.mkv", "top.mkv"]
    assert source.classes == ()


def test_hidden_and_partial_videos_are_left_out(folder: Path) -> None:
    for name in ("a/.hidden.mkv", "a/one.partial.mkv", ".cache/x.mkv", "a/more/"):
        put(folder / name)
    (folder / "a/more").rename(folder / "a/more.partial")
    assert len(VideoFolder(path=folder, plan=PLAN)) == 4


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(film(1)[0]).save(path)


def passed_over(source: VideosOnDisk) -> dict[str, str]:
    return {Path(p).relative_to(source.path).as_posix(): why for p, why in source.passed_over()}


def test_frames_stay_beside_previews_and_strays_which_are_named(folder: Path) -> None:
    put(folder / "a/frames/preview.gif")
    put(folder / "a/frames/preview.mp4")
    for name in ("a/frames/cover.jpg", "cover.jpg", "b/deep/poster.png", "b/raw.heic"):
        picture((folder / name).with_suffix(".png"))
        (folder / name).with_suffix(".png").rename(folder / name)
    source = VideoFolder(path=folder, plan=PLAN)
    assert names(source) == ["a/frames", "a/one.mkv", "b/deep/two.mkv", "top.mkv"]
    assert source.info(0).frames == 8
    assert source.rejected() == ()
    stray, beside = "not one of the frames", "image beside videos or folders"
    assert passed_over(source) == {
        "a/frames/cover.jpg": stray,
        "a/frames/preview.gif": stray,
        "a/frames/preview.mp4": stray,
        "b/deep/poster.png": beside,
        "b/raw.heic": "format is not read",
        "cover.jpg": beside,
    }


def test_thumbnails_do_not_hide_videos(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"{number}.mkv")
        picture(tmp_path / f"{number}.jpg")
        picture(tmp_path / f"still_{number}.jpg")
    source = VideoFolder(path=tmp_path, plan=PLAN)
    assert names(source) == ["0.mkv", "1.mkv", "2.mkv"]
    assert len(passed_over(source)) == 6


@pytest.mark.parametrize("stems", [("1", "2", "10"), ("a", "b", "c"), ("f1", "f2", "g3", "g4")])
def test_all_pictures_of_a_folder_of_their_own_are_frames(tmp_path: Path, stems) -> None:
    for stem in stems:
        picture(tmp_path / "deep" / f"{stem}.png")
    source = VideoFolder(path=tmp_path, plan=ClipPlan(frames=1))
    assert source.info(0).frames == len(stems)
    assert source.passed_over() == ()


@pytest.mark.parametrize("suffix", ["tif", "tiff", "ppm", "pgm", "jp2", "avif", "bmp"])
def test_frames_of_every_picture_format_are_read(tmp_path: Path, suffix: str) -> None:
    for number in range(2):
        grey = Image.fromarray(np.full((16, 16), 40 + 90 * number, np.uint8))
        grey.convert("L" if suffix == "pgm" else "RGB").save(tmp_path / f"{number}.{suffix}")
    source = VideoFolder(path=tmp_path, plan=ClipPlan(frames=2, height=16, width=16))
    frames = source.read(0, 0, 2)
    assert np.abs(frames.astype(int) - np.array([40, 130]).reshape(2, 1, 1, 1)).max() <= 2


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *((name, "mpeg2video") for name in ("mts", "m2ts", "vob", "mxf")),
        *(("3gp", "mpeg4"), ("ogv", "libtheora"), ("y4m", "rawvideo")),
    ],
)
def test_videos_of_every_container_are_read(tmp_path: Path, suffix: str, codec: str) -> None:
    formats = {"mts": "mpegts", "m2ts": "mpegts", "y4m": "yuv4mpegpipe", "ogv": "ogg"}
    path = tmp_path / f"film.{suffix}"
    if codec not in av.codecs_available:
        pytest.skip(f"{codec} cannot be written here")
    with av.open(path, "w", format=formats.get(suffix, suffix)) as container:
        stream = container.add_stream(codec, 25, width=64, height=64, pix_fmt="yuv420p")
        assert isinstance(stream, av.VideoStream)
        for shade in (40, 90, 140, 190):
            pixels = shade - 10 + film(1, 64, 64)[0] // 13  # large enough for FFmpeg to probe
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    source = VideoFolder(path=tmp_path, plan=ClipPlan(frames=4, height=64, width=64))
    assert source.info(0).frames == 4
    assert np.abs(source.read(0, 0, 4).mean((1, 2, 3)) - [40, 90, 140, 190]).max() < 6


def test_links_in_a_circle_are_followed_once(folder: Path) -> None:
    (folder / "a/loop").symlink_to(folder)
    assert len(VideoFolder(path=folder, plan=PLAN)) == 4


def test_a_source_that_is_opened_again_sees_what_changed(folder: Path) -> None:
    before = VideoFolder(path=folder, plan=PLAN)
    assert len(before) == 4
    put(folder / "new.mkv")
    (folder / "top.mkv").unlink()
    put(folder / "top.mkv", 3)
    after = VideoFolder(path=folder, plan=PLAN)
    assert names(after) == ["a/frames", "a/one.mkv", "b/deep/two.mkv", "new.mkv"]
    assert len(before) == 4


def test_a_folder_of_frames_may_be_the_source_itself(tmp_path: Path) -> None:
    source = VideoFolder(path=put(tmp_path / "frames"), plan=PLAN, frames_fps=12)
    assert len(source) == 1
    assert source.clip(0, generator(0)).fps == source.fps == 12


def test_a_clip_depends_on_its_number_and_generator_alone(folder: Path) -> None:
    plan = PLAN.model_copy(update={"flip": True})
    one = VideoFolder(path=folder, plan=plan, crop="random")
    other = VideoFolder(path=folder, plan=plan, crop="random")
    [one.clip(number, generator(9, number)) for number in (3, 0, 2)]
    for number in range(4):
        a, b = (source.clip(number, generator(5, number)) for source in (one, other))
        assert (a.path, a.start_frame) == (b.path, b.start_frame)
        np.testing.assert_array_equal(a.frames, b.frames)


def test_a_clip_is_the_frames_it_says_it_is(tmp_path: Path) -> None:
    path = put(tmp_path / "film.mkv", 20, height=16, width=16)
    whole, _ = open_video(path)
    source = VideoFolder(path=tmp_path, plan=PLAN.model_copy(update={"stride": 3}))
    for seed in range(8):
        clip = source.clip(0, generator(seed))
        taken = whole[clip.start_frame : clip.start_frame + 10 : 3]
        np.testing.assert_array_equal(clip.frames, taken)
        assert clip.fps == pytest.approx(10 / 3)


def test_random_starts_reach_every_start_and_fixed_ones_are_always_the_first(
    tmp_path: Path,
) -> None:
    put(tmp_path / "film.mkv", 7)
    drawn = VideoFolder(path=tmp_path, plan=PLAN)
    fixed = VideoFolder(path=tmp_path, plan=PLAN.model_copy(update={"start": "fixed"}))
    seeds = range(40)
    assert {drawn.clip(0, generator(seed)).start_frame for seed in seeds} == {0, 1, 2, 3}
    assert {fixed.clip(0, generator(seed)).start_frame for seed in seeds} == {0}


def test_a_flip_mirrors_about_every_second_clip_and_changes_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / "film.mkv", 12)
    straight = VideoFolder(path=tmp_path, plan=PLAN)
    flipping = VideoFolder(path=tmp_path, plan=PLAN.model_copy(update={"flip": True}))
    mirrored = 0
    for seed in range(40):
        a, b = (source.clip(0, generator(seed)) for source in (straight, flipping))
        assert a.start_frame == b.start_frame
        if np.array_equal(a.frames[:, :, ::-1], b.frames):
            mirrored += 1
        else:
            np.testing.assert_array_equal(a.frames, b.frames)
    assert 10 < mirrored < 30


def test_a_centre_crop_is_in_the_centre_and_random_ones_reach_both_sides(tmp_path: Path) -> None:
    whole, _ = open_video(put(tmp_path / "film.mkv", 4, height=16, width=24))
    crops = {
        kind: {
            next(
                left
                for left in range(9)
                if np.array_equal(whole[:, :, left : left + 16], clip.frames)
            )
            for clip in (source.clip(0, generator(seed)) for seed in range(60))
        }
        for kind, source in (
            ("centre", VideoFolder(path=tmp_path, plan=PLAN)),
            ("random", VideoFolder(path=tmp_path, plan=PLAN, crop="random")),
        )
    }
    assert crops == {"centre": {4}, "random": set(range(9))}


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (9, 13), (16, 16), (17, 16)])
def test_frames_of_any_size_fit(size: tuple[int, int]) -> None:
    assert fit_frames(film(2, *size), 16, 16).shape == (2, 16, 16, 3)


def test_shrinking_averages_and_keeps_flat_colour_flat() -> None:
    flat = np.full((1, 64, 64, 3), 77, np.uint8)
    assert (fit_frames(flat, 16, 16) == 77).all()
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 200
    inner = fit_frames(stripes, 16, 16)[:, 2:-2, 2:-2].astype(int)
    assert np.abs(inner - 100).max() <= 2


def test_class_folders_give_labels_where_asked(folder: Path) -> None:
    source = VideoFolder(path=folder, plan=PLAN, labels="folder")
    assert source.classes == ("a", "b")
    assert [source.clip(i, generator(i)).label for i in range(len(source))] == [0, 0, 1]
    fault = f"has no class: it lies in no folder below {folder}"
    assert source.rejected() == ((str(folder / "top.mkv"), fault),)


def test_captions_are_read_beside_videos_and_those_without_are_left_out(folder: Path) -> None:
    put_text(folder / "a/one.txt", "one wave\n")
    put_text(folder / "a/frames.txt", "still frames")
    source = VideoFolder(path=folder, plan=PLAN, captions=CaptionBeside())
    captions = [source.clip(number, generator(number)).caption for number in range(len(source))]
    assert captions == ["still frames", "one wave"]
    assert [reason for _, reason in source.rejected()] == ["has no caption"] * 2


ROWS = [{"file": "a/one.mkv", "caption": "one"}, {"file": "b/deep/two", "caption": "two, at sea"}]
TABLES = {
    "t.csv": 'file,caption\na/one.mkv,one\nb/deep/two,"two, at sea"\n',
    "t.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
}


@pytest.mark.parametrize("table", TABLES)
def test_captions_are_read_from_tables(folder: Path, table: str) -> None:
    put_text(folder / table, TABLES[table])
    source = VideoFolder(path=folder, plan=PLAN, captions=CaptionTable(path=Path(table)))
    captions = [source.clip(number, generator(number)).caption for number in range(len(source))]
    assert captions == ["one", "two, at sea"]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_a_greatest_length(folder: Path, table: str, monkeypatch) -> None:
    put_text(folder / table, TABLES[table])
    monkeypatch.setattr(module, "LONGEST_TABLE", 25)
    with pytest.raises(ValueError, match=r"t\..* [23]: names and captions take more than 25 ch"):
        len(VideoFolder(path=folder, plan=PLAN, captions=CaptionTable(path=Path(table))))


def test_captions_are_read_from_parquet(folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [*ROWS, {"file": "a/frames", "caption": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "t.parquet")
    table = CaptionTable(path=Path("t.parquet"))
    source = VideoFolder(path=folder, plan=PLAN, captions=table)
    assert [source.caption(number) for number in range(len(source))] == ["one", "two, at sea"]
    (folder / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"t\.parquet: not valid Parquet"):
        len(VideoFolder(path=folder, plan=PLAN, captions=table))


def test_a_wrong_column_is_named_with_the_nearest(folder: Path) -> None:
    put_text(folder / "t.csv", TABLES["t.csv"])
    table = CaptionTable(path=Path("t.csv"), caption_column="captoin")
    with pytest.raises(ValueError, match="no column 'captoin'; did you mean 'caption'"):
        len(VideoFolder(path=folder, plan=PLAN, captions=table))


def captions(folder: Path, table: str, text: str | bytes) -> list[str | None]:
    (folder / table).write_bytes(text.encode() if isinstance(text, str) else text)
    source = VideoFolder(path=folder, plan=PLAN, captions=CaptionTable(path=Path(table)))
    return [source.caption(number) for number in range(len(source))]


@pytest.mark.parametrize(
    ("table", "text", "fault"),
    [
        ("t.csv", "file,caption\n1\n", "line 2: has more or fewer fields than the header's 2"),
        ("t.csv", "file,caption\n1,a,b\n", "line 2: has more or fewer fields"),
        ("t.csv", 'file,caption\n1,"a\n', "not valid CSV after line 1"),
        ("t.csv", "file,caption\n1,a\n,b\n", "line 3: names no file for its caption"),
        ("t.csv", "file,caption\n1,na\u00efve\n".encode("latin-1"), "is not UTF-8 text"),
        ("t.jsonl", '{"file": "1", "caption": ["one", "uno"]}', "line 1: caption is a list"),
        ("t.jsonl", '{"file": null, "caption": "one"}', "line 1: names no file"),
        ("t.jsonl", '{"file": {"a": 1}, "caption": "one"}', "line 1: file is a dict"),
        ("t.jsonl", '{"file": "1", "caption": true}', "line 1: caption is a bool"),
        ("t.jsonl", "\n[1, 2]\n", "line 2: is a list, expected an object with columns"),
        ("t.jsonl", '{"file": "1"}', "line 1: there is no column 'caption'"),
        ("t.jsonl", "[" * 100_000, "line 1: lists and objects are nested deeper than 50 levels"),
    ],
)
def test_a_bad_row_of_a_table_is_named_with_its_file(
    folder: Path, table: str, text: str | bytes, fault: str
) -> None:
    with pytest.raises(ValueError, match=rf"/{re.escape(table)}: {re.escape(fault)}"):
        captions(folder, table, text)


def test_a_missing_table_is_named(folder: Path) -> None:
    table = CaptionTable(path=Path("none.csv"))
    with pytest.raises(ValueError, match=r"none\.csv: there is no such file of captions"):
        len(VideoFolder(path=folder, plan=PLAN, captions=table))


def test_numbers_are_names_and_a_byte_order_mark_and_long_fields_are_read(folder: Path) -> None:
    put(folder / "17.mkv")
    put(folder / "18.mkv")
    rows = '{"file": 17, "caption": 5}\n{"file": 18.0, "caption": "b"}\n{"file": "a/one.mkv", '
    assert captions(folder, "t.jsonl", b"\xef\xbb\xbf" + f'{rows}"caption": null}}'.encode()) == [
        "5",
        "b",
    ]
    long = "sea " * 50_000
    assert captions(folder, "t.csv", f"\ufefffile,caption\n17,{long}\n") == [long.strip()]


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is here")
def test_parquet_without_pyarrow_says_what_to_install(folder: Path) -> None:
    (folder / "t.parquet").touch()
    with pytest.raises(ValueError, match="pip install pyarrow"):
        len(VideoFolder(path=folder, captions=CaptionTable(path=Path("t.parquet"))))


def test_what_is_logged_of_a_name_that_is_not_utf_8_can_be_written(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_text(folder / os.fsdecode(b"caf\xe9.mp4"), "no video at all")
    with caplog.at_level(logging.WARNING, "longtake"):
        assert len(VideoFolder(path=folder, plan=PLAN)) == 4
    (text,) = (record.getMessage() for record in caplog.records)
    assert b"caf\\udce9.mp4: skipped" in text.encode()


def test_unusable_videos_are_logged_once_with_their_reason_and_skipped(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_text(folder / "broken.mp4", "no video at all")
    put(folder / "short.mkv", 3)
    put(folder / "shorter.mkv", 2)
    source = VideoFolder(path=folder, plan=PLAN)
    with caplog.at_level(logging.WARNING, "longtake"):
        assert [len(source), len(source), len(VideoFolder(path=folder, plan=PLAN))] == [4] * 3
    assert [record.getMessage().split(": skipped: ") for record in caplog.records] == [
        [str(folder / "broken.mp4"), "not a video, or its first bytes are broken"],
        [
            str(folder / "short.mkv"),
            "has 3 frames, a clip spans 4; videos too short as well: 1",
        ],
    ]
    assert dict(source.rejected())[str(folder / "shorter.mkv")] == "has 2 frames, a clip spans 4"
    assert dict(source.rejected())[str(folder / "short.mkv")] == "has 3 frames, a clip spans 4"


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no videos were found; looked for .*\.mp4.* below /"):
        len(VideoFolder(path=tmp_path))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none: no such folder"):
        len(VideoFolder(path=tmp_path / "none"))


def test_only_broken_videos_say_why(tmp_path: Path) -> None:
    put_text(tmp_path / "broken.mp4", "no video at all")
    with pytest.raises(ValueError, match=r"none of 1 videos can be used.*broken\.mp4: not a video"):
        len(VideoFolder(path=tmp_path))


def test_a_clip_longer_than_every_video_names_the_longest(folder: Path) -> None:
    put(folder / "longest.mkv", 11)
    put_text(folder / "broken.mp4", "no video at all")
    plan = ClipPlan(frames=4, stride=5)
    with pytest.raises(ValueError, match=r"spans 16 frames.*longest\.mkv, has 11; 1 video"):
        len(VideoFolder(path=folder, plan=plan))


def identity(folder: Path, **settings: object) -> str:
    source = VideoFolder(path=folder, **{"plan": PLAN, **settings})  # pyright: ignore[reportArgumentType]
    return json.dumps([source.identity(), source.contents()])


def test_the_identity_is_plain_and_changes_with_videos_plan_and_labels(folder: Path) -> None:
    first = identity(folder)
    assert first == identity(folder)
    assert first != identity(folder, plan=PLAN.model_copy(update={"stride": 2}))
    assert first != identity(folder, crop="random")
    put(folder / "new.mkv")
    assert first != identity(folder)


def test_the_identity_stays_when_files_are_touched_copied_and_captioned(folder: Path) -> None:
    for stem in ("a/one", "a/frames", "b/deep/two", "top"):
        put_text(folder / f"{stem}.txt", "one")
    settings = {"captions": CaptionBeside()}
    first = identity(folder, **settings)
    for path in (folder / "top.mkv", *sorted((folder / "a/frames").iterdir())):
        path.touch()
    put_text(folder / "top.txt", "two")
    assert identity(folder, **settings) == first
    copy = shutil.copytree(folder, folder.with_name(f"{folder.name}_copy"))
    assert identity(copy, **settings) == first
    (folder / "top.txt").unlink()
    assert identity(folder, **settings) != first


@pytest.mark.parametrize("suffix", ["bmp", "png", "tif"])
def test_frames_that_are_written_over_change_the_identity(tmp_path: Path, suffix: str) -> None:
    def write(seed: int) -> None:
        for number, frame in enumerate(film(5, 40, 60, seed)):
            Image.fromarray(frame).save(tmp_path / f"{number}.{suffix}")

    write(0)
    first = identity(tmp_path)
    write(1)
    assert identity(tmp_path) != first
    write(0)
    assert identity(tmp_path) == first


def test_a_file_is_recognised_by_what_it_holds_wherever_that_is(tmp_path: Path) -> None:
    path, content = tmp_path / "x.mp4", bytearray(5_000_000)
    found = []
    for place in (None, 0, 4_999_999, 1_000_000):
        changed = content.copy()
        if place is not None:
            changed[place : place + 400_000] = b"x" * len(changed[place : place + 400_000])
        path.write_bytes(changed)
        found.extend(fingerprints([path]))
    assert len(set(found)) == 4


def test_a_moved_data_set_keeps_its_identity(folder: Path, tmp_path: Path) -> None:
    old = VideoFolder(path=folder, plan=PLAN).identity()
    moved = folder.rename(tmp_path.with_name(f"{tmp_path.name}_moved"))
    assert VideoFolder(path=moved, plan=PLAN).identity() == old


def test_a_source_is_read_back_from_its_settings(folder: Path) -> None:
    source = VideoFolder(path=folder, plan=PLAN, captions=CaptionBeside())
    assert parse(VideoFolder, to_dict(source)) == source
    with pytest.raises(ConfigError, match="did you mean 'captions'"):
        parse(VideoFolder, {"path": "x", "caption": None})


@pytest.fixture(params=["UCF-101/ucfTrainTestlist", "ucfTrainTestlist"])
def ucf(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    root = tmp_path / "UCF-101"
    videos = ("Archery/v_1.avi", "Archery/v_2.avi", "Bowling/v_1.avi")
    for video in videos:
        put((root / video).with_suffix(".mkv")).rename(root / video)
    lists = tmp_path / request.param
    put_text(lists / "trainlist01.txt", "Archery/v_1.avi 1\nBowling/v_1.avi 2\n")
    put_text(lists / "testlist01.txt", "Archery/v_2.avi\nBowling/v_9.avi\n")
    put_text(lists / "trainlist02.txt", "Bowling/v_1.avi 2\n")
    return tmp_path


def test_ucf101_is_split_by_its_official_lists(ucf: Path) -> None:
    train = UCF101(path=ucf, plan=PLAN)
    assert names(train) == ["UCF-101/Archery/v_1.avi", "UCF-101/Bowling/v_1.avi"]
    assert [train.clip(i, generator(i)).label for i in range(2)] == [2, 15]
    assert train.classes == UCF101(path=ucf, plan=PLAN, split="test").classes == CLASSES
    assert len(UCF101(path=ucf, plan=PLAN, fold=2)) == 1
    assert len(UCF101(path=ucf, plan=PLAN, split="all")) == 3


def test_ucf101_classes_have_the_official_numbers(tmp_path: Path) -> None:
    numbers = {"Haircut": 34, "Hammering": 35, "HammerThrow": 36, "HandStandPushups": 37}
    numbers |= {"JumpingJack": 47, "JumpRope": 48, "YoYo": 101}  # of classInd.txt, from 1
    for name in numbers:
        put((tmp_path / name / "v_1.avi").with_suffix(".mkv")).rename(tmp_path / name / "v_1.avi")
    source = UCF101(path=tmp_path, plan=PLAN, split="all")
    assert len(CLASSES) == len({*CLASSES}) == 101
    assert list(CLASSES) == sorted(CLASSES, key=str.casefold)  # as the official table is
    assert source.classes == CLASSES
    assert {Path(source.title(n)).parent.name: source.label(n) for n in range(len(source))} == {
        name: number - 1 for name, number in numbers.items()
    }


def test_ucf101_classes_are_those_of_a_table_beside_the_videos(tmp_path: Path) -> None:
    for name in ("JumpRope", "YoYo"):
        put((tmp_path / name / "v_1.avi").with_suffix(".mkv")).rename(tmp_path / name / "v_1.avi")
    table = tmp_path / "ucfTrainTestlist/classInd.txt"
    put_text(table, "1 YoYo\r\n2 JumpRope\r\n")
    source = UCF101(path=tmp_path, plan=PLAN, split="all")
    assert (source.classes, source.label(0), source.label(1)) == (("YoYo", "JumpRope"), 1, 0)
    put_text(table, "1 YoYo\n")
    with pytest.raises(ValueError, match=r"classInd\.txt: lacks the class of the folder 'JumpRope"):
        len(UCF101(path=tmp_path, plan=PLAN, split="all"))


def test_a_folder_that_is_not_a_class_of_ucf101_is_refused(tmp_path: Path) -> None:
    put((tmp_path / "Jugglery/v_1.avi").with_suffix(".mkv")).rename(tmp_path / "Jugglery/v_1.avi")
    with pytest.raises(ValueError, match=r"table of UCF-101 lacks the class of the folder 'Jugg.*"):
        len(UCF101(path=tmp_path, plan=PLAN, split="all"))


def test_ucf101_may_be_opened_at_its_inner_folder(ucf: Path) -> None:
    assert len(UCF101(path=ucf / "UCF-101", plan=PLAN)) == 2


def test_ucf101_names_listed_videos_that_are_missing(ucf: Path) -> None:
    ((path, reason),) = UCF101(path=ucf, plan=PLAN, split="test").rejected()
    assert path.endswith("Bowling/v_9.avi")
    assert "official list" in reason


def test_ucf101_names_the_places_where_a_missing_list_should_be(ucf: Path) -> None:
    with pytest.raises(ValueError, match=rf"testlist03\.txt was not found in .*{LISTS}.*split=all"):
        len(UCF101(path=ucf, split="test", fold=3))


@pytest.mark.parametrize("test", ["test", "val"])
def test_sky_timelapse_is_split_into_folders_of_clips(tmp_path: Path, test: str) -> None:
    for clip in ("train/a/a_1", "train/a/a_2", "train/b/b_1", f"{test}/c/c_1"):
        put(tmp_path / clip)
    sizes = {split: len(SkyTimelapse(path=tmp_path, plan=PLAN, split=split)) for split in SPLITS}
    assert sizes == {"train": 3, "test": 1, "all": 4}
    assert SkyTimelapse(path=tmp_path, plan=PLAN).classes == ()


def test_sky_timelapse_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"looked for .*train/VIDEO/CLIP/FRAMES"):
        len(SkyTimelapse(path=tmp_path))


def test_taichi_is_every_mp4_of_a_split(tmp_path: Path) -> None:
    for video in ("train/x.mp4", "train/deep/y.mp4", "test/z.mp4"):
        put(tmp_path / video)
    sizes = {split: len(Taichi(path=tmp_path, plan=PLAN, split=split)) for split in SPLITS}
    assert sizes == {"train": 2, "test": 1, "all": 3}


def test_no_randomness_but_the_generators_is_used(folder: Path) -> None:
    before = torch.get_rng_state()
    VideoFolder(path=folder, plan=PLAN, crop="random").clip(0, generator(0))
    assert torch.equal(torch.get_rng_state(), before)
