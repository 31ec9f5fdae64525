"""Times of a file's frames and its key frames, without decoding it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from longtake.video.errors import NO_INDEX, VideoError, reading

FILES_KEPT = 4096  # timelines in memory
MP4 = "mp4"
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
    """

    frames: int
    ticks: np.ndarray | None
    keys: np.ndarray
    tick_seconds: Fraction
    last_ticks: int


def timeline(path: Path) -> Timeline:
    """The timeline of a file, cached until the file changes.

    Raises:
        VideoError: the file does not exist, is not a video, is broken or truncated.
    """
    with reading(path):
        stat = path.stat()
    return _timeline(path, stat.st_mtime_ns, stat.st_size)


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream.

    Raises:
        VideoError: the file has no video stream.
    """
    for stream in container.streams.video:
        return stream
    if MP4 in container.format.name and not container.streams.audio:
        raise VideoError(f"{path}: {NO_INDEX}")
    raise VideoError(f"{path}: not a video, it has no video stream")


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
    with reading(path), av.open(path) as container:
        stream = video_stream(container, path)
        packets = [_noted(packet) for packet in container.demux(stream) if packet.size]
        _check_whole(path, container, stream, packets)
        shown = [packet for packet in packets if packet.shown]
        if not shown:
            raise VideoError(f"{path}: not a video, it has no frames")
        tick = stream.time_base or Fraction(1)
        doubtful = _doubtful(container, stream, shown)
    if doubtful:
        return _decoded(path, tick)
    last = max(shown, key=lambda packet: packet.ticks or 0)
    return Timeline(
        frames=len(shown),
        ticks=np.sort(np.array([packet.ticks for packet in shown], np.int64)),
        keys=np.sort(np.array([packet.ticks for packet in shown if packet.key], np.int64)),
        tick_seconds=tick,
        last_ticks=last.duration,
    )


def _noted(packet: av.Packet) -> _Packet:
    return _Packet(
        ticks=packet.pts,
        duration=packet.duration or 0,
        size_bytes=packet.size,
        key=packet.is_keyframe,
        shown=not packet.is_discard,
        corrupt=packet.is_corrupt,
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


def _decoded(path: Path, tick: Fraction) -> Timeline:
    """The timeline by decoding the whole file: slow, but correct for any file."""
    times, keys, last = [], [], 0
    with reading(path), av.open(path) as container:
        stream = video_stream(container, path)
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
    )
