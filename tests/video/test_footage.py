"""Footage as cameras, players and editors leave it: trimmed, turned, cut off, oddly named."""

import logging
import os
import shutil
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from films import encode, film
from PIL import Image

from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.video import (
    VideoError,
    VideoWriter,
    concatenate,
    frame_seconds,
    open_video,
    probe,
    read_clip,
    stream_video,
)

OPEN_GROUPS = {"x264-params": "keyint=12:min-keyint=12:bframes=3:open-gop=1"}
PLAYLISTS = {
    "concat.mp4": "ffconcat version 1.0\nfile 'inner.mp4'\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ninner.ts\n#EXT-X-ENDLIST\n",
    "drawing.mp4": '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9"/>',
}


def distinct(frames: int) -> np.ndarray:
    """A film whose frame n can be recognised after lossy coding: ``numbers`` reads n."""
    bits = (np.arange(frames)[:, None] >> np.arange(8)) & 1
    pixels = np.repeat(bits * 170 + 40, 8, axis=1)[:, None, :, None]
    return np.broadcast_to(pixels, (frames, 48, 64, 3)).astype(np.uint8)


def numbers(frames: np.ndarray) -> list[int]:
    bits = frames[:, 24, 4::8, 0] > 125
    return (bits @ (1 << np.arange(8))).tolist()


def numbered(path: Path, frames: int = 60, codec: str = "libx264", **how) -> Path:
    return encode(path, distinct(frames), codec, "yuv420p", **how)


def check_clips(path: Path, whole: Sequence[int]) -> None:
    """A clip is a slice of the whole, wherever it is, and the timeline agrees with both."""
    assert probe(path).frames == len(frame_seconds(path)) == len(whole)
    assert numbers(open_video(path)[0]) == whole
    assert numbers(np.concatenate([*stream_video(path, 7)])) == whole
    for start in (0, 1, len(whole) // 2, len(whole) - 3):
        assert numbers(read_clip(path, start, 3)) == whole[start : start + 3]


def trim(path: Path, edits: Sequence[tuple[int | None, int]]) -> Path:
    """Give an mp4 film of 24 frames a second the edit list of these pieces: first frame, frames."""
    with av.open(path) as container:
        tick = container.streams.video[0].time_base
    assert tick is not None
    step, data = round(1 / (24 * tick)), path.read_bytes()
    places = [data.index(name) - 4 for name in (b"moov", b"trak", b"edts", b"elst")]
    second = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    delay = struct.unpack_from(">i", data, places[3] + 20)[0]
    entries = b"".join(
        struct.pack(
            ">IiI", count * second // 24, -1 if first is None else delay + first * step, 1 << 16
        )
        for first, count in edits
    )
    end = places[3] + struct.unpack_from(">I", data, places[3])[0]
    head, grown = bytearray(data[: places[3] + 12]), 12 * len(edits) + 16 - (end - places[3])
    for place in places:
        size = struct.unpack_from(">I", head, place)[0]
        struct.pack_into(">I", head, place, size + grown)
    path.write_bytes(bytes(head) + struct.pack(">I", len(edits)) + entries + data[end:])
    return path


@pytest.mark.parametrize(
    ("edits", "whole"),
    [
        ([(0, 25)], [*range(25)]),
        ([(25, 35)], [*range(25, 60)]),
        ([(20, 20)], [*range(20, 40)]),
        ([(5, 10), (30, 10)], [*range(5, 15), *range(30, 40)]),
        ([(None, 12), (0, 20)], [*range(20)]),
    ],
)
def test_a_trimmed_film_has_the_frames_that_its_edit_list_shows(
    tmp_path: Path, edits: list[tuple[int | None, int]], whole: list[int]
) -> None:
    path = numbered(tmp_path / "film.mp4", options={"x264-params": "keyint=8:bframes=2"})
    check_clips(trim(path, edits), whole)


def test_a_message_that_vlc_wrote_without_its_first_byte_is_passed_over(tmp_path: Path) -> None:
    path = numbered(tmp_path / "film.mp4", options={"x264-params": "keyint=8:bframes=2"})
    data = path.read_bytes()
    at = data.index(b"\x06\x05\xff\xff")  # how x264 describes itself
    end = at + int.from_bytes(data[at - 4 : at], "big")
    path.write_bytes(data[:at] + data[at + 1 : end] + b"\x80" + data[end:])
    check_clips(path, [*range(60)])


@pytest.mark.parametrize("movflags", ["faststart", "frag_keyframe+empty_moov"])
@pytest.mark.parametrize("share", [0.8, 0.95])
def test_missing_bytes_are_truncation_whatever_the_edit_list(
    tmp_path: Path, movflags: str, share: float
) -> None:
    path = tmp_path / "film.mp4"
    numbered(path, options={"g": "8"}, container_options={"movflags": movflags})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for read in (probe, open_video):
        with pytest.raises(VideoError, match=r"film\.mp4: .*truncated"):
            read(path)


TURNED = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
"""Pixels as they are stored for each EXIF orientation."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_pictures_are_turned_as_their_orientation_says(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16], upright[16:, 32:, 1] = (250, 20, 20), 240
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](upright)))
    stored.save(tmp_path / f"0.{suffix}", exif=exif, quality=95, lossless=True)
    read = open_video(tmp_path)[0][0]
    assert (probe(tmp_path).height, probe(tmp_path).width) == read.shape[:2] == (32, 48)
    assert np.abs(read.astype(int) - upright).mean() < 3


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("0.png", {"dpi": (72, 144)}),
        ("0.jpg", {"dpi": (72, 144)}),
        ("0.bmp", {"dpi": (72, 144)}),
        ("0.tif", {"dpi": (72, 144)}),
        ("0.tiff", {"resolution_unit": 1, "x_resolution": 3, "y_resolution": 6}),
    ],
)
def test_pictures_whose_pixels_are_twice_as_wide_as_high_are_made_wider(
    tmp_path: Path, name: str, stated: dict[str, Any]
) -> None:
    wide = film(1, 32, 64)[0]
    stored = Image.fromarray(wide).resize((32, 32), Image.Resampling.BOX)
    stored.save(tmp_path / name, **stated)
    read = open_video(tmp_path)[0][0]
    assert (probe(tmp_path).height, probe(tmp_path).width) == read.shape[:2] == (32, 64)
    assert np.abs(read.astype(int) - wide).mean() < 6


def test_the_pixel_shape_of_a_picture_is_that_before_it_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(film(1, 32, 48)[0]).save(tmp_path / "0.jpg", exif=exif, dpi=(72, 144))
    assert (probe(tmp_path).height, probe(tmp_path).width) == (96, 32)
    assert open_video(tmp_path)[0][0].shape[:2] == (96, 32)


@pytest.mark.parametrize("dpi", [(300, 300), (72, 73), (1, 9000), (0, 72)])
def test_a_usual_an_absurd_and_an_unknown_resolution_leave_a_picture_as_it_is(
    tmp_path: Path, dpi: tuple[int, int]
) -> None:
    Image.fromarray(film(1, 32, 48)[0]).save(tmp_path / "0.png", dpi=dpi)
    assert open_video(tmp_path)[0][0].shape[:2] == (32, 48)


@pytest.mark.parametrize("orientation", [1, *TURNED])
def test_films_of_jpeg_pictures_are_turned_as_their_orientation_says(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = TURNED.get(orientation, lambda upright: upright)(film(1)[0])
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "0.jpg", exif=exif, quality=95)
    size = {"height": stored.shape[0], "width": stored.shape[1], "pix_fmt": "yuvj420p"}
    with av.open(tmp_path / "film.avi", "w") as container:
        stream = container.add_stream("mjpeg", rate=24, **size)
        for number in range(3):
            packet = Packet((tmp_path / "0.jpg").read_bytes())
            packet.stream, packet.is_keyframe = stream, True
            packet.pts = packet.dts = number
            packet.time_base = Fraction(1, 24)
            container.mux(packet)
    read = open_video(tmp_path / "film.avi")[0]
    assert read.shape == (3, *film(1)[0].shape)
    assert np.abs(read.astype(int) - film(1)).mean() < 3


def test_broken_exif_data_do_not_matter(tmp_path: Path) -> None:
    Image.fromarray(film(1)[0]).save(tmp_path / "0.png", exif=b"Exif\0\0neither MM nor II")
    np.testing.assert_array_equal(open_video(tmp_path)[0], film(1))


def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path) -> None:
    grey = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(grey).save(tmp_path / "0.png")
    np.testing.assert_array_equal(open_video(tmp_path)[0][0, :, :, 1], grey // 256)


@pytest.mark.parametrize("suffix", ["pgm", "ppm"])
def test_sixteen_bits_of_portable_maps_are_scaled(tmp_path: Path, suffix: str) -> None:
    grey = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    kind, pixels = (b"P5", grey) if suffix == "pgm" else (b"P6", np.repeat(grey[..., None], 3, 2))
    data = kind + b"\n32 32\n65535\n" + pixels.astype(">u2").tobytes()
    (tmp_path / f"0.{suffix}").write_bytes(data)
    assert np.abs(open_video(tmp_path)[0][0, :, :, 1] - grey / 256).max() < 1.5


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_32_bits_are_refused_by_name(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.ones((32, 32), kind)).save(tmp_path / "0.tif")
    with pytest.raises(VideoError, match=r"0\.tif: has pixels of 32 bits, expected 8 or 16"):
        open_video(tmp_path)


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        ((4, 3), (48, 85)),
        ((8, 9), (54, 64)),
        ((1, 2), (96, 64)),
        ((1280, 1281), (48, 64)),
        ((99, 1), (48, 64)),
    ],
)
@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_pixels_are_shown_square(
    tmp_path: Path, name: str, aspect: tuple[int, int], size: tuple[int, int]
) -> None:
    path = numbered(tmp_path / name, pixel_aspect=Fraction(*aspect))
    assert (probe(path).height, probe(path).width) == size
    whole = open_video(path)[0]
    assert whole.shape == (60, *size, 3)
    wanted = np.asarray(Image.fromarray(distinct(60)[44]).resize((size[1], size[0])))
    assert np.abs(whole[44].astype(int) - wanted).mean() < 5
    np.testing.assert_array_equal(read_clip(path, 30, 3), whole[30:33])


def test_pixels_of_a_turned_film_are_shown_square(tmp_path: Path) -> None:
    path = numbered(tmp_path / "film.mp4", 9, pixel_aspect=Fraction(4, 3), rotation=90)
    assert (probe(path).height, probe(path).width) == (85, 48)
    assert open_video(path)[0].shape == (9, 85, 48, 3)


NAMES = ["12:30:05.mp4", "clip:1.mp4", "http:/film.mp4", "sub:dir/film.mkv", "concat:a|b.gif", "%d"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_is_written_joined_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name if "." in name else f"{name}.mp4")
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, 24) as writer:
        writer.write(distinct(9))
    joined = path.with_name(f"joined:{path.name}")
    concatenate([path, path], joined)
    assert numbers(open_video(path)[0]) == [*range(9)]
    assert numbers(read_clip(joined, 7, 4)) == [7, 8, 0, 1]
    assert len(VideoFolder(path=Path(), plan=ClipPlan(frames=4))) == 2


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_file_cannot_make_the_reader_open_another(tmp_path: Path, name: str) -> None:
    for inner in ("inner.mp4", "inner.ts"):
        numbered(tmp_path / inner, 9)
    (tmp_path / name).write_text(PLAYLISTS[name])
    with pytest.raises(VideoError, match=rf"{name}: not a video"):
        probe(tmp_path / name)


def test_what_cannot_be_a_video_is_skipped_and_named(tmp_path: Path) -> None:
    numbered(tmp_path / "good.mp4", 9)
    unknown = numbered(tmp_path / "unknown.mp4", 9)
    unknown.write_bytes(unknown.read_bytes().replace(b"avc1", b"zzzz"))
    (tmp_path / "drawing.mp4").write_text(PLAYLISTS["drawing.mp4"])
    os.mkfifo(tmp_path / "pipe.mp4")
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    for folder in ("huge", "pipes"):
        (tmp_path / folder).mkdir()
    (tmp_path / "huge" / "0.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
            for chunk in (b"IHDR" + header, b"IDAT" + zlib.compress(bytes(99)))
        )
    )
    shutil.copy(tmp_path / "huge" / "0.png", tmp_path / "huge" / "1.png")
    os.mkfifo(tmp_path / "pipes" / "0.png")
    Image.fromarray(film(1)[0]).save(tmp_path / "pipes" / "1.png")
    with av.open(tmp_path / "latin.mkv", "w") as container:
        container.metadata["title"] = "caf"
        stream = container.add_stream("ffv1", rate=24, width=64, height=48, pix_fmt="bgr0")
        for frame in distinct(5):
            container.mux(stream.encode(VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    latin = (tmp_path / "latin.mkv").read_bytes()
    (tmp_path / "latin.mkv").write_bytes(latin.replace(b"caf", b"ca\xe9"))

    source = VideoFolder(path=tmp_path, plan=ClipPlan(frames=4))
    found = {Path(path).name: reason for path, reason in source.rejected()}
    assert [source.info(n).path.name for n in range(len(source))] == ["good.mp4", "latin.mkv"]
    assert found.keys() == {"unknown.mp4", "drawing.mp4", "pipe.mp4", "huge", "pipes"}
    assert "codec that FFmpeg does not know" in found["unknown.mp4"]
    assert "not a regular file" in found["pipe.mp4"]
    assert "not a regular file" in found["pipes"]
    assert "exceeds limit" in found["huge"]


def copy(source: Path, target: Path, first_group: int = 0, clock: Fraction | None = None) -> Path:
    """Copy packets into another container, from a group of pictures on, on another clock."""
    with av.open(source) as container, av.open(target, "w") as out:
        stream = container.streams.video[0]
        to, group, shift = out.add_stream_from_template(stream), -1, None
        if clock is not None:
            to.time_base = clock
        for packet in container.demux(stream):
            group += packet.is_keyframe
            if packet.pts is None or group < first_group:
                continue
            if packet.dts is None:  # Matroska has none for the first packets
                packet.dts = packet.pts - 200
            shift = packet.dts if shift is None else shift
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = to
            out.mux(packet)
    return target


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.ts"])
def test_footage_that_begins_mid_stream_is_read_from_its_first_whole_frame(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = numbered(tmp_path / f"source{name[3:]}", options=OPEN_GROUPS)
    path = copy(source, tmp_path / name, first_group=2)
    with caplog.at_level(logging.WARNING, "longtake"):
        first = numbers(open_video(path)[0])[0]
        assert 23 <= first <= 24
        check_clips(path, [*range(first, 60)])
    assert [record for record in caplog.records if str(path) in record.getMessage()] == []


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", "ts"), ("mpeg2video", "ts"), ("mpeg2video", "mpg")]
)
@pytest.mark.parametrize("ends", [(0.35, 0.8), (0.3, 0.77), (0, 0.66), (0.5, 1)])
def test_a_broadcast_with_its_ends_cut_off_is_read_between_them(
    tmp_path: Path,
    codec: str,
    suffix: str,
    ends: tuple[float, float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = OPEN_GROUPS if codec == "libx264" else {"g": "12", "bf": "2"}
    noise = np.random.default_rng(0).integers(-30, 30, (60, 48, 64, 1))
    frames = (distinct(60) + noise).astype(np.uint8)
    data = encode(tmp_path / f"film.{suffix}", frames, codec, "yuv420p", options=options)
    data = data.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[int(ends[0] * len(data)) : int(ends[1] * len(data))])
    with caplog.at_level(logging.WARNING, "longtake"):
        whole = numbers(open_video(path)[0])
        assert whole[:-3] == [*range(whole[0], whole[-4] + 1)]
        assert len(whole) >= 10
        if suffix == "ts":
            check_clips(path, whole)
    said = [record for record in caplog.records if "cut from longer footage" in record.getMessage()]
    assert len(said) <= 1


X265 = "log-level=none:keyint=4"


@pytest.mark.parametrize(
    ("codec", "options", "rows"),
    [
        ("libx265", {"x265-params": f"{X265}:bframes=0"}, 96),
        ("libx265", {"x265-params": f"{X265}:bframes=2"}, 96),
        ("libx265", {"x265-params": f"{X265}:bframes=0:slices=2:ctu=16"}, 96),
        ("libx264", {"g": "4", "bf": "2", "b_strategy": "0"}, 48),
        ("libx264", {"g": "4", "bf": "2", "x264-params": "cabac=0"}, 48),
        ("libx264", {"g": "4", "bf": "0", "x264-params": "interlaced=1"}, 48),
        ("mpeg2video", {"g": "4"}, 48),
    ],
)
def test_no_frame_of_a_recording_that_was_cut_lacks_a_part(
    tmp_path: Path, codec: str, options: dict[str, str], rows: int
) -> None:
    """Wherever it was cut; the decoders do not report every picture that lacks its end."""
    noise = np.random.default_rng(0).normal(0, 20, (10, rows, 64, 1))
    ramp = np.linspace(0, 200, 64)[:, None] + 5 * np.arange(10)[:, None, None, None]
    pixels = np.clip(ramp + noise, 0, 255).astype(np.uint8).repeat(3, axis=3)
    source, path = tmp_path / "film.ts", tmp_path / "cut.ts"
    data = encode(source, pixels, codec, "yuv420p", options=options).read_bytes()
    whole = {frame.tobytes() for frame in open_video(source)[0]}
    assert len(whole) == 10
    for lost in range(1, 34):
        path.write_bytes(data[: len(data) - 188 * lost])
        odd = {frame.tobytes() for frame in open_video(path)[0]} - whole
        assert len(odd) == 0, lost


def test_a_broadcast_that_is_broken_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = numbered(tmp_path / "film.ts", options={"g": "12"})
    data = path.read_bytes()
    middle = len(data) // 2 // 188 * 188
    path.write_bytes(data[:middle] + data[middle + 2 * 188 :])
    with pytest.raises(VideoError, match="broken"):
        open_video(path)


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "2"}, OPEN_GROUPS])
def test_recordings_joined_byte_by_byte_are_read_one_after_another(
    tmp_path: Path, options: dict[str, str]
) -> None:
    films = [
        numbered(tmp_path / f"{n}.ts", n, options={"g": "12", **options}) for n in (30, 31, 32)
    ]
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join(film.read_bytes() for film in films))
    check_clips(path, [*range(30), *range(31), *range(32)])
    info = probe(path)
    assert (info.fps, info.variable_rate) == (24, False)
    assert info.seconds == pytest.approx(93 / 24, abs=2e-3)


def test_no_frame_of_joined_recordings_lacks_a_part(tmp_path: Path) -> None:
    """Wherever the first recording ends: it is read up to a whole frame, or refused."""
    noise = np.random.default_rng(0).integers(-30, 30, (8, 48, 64, 1))
    options = {"g": "4", "bf": "0", "x264-params": "slices=3"}
    source, path = tmp_path / "film.ts", tmp_path / "all.ts"
    pixels = (distinct(8) + noise).astype(np.uint8)
    data = encode(source, pixels, "libx264", "yuv420p", options=options).read_bytes()
    whole, ends = open_video(source)[0], set()
    for lost in range(0, 24, 2):
        path.write_bytes(data[: len(data) - 188 * lost] + data)
        with suppress(VideoError):
            frames = open_video(path)[0]
            ends.add(end := len(frames) - 8)
            assert np.array_equal(frames, np.concatenate([whole[:end], whole]))
    assert len(ends) > 2


@pytest.mark.parametrize("clock", [600, 90_000])
def test_the_rate_of_an_avi_file_is_that_of_its_frames(tmp_path: Path, clock: int) -> None:
    source = numbered(tmp_path / "film.ts", options={"x264-params": "keyint=12:bframes=2"})
    path = copy(source, tmp_path / "film.avi", clock=Fraction(1, clock))
    info = probe(path)
    assert (info.frames, info.fps, info.rate_known) == (60, 24, True)
    assert info.seconds == pytest.approx(2.5, abs=1e-3)
    check_clips(path, [*range(60)])


@pytest.mark.parametrize(
    ("name", "rate"), [("film.flv", Fraction(30000, 1001)), ("film.mkv", 24), ("film.asf", 30)]
)
def test_a_clock_of_milliseconds_does_not_change_the_rate(
    tmp_path: Path, name: str, rate: Fraction
) -> None:
    times = [round(1000 * n / rate) for n in range(40)]
    path = encode(tmp_path / name, distinct(40), "libx264", "yuv420p", times_ms=times)
    for file in (path, copy(path, tmp_path / "copy.mov") if name == "film.flv" else path):
        info = probe(file)
        assert (info.fps, info.variable_rate) == (rate, False)
        assert info.seconds == pytest.approx(float(40 / rate), abs=2e-3)


def test_a_frame_an_hour_has_a_rate(tmp_path: Path) -> None:
    path = numbered(tmp_path / "film.mp4", 5)
    slow = encode(
        path, distinct(5), "libx264", "yuv420p", times_ms=[3_600_000 * n for n in range(5)]
    )
    info = probe(slow)
    assert info.fps == Fraction(1, 3600)
    assert info.seconds == pytest.approx(5 * 3600)


@pytest.mark.parametrize("name", ["film.ts", "film.mkv"])
def test_a_clock_that_jumps_changes_neither_frames_nor_rate(tmp_path: Path, name: str) -> None:
    source = numbered(tmp_path / f"source{name[4:]}", options={"g": "12", "bf": "0"})
    with av.open(source) as container, av.open(tmp_path / name, "w") as out:
        stream = container.streams.video[0]
        to = out.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in container.demux(stream) if p.pts is not None):
            assert packet.pts is not None
            assert packet.dts is not None
            assert packet.time_base is not None
            jump = int(1000 / packet.time_base) if number >= 36 else 0
            packet.pts, packet.dts, packet.stream = packet.pts + jump, packet.dts + jump, to
            out.mux(packet)
    check_clips(tmp_path / name, [*range(60)])
    info = probe(tmp_path / name)
    assert (info.fps, info.variable_rate) == (24, False)
    assert info.seconds == pytest.approx(2.5, abs=2e-3)


def test_a_crop_on_the_left_is_exact(tmp_path: Path) -> None:
    pixels = np.zeros((9, 64, 128, 3), np.uint8)
    pixels[:, :, 40:] = np.linspace(30, 220, 88)[:, None]
    options = {"x264-params": "crop-rect=40,0,0,0", "crf": "5"}
    path = encode(tmp_path / "film.mp4", pixels, "libx264", "yuv420p", options=options)
    read = open_video(path)[0]
    assert (probe(path).height, probe(path).width) == read.shape[1:3] == (64, 88)
    assert np.abs(read.astype(int) - pixels[:, :, 40:]).max() < 8


def test_a_cover_picture_is_not_the_film(tmp_path: Path) -> None:
    source, path = numbered(tmp_path / "film.mp4", 9), tmp_path / "cover.mp4"
    with av.open(source) as film_, av.open(path, "w") as out:
        cover = out.add_stream("mjpeg", rate=1, width=32, height=32, pix_fmt="yuvj420p")
        assert isinstance(cover, VideoStream)
        cover.disposition = Disposition.attached_pic
        to = out.add_stream_from_template(film_.streams.video[0])
        picture = VideoFrame.from_ndarray(film(1, 32, 32)[0], format="rgb24")
        out.mux(cover.encode(picture.reformat(format="yuvj420p")))
        out.mux(cover.encode())
        for packet in film_.demux(video=0):
            if packet.dts is not None:
                packet.stream = to
                out.mux(packet)
    check_clips(path, [*range(9)])


@pytest.mark.parametrize(("marked", "read"), [(None, [*range(9)]), (0, [0] * 9)])
def test_of_several_films_in_a_file_the_one_that_ffmpeg_takes_is_read(
    tmp_path: Path, marked: int | None, read: list[int]
) -> None:
    path, films = tmp_path / "film.mkv", [distinct(9)[:, :32], distinct(9)]
    films[0] = np.broadcast_to(films[0][:1], films[0].shape)
    with av.open(path, "w") as out:
        streams = []
        for number, frames in enumerate(films):
            stream = out.add_stream("libx264", rate=24, pix_fmt="yuv420p")
            assert isinstance(stream, VideoStream)
            stream.height, stream.width = frames.shape[1:3]
            stream.disposition = Disposition.default if number == marked else Disposition(0)
            streams.append(stream)
        for frames, stream in zip(films, streams, strict=True):
            for frame in frames:
                out.mux(stream.encode(VideoFrame.from_ndarray(frame, format="rgb24")))
            out.mux(stream.encode())
    assert (probe(path).height, numbers(open_video(path)[0])) == (32 if marked == 0 else 48, read)
