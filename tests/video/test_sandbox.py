"""Untrusted videos are decoded in child processes with limits."""

import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from films import encode, film

from longtake.video import VideoError, open_video, sandbox
from longtake.video.sandbox import Limits, Sandbox

HEADER = struct.Struct("<cIII")


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return encode(tmp_path / "film.mp4", film(24, 64, 64), "libx264", "yuv420p")


def test_frames_are_those_of_any_reader(box: Sandbox, video: Path):
    for _ in range(2):
        frames = np.concatenate([*box.frames(video)])
        np.testing.assert_array_equal(frames, open_video(video)[0])
        assert box.damage == []


def test_its_process_starts_without_torch():
    code = f"import sys; {sandbox._SERVE}; sys.exit('torch' in sys.modules)"  # pyright: ignore[reportPrivateUsage]
    served = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, check=False)
    assert served.returncode == 0


def test_what_cannot_be_read_is_named_and_the_next_video_is_read(box: Sandbox, video: Path):
    unread = {video.with_name("no.mp4"): "no such file", video.parent: "no image files"}
    for path, message in unread.items():
        with pytest.raises(VideoError, match=message):
            list(box.frames(path))
    assert sum(map(len, box.frames(video))) == 24


def test_memory_and_time_have_limits(box: Sandbox, video: Path):
    usual = box.limits
    large = encode(video.with_name("large.mp4"), film(1, 1024, 2048), "libx264", "yuv420p")
    for limits in (Limits(memory_bytes=1 << 22), Limits(seconds=0)):
        box.limits = limits
        with pytest.raises(VideoError, match=r"large\.mp4"):
            list(box.frames(large))
    box.limits = usual
    assert sum(map(len, box.frames(large))) == 1


def test_a_process_with_a_thousand_open_files_can_decode(video: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip(f"this system allows {hard} open files")
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        number = 0
        while number < 1100:
            number = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, number)
        box = stack.enter_context(Sandbox())
        assert sum(map(len, box.frames(video))) == 24


def test_a_child_that_exits_with_an_error_is_not_said_to_have_had_a_signal(video: Path):
    with Sandbox(Limits(files=1 << 40)) as box:  # more than any system allows
        with pytest.raises(VideoError, match=r"crashed \(exit code 1\)"):
            list(box.frames(video))
        box.limits = Limits()
        assert sum(map(len, box.frames(video))) == 24


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (HEADER.pack(b"F", 1 << 20, 1 << 20, 3), "sent data that are not frames"),
        (HEADER.pack(b"E", 1 << 30, 0, 0), "sent data that are not frames"),
        (b"pickle" * 9, "sent data that are not frames"),
        (HEADER.pack(b"F", 1, 8, 8) + b"short", "ended before the last frame"),
        (HEADER.pack(b"Z", 11, 0, 0), r"crashed \(signal 11\)"),
        (HEADER.pack(b"Z", 0, 3, 0), r"crashed \(exit code 3\)"),
    ],
)
def test_a_child_is_not_believed(
    sent: bytes, message: str, video: Path, monkeypatch: pytest.MonkeyPatch
):
    script = f"import sys; input(); sys.stdout.buffer.write({sent!r})"
    monkeypatch.setattr(sandbox, "_SERVE", script)
    with Sandbox() as box, pytest.raises(VideoError, match=message):
        list(box.frames(video))
