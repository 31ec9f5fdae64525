"""Decoding of footage from people one does not trust, in child processes with limits.

A child may read the one file, take limited memory and open few files; what it sends is checked, and
never unpickled. Damage that FFmpeg conceals is seen in its log, which the child captures. The child
is not cut off from the network; but FFmpeg may open only files, as everywhere in longtake.
"""

import json
import os
import resource
import selectors
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import av.logging
import numpy as np
from jaxtyping import UInt8

from longtake.video.files import VideoError
from longtake.video.read import FOLDER_FPS, probe, stream_video

CHUNK_FRAMES = 16
MAX_CHUNK_BYTES = 1 << 30
MAX_MESSAGE_BYTES = 1 << 12
INFO, FRAMES, DAMAGE, FAULT, END = b"I", b"F", b"D", b"E", b"Z"
_HEADER = struct.Struct(
    "<cIII"
)  # kind; frames, height and width, or rate and frames, or bytes, or signal and exit code
DECODER = "the process that decoded it"
_SERVE = "from longtake.video.sandbox import serve; serve()"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of decoding one video in a ``Sandbox``.

    Attributes:
        memory_bytes: memory of the decoding process, in addition to what it has when it starts.
        seconds: time to decode each group of 16 frames.
        files: number of files that may be open at once.
    """

    memory_bytes: int = 1 << 30
    seconds: float = 20.0
    files: int = 16


class Sandbox:
    """Decodes untrusted videos, each in a child process with limits; a context manager.

    ``limits`` is None for the defaults of ``Limits``.

    Attributes:
        damage: messages of FFmpeg about damage in the last video, complete once all its frames have
            been read.
        fps: frame rate of the last video, known once its first frames have been read.
        stated_frames: number of frames of the last video by ``probe``, known once its first frames
            have been read.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.damage: list[str] = []
        self.fps, self.stated_frames = FOLDER_FPS, 0
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(self, path: Path | str) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
        """Yield a video's frames, up to 16 at a time; FFmpeg's messages are kept in ``damage``.

        Raises:
            VideoError: the file is not a video, is broken, or decoding it exceeds the limits.
        """
        path, self.damage, fault, ended = Path(path), [], "", False
        server = self._served()
        limits = {"memory_bytes": self.limits.memory_bytes, "files": self.limits.files}
        request = {"path": str(path.absolute()), **limits}
        assert server.stdin is not None
        try:
            server.stdin.write(json.dumps(request).encode() + b"\n")
            server.stdin.flush()
            while not ended:
                kind, *size = _HEADER.unpack(self._received(path, _HEADER.size))
                if kind == INFO and size[0] and size[1]:
                    self.fps, self.stated_frames = Fraction(size[0], size[1]), size[2]
                elif kind == FRAMES and 0 < size[0] * size[1] * size[2] * 3 <= MAX_CHUNK_BYTES:
                    data = self._received(path, size[0] * size[1] * size[2] * 3)
                    yield np.frombuffer(data, np.uint8).reshape(*size, 3)
                elif kind in (DAMAGE, FAULT) and size[0] <= MAX_MESSAGE_BYTES:
                    text = self._received(path, size[0]).decode(errors="replace")
                    if kind == FAULT:
                        fault = text
                    else:
                        self.damage.append(text)
                elif kind == END and not any(size):
                    ended = True
                elif kind == END:
                    how = f"signal {size[0]}" if size[0] else f"exit code {size[1]}"
                    raise VideoError(f"{path}: {DECODER} crashed ({how})")
                else:
                    raise VideoError(f"{path}: {DECODER} sent data that are not frames")
            if fault:
                raise VideoError(fault)
        finally:
            if not ended:
                self.close()

    def close(self) -> None:
        """End the child processes; the next video starts them again."""
        server, self._server = self._server, None
        if server is not None:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.communicate()

    def _served(self) -> "subprocess.Popen[bytes]":
        """Server process, started if needed, which forks a child process for each video."""
        if self._server is None or self._server.poll() is not None:
            names = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
            self._server = subprocess.Popen(
                [sys.executable, "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={name: os.environ[name] for name in names if name in os.environ},
                start_new_session=True,
            )
        return self._server

    def _received(self, path: Path, count: int) -> bytes:
        """Read ``count`` bytes that the child process sends; ``path`` is for messages.

        Raises:
            VideoError: the bytes do not come within the time limit, or the process has ended.
        """
        assert self._server is not None
        assert self._server.stdout is not None
        data, pipe = bytearray(), self._server.stdout.fileno()
        until = time.monotonic() + self.limits.seconds
        while len(data) < count:
            left = until - time.monotonic()
            if left <= 0 or not _readable_within(pipe, left):
                limit = f"{self.limits.seconds:g} s for {CHUNK_FRAMES} frames"
                raise VideoError(f"{path}: decoding it takes more than {limit}")
            part = os.read(pipe, min(1 << 20, count - len(data)))
            if not part:
                raise VideoError(f"{path}: {DECODER} ended before the last frame")
            data += part
        return bytes(data)


def _readable_within(pipe: int, seconds: float) -> bool:
    """Whether a pipe has bytes, or its end, within a time; ``select`` takes descriptors to 1023."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(seconds))


def serve() -> None:
    """Main loop of the sandbox's server process.

    Decodes the videos that JSON lines on the standard input name, each in a child process.
    """
    for line in sys.stdin.buffer:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _decode(sys.stdout.buffer, **request)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        sys.stdout.buffer.write(_HEADER.pack(END, max(-code, 0), max(code, 0), 0))
        sys.stdout.buffer.flush()


def _decode(out: IO[bytes], path: str, memory_bytes: int, files: int) -> None:
    """Set limits of this process, then write a video's frames and FFmpeg's errors to ``out``."""
    _limit(memory_bytes, files)
    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture(local=False) as logged:
        try:
            info = probe(Path(path))
            out.write(_HEADER.pack(INFO, *info.fps.as_integer_ratio(), info.frames))
            for chunk in stream_video(path, CHUNK_FRAMES, threads=1):
                out.write(_HEADER.pack(FRAMES, *chunk.shape[:3]))
                out.write(np.ascontiguousarray(chunk).data)
        except VideoError as error:
            _say(out, FAULT, str(error))
        except MemoryError:
            _say(out, FAULT, f"{path}: its decoding takes more than {memory_bytes >> 20} MiB")
    for text in _different(logged):
        _say(out, DAMAGE, text)
    out.flush()


def _limit(memory_bytes: int, files: int) -> None:
    """Limit this process: memory, open files, no bytes written to files, no core dumps.

    ``memory_bytes`` are in addition to the memory that the process has now.
    """
    with suppress(OSError):  # only Linux says how much there is
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        most = pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for kind, most in (
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def _different(logged: Sequence[tuple[int, str, str]]) -> list[str]:
    """The first 100 different messages of errors in FFmpeg's log of (level, name, message)."""
    texts = [f"{name}: {text.strip()}" for level, name, text in logged if level <= av.logging.ERROR]
    return [*dict.fromkeys(texts)][:100]


def _say(out: IO[bytes], kind: bytes, text: str) -> None:
    data = text.encode(errors="replace")[:MAX_MESSAGE_BYTES]
    out.write(_HEADER.pack(kind, len(data), 0, 0) + data)
