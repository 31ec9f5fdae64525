"""Times of a file's frames and its key frames, without decoding it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from longtake.video.files import MP4, VideoError, open_stream, reading

FILES_KEPT = 4096  # timelines in memory
SMALLEST_PICTURE_BYTES = 16  # smaller packets may have no picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """The frames of a file in display order.

    Attributes:
        ticks: increasing time of each frame; None if the file has no times and can only be read
            from its beginning.
        keys: increasing times of the frames at which decoding can start.
        tick_seconds: length of a tick in seconds.
        last_ticks: duration of the last frame; 0 if the file does not have it.
        rates: frames a second as the container states them, most trusted first.
    """

    frames: int
    ticks: np.ndarray | None
    keys: np.ndarray
    tick_seconds: Fraction
    last_ticks: int
    rates: Sequence[Fraction]


def timeline(path: Path) -> Timeline:
    """The timeline of a file that is whole, cached until the file changes."""
    with reading(path):
        stat = path.stat()
    return _timeline(path, stat.st_mtime_ns, stat.st_size)


class _Packet(NamedTuple):
    """Fields of a packet without its data."""

    ticks: int | None
    duration: int
    size_bytes: int
    key: bool
    shown: bool
    corrupt: bool


@lru_cache(maxsize=FILES_KEPT)
def _timeline(path: Path, modified_ns: int, size_bytes: int) -> Timeline:
    del modified_ns, size_bytes
    with open_stream(path) as (container, stream):
        packets = [
            _Packet(p.pts, p.duration or 0, p.size, p.is_keyframe, not p.is_discard, p.is_corrupt)
            for p in container.demux(stream)
            if p.size
        ]
        _check_whole(path, container, stream, packets)
        shown = [packet for packet in packets if packet.shown]
        if not shown:
            raise VideoError(f"{path}: not a video, it has no frames")
        tick = stream.time_base or Fraction(1)
        stated = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        rates = [Fraction(rate) for rate in stated if rate]
        doubtful = _doubtful(container, stream, shown)
    if doubtful:
        return _decoded(path, tick, rates)
    return Timeline(
        frames=len(shown),
        ticks=np.sort(np.array([packet.ticks for packet in shown], np.int64)),
        keys=np.sort(np.array([packet.ticks for packet in shown if packet.key], np.int64)),
        tick_seconds=tick,
        last_ticks=max(shown, key=lambda packet: packet.ticks or 0).duration,
        rates=rates,
    )


def _check_whole(
    path: Path, container: InputContainer, stream: VideoStream, packets: Sequence[_Packet]
) -> None:
    promised = stream.frames if MP4 in container.format.name else 0
    if len(packets) < promised:
        raise VideoError(f"{path}: truncated: has {len(packets)} of {promised} frames")
    for number, packet in enumerate(packets):
        if packet.corrupt:
            raise VideoError(f"{path}: broken or truncated near frame {number}")


def _doubtful(container: InputContainer, stream: VideoStream, shown: Sequence[_Packet]) -> bool:
    """Whether packets may differ from frames in number or time.

    VP8 has hidden frames; AVI has no times, which H.264 needs to order its frames; MPEG-4 has
    packets without a picture.
    """
    codec, times = stream.codec_context.name, {packet.ticks for packet in shown}
    return (
        codec == "vp8"
        or (container.format.name == "avi" and codec in ("h264", "hevc"))
        or None in times
        or len(times) < len(shown)
        or not shown[0].key
        or min(packet.size_bytes for packet in shown) < SMALLEST_PICTURE_BYTES
    )


def _decoded(path: Path, tick: Fraction, rates: Sequence[Fraction]) -> Timeline:
    """The timeline by decoding the whole file: slow, but correct for any file."""
    times, keys, last = [], [], 0
    with open_stream(path) as (container, stream):
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            times.append(frame.pts)
            last = frame.duration or 0
            if frame.key_frame and frame.pts is not None:
                keys.append(frame.pts)
    if not times:
        raise VideoError(f"{path}: not a video, it has no frames")
    known = None not in times and bool((np.diff(times) > 0).all())
    return Timeline(
        frames=len(times),
        ticks=np.array(times, np.int64) if known else None,
        keys=np.array(keys, np.int64),
        tick_seconds=tick,
        last_ticks=last,
        rates=rates,
    )
