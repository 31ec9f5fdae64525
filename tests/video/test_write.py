"""What is written is what is read; files are whole or visibly partial; nothing is overwritten."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import film

from longtake.checkpoint import ExistsError
from longtake.video import VideoError, VideoWriter, concatenate, open_video, probe, read_clip
from longtake.video.files import cannot_write

RATES = [8.0, 12.5, 24, Fraction(30000, 1001)]
KILLED = """
import sys, os, signal
sys.path.insert(0, {tests!r})
from films import film
from longtake.video import VideoWriter
writer = VideoWriter({path!r}, 24)
for _ in range(8):
    writer.write(film())
os.kill(os.getpid(), signal.SIGKILL)
"""


def write(path: Path, frames: np.ndarray, fps: Fraction | float | int = 24, chunk: int = 7) -> Path:
    with VideoWriter(path, fps) as writer:
        for first in range(0, len(frames), chunk):
            writer.write(frames[first : first + chunk])
    return path


@pytest.mark.parametrize("name", ["film.mkv", "film", "film.png"])
def test_lossless_kinds_give_back_every_bit(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 17, 33, 3), dtype=np.uint8)
    np.testing.assert_array_equal(open_video(write(tmp_path / name, noise))[0], noise)


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.gif"])
def test_lossy_kinds_are_close(tmp_path: Path, name: str) -> None:
    again, _ = open_video(write(tmp_path / name, film()))
    assert again.shape == film().shape
    assert np.abs(again.astype(float) - film()).mean() < 3


@pytest.mark.parametrize("colour", [(250, 20, 100), (20, 200, 30), (10, 30, 240)])
def test_colours_are_kept_by_mp4(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    frames = np.full((4, 32, 32, 3), colour, np.uint8)
    again, _ = open_video(write(tmp_path / "film.mp4", frames))
    assert np.abs(again.astype(int) - frames).max() <= 4


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_rate_is_kept(tmp_path: Path, fps: float, suffix: str) -> None:
    info = probe(write(tmp_path / f"film.{suffix}", film(25), fps))
    assert info.fps == Fraction(fps)
    assert info.seconds == pytest.approx(25 / fps, abs=2e-3)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_video_begins_at_time_zero_and_shows_each_frame_as_long(
    tmp_path: Path, fps: float, suffix: str
) -> None:
    parts = [write(tmp_path / f"{n}.{suffix}", film(n), fps) for n in (25, 5)]
    concatenate(parts, tmp_path / f"all.{suffix}")
    for name, count in (("25", 25), ("all", 30)):
        with av.open(str(tmp_path / f"{name}.{suffix}")) as container:
            times = [frame.time for frame in container.decode(video=0)]
            assert times == pytest.approx([i / fps for i in range(count)], abs=1e-3)
            assert float(container.duration or 0) / 1e6 == pytest.approx(count / fps, abs=2e-3)


def test_chunks_do_not_matter(tmp_path: Path) -> None:
    one, many = write(tmp_path / "one.mp4", film(), chunk=30), write(tmp_path / "many.mp4", film())
    np.testing.assert_array_equal(open_video(one)[0], open_video(many)[0])


def test_odd_sizes_are_read_back_and_padding_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = film(8, height=31, width=47)
    path = write(tmp_path / "film.mp4", frames)
    again, _ = open_video(path)
    assert again.shape == frames.shape
    assert np.abs(again.astype(float) - frames).mean() < 3
    np.testing.assert_array_equal(read_clip(path, 3, 2), again[3:5])
    assert (probe(path).height, probe(path).width) == (31, 47)
    assert "31 x 47" in caplog.text
    assert "32 x 48" in caplog.text


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path, partial = tmp_path / "film.mp4", tmp_path / "film.partial.mp4"
    with VideoWriter(path, 24) as writer:
        writer.write(film())
        assert partial.exists()
        assert not path.exists()
    assert not partial.exists()
    assert path.exists()


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.gif", "film"])
def test_nothing_is_overwritten_by_default(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, film(4))
    with pytest.raises(ExistsError, match="exists; choose another path or set overwrite=True"):
        VideoWriter(path, 24)
    with VideoWriter(path, 24, overwrite=True) as writer:
        writer.write(film(6))
    assert probe(path).frames == 6


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mp4", film(4))
    writer = VideoWriter(path, 24, overwrite=True)
    writer.write(film(6))
    assert probe(path).frames == 4
    writer.close()
    assert probe(path).frames == 6


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.gif", "film"])
def test_an_interrupted_video_is_left_playable_under_its_partial_name(
    tmp_path: Path, name: str
) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / name, 24) as writer:
            writer.write(film())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / name).exists()
    partial = (tmp_path / name).with_name(name.replace("film", "film.partial"))
    assert probe(partial).frames == 30


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_killed_writer_leaves_a_playable_fragment(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    script = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    killed = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    partial = tmp_path / f"film.partial.{suffix}"
    frames, _ = open_video(partial)
    assert len(frames) >= 48
    np.testing.assert_array_equal(read_clip(partial, 40, 4), frames[40:44])


@contextmanager
def disk_of(size_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond a size: what a test can do without a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.gif"])
def test_a_file_that_cannot_grow_is_one_sentence(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(VideoError, match=rf"{name}: cannot be written .*partial"), disk_of(50_000):
        write(tmp_path / name, noise)
    assert not (tmp_path / name).exists()


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    (tmp_path / "film.partial.mp4").touch()
    error = cannot_write(OSError(28, "x"), tmp_path / "film.mp4", tmp_path / "film.partial.mp4")
    assert str(error).startswith(f"{tmp_path / 'film.mp4'}: the disk is full; the frames written")


def test_an_unknown_suffix_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"unknown format '.docx'; valid are .mp4, .*\.gif"):
        VideoWriter(tmp_path / "film.docx", 24)


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"film\.mp4: cannot be written \(No such file"):
        write(tmp_path / "none" / "film.mp4", film(3))


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "film.mp4", 24)
    writer.write(film(3))
    with pytest.raises(
        VideoError, match=r"16 x 16 pixels \(height x width\) follow frames of 32 x 48"
    ):
        writer.write(film(3, 16, 16))


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no frames were written"):
        VideoWriter(tmp_path / "film.mp4", 24).close()


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("fps", RATES)
def test_joined_files_are_their_frames_one_after_another(
    tmp_path: Path, suffix: str, fps: float
) -> None:
    lengths = [11, 1, 30]
    parts = [write(tmp_path / f"{n}.{suffix}", film(n), fps) for n in lengths]
    out = tmp_path / f"all.{suffix}"
    concatenate(parts, out)
    whole, rate = open_video(out)
    assert rate == Fraction(fps)
    assert not probe(out).variable_rate
    np.testing.assert_array_equal(whole, np.concatenate([open_video(part)[0] for part in parts]))
    np.testing.assert_array_equal(read_clip(out, 20, 8), whole[20:28])


def test_joined_files_keep_their_odd_size(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{n}.mp4", film(9, 31, 47)) for n in range(2)]
    concatenate(parts, tmp_path / "all.mp4")
    assert open_video(tmp_path / "all.mp4")[0].shape == (18, 31, 47, 3)


def test_files_of_different_sizes_are_not_joined(tmp_path: Path) -> None:
    parts = [write(tmp_path / "a.mp4", film(9)), write(tmp_path / "b.mp4", film(9, 16, 16))]
    with pytest.raises(VideoError, match=r"b\.mp4: cannot be joined to .*a\.mp4"):
        concatenate(parts, tmp_path / "all.mp4")
    assert not (tmp_path / "all.mp4").exists()


@pytest.mark.parametrize("name", ["all.webm", "all.png", "all"])
def test_files_are_not_joined_to_another_format(tmp_path: Path, name: str) -> None:
    part = write(tmp_path / "a.mp4", film(9))
    with pytest.raises(VideoError, match=r"unknown format .* valid are \.mp4"):
        concatenate([part], tmp_path / name)
    assert not (tmp_path / name).exists()


def test_joining_overwrites_only_when_asked(tmp_path: Path) -> None:
    part, out = write(tmp_path / "a.mp4", film(9)), write(tmp_path / "all.mp4", film(3))
    with pytest.raises(ExistsError, match="exists"):
        concatenate([part], out)
    concatenate([part], out, overwrite=True)
    assert probe(out).frames == 9
