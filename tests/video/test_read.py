"""Reading is frame-exact in every container; faults are one sentence that names the file."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import HEIGHT, WIDTH, encode, film
from PIL import Image

from longtake.video import (
    VideoError,
    frame_seconds,
    open_video,
    probe,
    read_clip,
    stream_video,
)

LATE_TIMES_MS = [500 + 40 * n + 13 * (n % 3) for n in range(30)]
X264 = "keyint=6:min-keyint=6:bframes=3"
FILMS = {
    "h264_b.mp4": {"codec": "libx264", "pixels": "yuv420p", "options": {"x264-params": X264}},
    "h264_open.mp4": {
        "codec": "libx264",
        "pixels": "yuv420p",
        "options": {"x264-params": f"{X264}:open-gop=1"},
    },
    "h264_refresh.mp4": {
        "codec": "libx264",
        "pixels": "yuv420p",
        "options": {"x264-params": "keyint=6:intra-refresh=1"},
    },
    "h264_intra.mp4": {"codec": "libx264", "pixels": "yuv420p", "options": {"g": "1"}},
    "h264_late.mkv": {
        "codec": "libx264",
        "pixels": "yuv420p",
        "options": {"x264-params": X264},
        "times_ms": LATE_TIMES_MS,
    },
    "h264_uneven.mp4": {
        "codec": "libx264",
        "pixels": "yuv420p",
        "options": {"x264-params": X264},
        "times_ms": LATE_TIMES_MS,
    },
    "h264.avi": {"codec": "libx264", "pixels": "yuv420p", "options": {"x264-params": X264}},
    "h264.ts": {"codec": "libx264", "pixels": "yuv420p", "options": {"x264-params": X264}},
    "mpeg4_b.avi": {"codec": "mpeg4", "pixels": "yuv420p", "options": {"g": "8", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "pixels": "yuv420p", "options": {"g": "8", "bf": "2"}},
    "vp8.webm": {
        "codec": "libvpx",
        "pixels": "yuv420p",
        "options": {"g": "8", "auto-alt-ref": "1", "lag-in-frames": "8"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "pixels": "yuv420p", "options": {"g": "8"}},
    "ffv1.mkv": {"codec": "ffv1", "pixels": "bgr0"},
    "gif.gif": {"codec": "gif", "pixels": "rgb8"},
}


@pytest.fixture
def mp4(tmp_path: Path) -> Path:
    return encode(tmp_path / "film.mp4", film(), "libx264", "yuv420p", options={"g": "8"})


def damage(path: Path, frame: int) -> None:
    """Overwrite the first bytes of a frame of an mp4 file."""
    with av.open(path) as container:
        place = [packet.pos for packet in container.demux() if packet.size][frame]
    data = bytearray(path.read_bytes())
    assert place is not None
    data[place : place + 4] = b"\xff" * 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", FILMS)
def test_a_clip_is_a_slice_of_the_whole_whatever_its_start(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, film(20), **FILMS[name])
    whole, _ = open_video(path)
    assert len(whole) == probe(path).frames == 20
    for start in range(18):
        np.testing.assert_array_equal(read_clip(path, start, 3), whole[start : start + 3])


@pytest.mark.parametrize("name", ["h264_b.mp4", "ffv1.mkv", "mpeg4_b.avi"])
def test_frames_come_in_the_order_they_were_written(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, film(), **FILMS[name])
    whole = open_video(path)[0].astype(float)
    distance = np.abs(whole[:, None] - film()[None]).mean(axis=(2, 3, 4))
    assert list(distance.argmin(axis=1)) == list(range(30))


def test_a_stride_skips_frames(mp4: Path) -> None:
    np.testing.assert_array_equal(read_clip(mp4, 5, 6, stride=4), open_video(mp4)[0][5:29:4])


def test_a_stream_of_chunks_is_the_whole(mp4: Path) -> None:
    chunks = list(stream_video(mp4, chunk_frames=7))
    assert [len(chunk) for chunk in chunks] == [7, 7, 7, 7, 2]
    np.testing.assert_array_equal(np.concatenate(chunks), open_video(mp4)[0])


def test_a_clip_is_read_without_what_lies_before_its_key_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", film(), **FILMS["h264_intra.mp4"])
    whole, _ = open_video(path)
    damage(path, frame=3)
    np.testing.assert_array_equal(read_clip(path, 25, 4), whole[25:29])


def test_a_film_says_its_rate_size_and_length(mp4: Path) -> None:
    info = probe(mp4)
    assert (info.frames, info.fps, info.height, info.width) == (30, Fraction(24), HEIGHT, WIDTH)
    assert info.seconds == pytest.approx(30 / 24)
    assert not info.variable_rate


def test_a_varying_rate_is_reported_and_seconds_differ_from_frame_numbers(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mkv", film(), **FILMS["h264_late.mkv"])
    assert probe(path).variable_rate
    expected = (np.array(LATE_TIMES_MS) - LATE_TIMES_MS[0]) / 1000
    np.testing.assert_allclose(frame_seconds(path), expected, atol=1e-9)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_film_is_read_upright(tmp_path: Path, degrees: int) -> None:
    flat = encode(tmp_path / "flat.mp4", film(8), "libx264", "yuv420p")
    turned = encode(tmp_path / "turned.mp4", film(8), "libx264", "yuv420p", rotation=degrees)
    expected = np.rot90(open_video(flat)[0], degrees // 90, axes=(1, 2))
    np.testing.assert_array_equal(open_video(turned)[0], expected)
    assert (probe(turned).height, probe(turned).width) == expected.shape[1:3]


def test_a_folder_of_pictures_is_a_film_in_natural_order(tmp_path: Path) -> None:
    for number, frame in enumerate(film(12)):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    np.testing.assert_array_equal(open_video(tmp_path)[0], film(12))
    np.testing.assert_array_equal(read_clip(tmp_path, 9, 2, stride=2), film(12)[9:12:2])
    info = probe(tmp_path, folder_fps=6)
    assert (info.frames, info.fps, info.seconds) == (12, 6, 2.0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"none\.mp4: no such file"):
        probe(tmp_path / "none.mp4")


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"not a film at all" * 99, "not a video")]
)
def test_a_file_that_is_not_a_video_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    for read in (probe, open_video):
        with pytest.raises(VideoError, match=rf"film\.mp4: .*{reason}"):
            read(path)


@pytest.mark.parametrize("movflags", ["", "faststart"])
def test_a_truncated_mp4_is_reported_as_truncated(tmp_path: Path, movflags: str) -> None:
    path = tmp_path / "film.mp4"
    options = {"movflags": movflags} if movflags else {}
    encode(path, film(), "libx264", "yuv420p", container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for read in (probe, open_video, lambda p: read_clip(p, 28, 2), lambda p: [*stream_video(p)]):
        with pytest.raises(VideoError, match=r"film\.mp4: .*truncated"):
            read(path)


def test_a_broken_frame_amid_a_film_is_named(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", film(), **FILMS["h264_intra.mp4"])
    damage(path, frame=15)
    assert len(read_clip(path, 3, 10)) == 10
    for read in (open_video, lambda p: read_clip(p, 10, 8)):
        with pytest.raises(VideoError, match=r"film\.mp4: frame 15 is broken"):
            read(path)


def test_frames_past_the_end_are_refused_with_the_length(mp4: Path) -> None:
    with pytest.raises(VideoError, match="has 30 frames, but frames 28 to 31 were requested"):
        read_clip(mp4, 28, 4)


def test_a_changed_file_is_probed_again(mp4: Path) -> None:
    assert probe(mp4).frames == 30
    encode(mp4, film(9), "libx264", "yuv420p")
    assert probe(mp4).frames == 9
