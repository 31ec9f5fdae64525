"""Sends a video as fragmented MP4 while it is made: copies its parts when they are on the disk."""

import asyncio
import sys
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from longtake.studio.places import JOINED, PARTS, SINGLE
from longtake.studio.store import ACTIVE, Job
from longtake.studio.studio import Studio

MOVFLAGS = "delay_moov+default_base_moof+frag_every_frame"
POLL_SECONDS = 0.1


class Fragments:
    """Copies the packets of a video's parts, H.264 files, into one fragmented MP4.

    Args:
        folder: folder of the parts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._sink = folder, _Sink()
        options = {"movflags": MOVFLAGS}
        self._container = av.open(self._sink, "w", format="mp4", options=options)
        self._stream: VideoStream | None = None
        self._last_dts = -sys.maxsize
        self.frames = 0

    def add(self) -> bytes:
        """Copy the part that begins with the next frame; returns the bytes that are ready."""
        path, skipped = self._next()
        with av.open(str(path)) as source:
            given = source.streams.video[0]
            if self._stream is None:
                self._stream = self._container.add_stream_from_template(given)
            rate, base = given.average_rate or Fraction(1), given.time_base or Fraction(1)
            start, first, count = round(self.frames / rate / base), None, 0
            for packet in source.demux(given):
                if packet.pts is None or packet.dts is None:
                    continue
                count += 1
                if count <= skipped:
                    continue
                first = packet.pts if first is None else first
                packet.pts += start - first
                self._last_dts = max(packet.dts + start - first, self._last_dts + 1)
                packet.dts = self._last_dts
                packet.stream = self._stream
                self._container.mux(packet)
        self.frames += count - skipped
        return self._sink.taken()

    def close(self) -> bytes:
        """End the video; returns the last bytes."""
        if self._stream is None:
            return b""
        self._container.close()
        return self._sink.taken()

    def _next(self) -> tuple[Path, int]:
        """File that holds the next frame, and the number of frames before it in that file."""
        single = self._folder / SINGLE.format(self.frames)
        if single.exists():
            return single, 0
        starts = sorted(int(path.stem.partition("_")[2]) for path in self._folder.glob("001_*.mp4"))
        start = max(each for each in starts if each <= self.frames)
        return self._folder / JOINED.format(start), self.frames - start


class _Sink:
    """Keeps what is written until it is taken; it cannot be sought in."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def taken(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


async def fragments(studio: Studio, job: Job) -> AsyncIterator[bytes]:
    """Yield the video of a job as fragmented MP4, until it ends."""
    copied = Fragments(studio.queue.job_folder(job) / PARTS)
    while True:
        if copied.frames < job.frames_done:
            yield await asyncio.to_thread(copied.add)
        elif job.status in ACTIVE:
            await asyncio.sleep(POLL_SECONDS)
        else:
            break
    yield await asyncio.to_thread(copied.close)
