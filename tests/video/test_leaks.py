"""Reading and writing leave no thread, file or memory behind, and do not wait for a collection.

What is counted is counted in a process of its own: threads that other tests have left in this one,
such as a server's, open and close files when they like.
"""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest
from films import encode, film
from PIL import Image

from longtake.video import (
    VideoError,
    VideoWriter,
    concatenate,
    frame_seconds,
    open_video,
    probe,
    read,
    read_clip,
    stream_video,
    timeline,
)

PROC = Path("/proc/self")
PAGE = os.sysconf("SC_PAGE_SIZE")
pytestmark = pytest.mark.skipif(not PROC.exists(), reason="counts threads and files in /proc")


@pytest.fixture(scope="module", name="process")
def _process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=gc.disable) as process:
        yield process


def held() -> tuple[int, Counter[str]]:
    """The number of threads of this process, and its open files."""
    files = Counter[str]()
    for link in (PROC / "fd").iterdir():
        with suppress(FileNotFoundError):  # what lists the folder
            files[str(link.readlink())] += 1
    return len([*(PROC / "task").iterdir()]), files


def unchanged(before: tuple[int, Counter[str]]) -> None:
    """Raise an AssertionError unless as much is held as before."""
    now = held()
    opened, closed = now[1] - before[1], before[1] - now[1]
    assert now == before, f"{before[0]} threads, now {now[0]}; opened {opened}, closed {closed}"


def resident_mb() -> float:
    return int((PROC / "statm").read_text().split()[1]) * PAGE / 2**20


def first_chunk(path: Path) -> None:
    next(stream_video(path, 2))


def probe_again(path: Path) -> None:
    timeline._timeline.cache_clear()
    probe(path)


READS: list[Callable[[Path], object]] = [
    probe_again,
    open_video,
    frame_seconds,
    first_chunk,
    lambda path: read_clip(path, 9, 4),
]
KINDS = {"mp4": "libx264", "avi": "mpeg4", "webm": "libvpx-vp9", "mpg": "mpeg2video"}


@pytest.mark.parametrize("suffix", [*KINDS, "broken", "png"])
def test_reading_leaves_nothing_behind(
    process: ProcessPoolExecutor, tmp_path: Path, suffix: str
) -> None:
    process.submit(read_often, tmp_path, suffix).result()


def read_often(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix if suffix in KINDS else 'mp4'}"
    if suffix == "png":
        path = tmp_path
        for number, frame in enumerate(film(13, 128, 128)):
            Image.fromarray(frame).save(tmp_path / f"{number}.png")
    else:
        encode(
            path, film(30, 128, 128), KINDS.get(suffix, "libx264"), "yuv420p", options={"g": "8"}
        )
    if suffix == "broken":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 3] + b"\xff" * 99 + data[len(data) // 3 + 99 :])

    def read_all() -> None:
        for each in READS:
            with suppress(VideoError):
                each(path)

    for _ in range(3):
        read_all()
    before, memory = held(), resident_mb()
    for _ in range(25):
        read_all()
    unchanged(before)
    assert resident_mb() - memory < 16


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "gif"])
def test_writing_and_joining_leave_nothing_behind(
    process: ProcessPoolExecutor, tmp_path: Path, suffix: str
) -> None:
    process.submit(write_often, tmp_path, suffix).result()


def write_often(tmp_path: Path, suffix: str) -> None:
    frames, parts = film(4, 128, 128), []
    before = held()
    for number in range(20):
        parts.append(tmp_path / f"{number}.{suffix}")
        writer = VideoWriter(parts[-1], 24)
        writer.write(frames)
        writer.close()
        unchanged(before)
    concatenate(parts, tmp_path / f"all.{suffix}")
    abandoned = VideoWriter(tmp_path / f"abandoned.{suffix}", 24)
    abandoned.write(frames)
    abandoned.abandon()
    unchanged(before)


@pytest.mark.parametrize("suffix", KINDS)
def test_a_clip_is_read_on_one_thread(
    process: ProcessPoolExecutor, tmp_path: Path, suffix: str
) -> None:
    process.submit(read_a_clip, tmp_path, suffix).result()


def read_a_clip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    encode(path, film(12, 256, 256), KINDS[suffix], "yuv420p")
    before = held()
    frames = read._frames(path)
    next(frames)
    assert held()[0] == before[0]
