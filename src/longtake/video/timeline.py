"""When each frame of a file is shown and where decoding can start, without decoding it."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from longtake.video.errors import VideoError, reading

FILES_KEPT = 4096
SMALLEST_PICTURE_BYTES = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """The frames of a file in the order they are shown.

    Attributes:
        frames: how many there are.
        ticks: when each is shown, rising; None where the file does not know, and can only be read
            from its beginning.
        keys: ticks of frames that decoding can start at, rising.
        tick_seconds: length of a tick.
        last_ticks: how long the last frame is shown; 0 where the file does not say.
    """

    frames: int
    ticks: np.ndarray | None
    keys: np.ndarray
    tick_seconds: Fraction
    last_ticks: int


def timeline(path: Path) -> Timeline:
    """The timeline of a file; found once, as long as the file does not change.

    Raises:
        VideoError: no such file, no video, broken or truncated.
    """
    with reading(path):
        stat = path.stat()
    return _timeline(path, stat.st_mtime_ns, stat.st_size)


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of video.

    Raises:
        VideoError: there is none.
    """
    for stream in container.streams.video:
        return stream
    raise VideoError(f"{path}: no video, it has no stream of pictures")


@lru_cache(maxsize=FILES_KEPT)
def _timeline(path: Path, modified_ns: int, size_bytes: int) -> Timeline:
    del modified_ns, size_bytes
    with reading(path), av.open(path) as container:
        stream = video_stream(container, path)
        packets = [packet for packet in container.demux(stream) if packet.size]
        _check_whole(path, container, stream, len(packets), any(p.is_corrupt for p in packets))
        shown = [packet for packet in packets if not packet.is_discard]
        if not shown:
            raise VideoError(f"{path}: no video, it has no frames")
        tick = stream.time_base or Fraction(1)
        if not _doubtful(container, stream, shown):
            ticks = np.sort(np.array([packet.pts for packet in shown], np.int64))
            keys = np.sort(np.array([p.pts for p in shown if p.is_keyframe], np.int64))
            last = max(shown, key=lambda packet: packet.pts or 0).duration or 0
            return _line(len(shown), ticks, keys, tick, last)
    return _decoded(path, tick)


def _check_whole(
    path: Path, container: InputContainer, stream: VideoStream, found: int, corrupt: bool
) -> None:
    promised = stream.frames if "mp4" in container.format.name else 0
    if corrupt or found < promised:
        of = f" of {promised}" if promised else ""
        raise VideoError(f"{path}: truncated or broken: holds {found}{of} frames")


def _doubtful(container: InputContainer, stream: VideoStream, shown: list[av.Packet]) -> bool:
    """Whether packets may differ from frames in number or time.

    VP8 hides frames; AVI keeps no times, which H.264 needs to put its frames in order; MPEG-4 has
    packets without a picture.
    """
    codec, times = stream.codec_context.name, [packet.pts for packet in shown]
    return (
        codec == "vp8"
        or (container.format.name == "avi" and codec in ("h264", "hevc"))
        or None in times
        or len(set(times)) < len(times)
        or not shown[0].is_keyframe
        or min(packet.size for packet in shown) < SMALLEST_PICTURE_BYTES
    )


def _decoded(path: Path, tick: Fraction) -> Timeline:
    """The timeline by decoding everything: slow, and right for any file."""
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
        raise VideoError(f"{path}: no video, it has no frames")
    known = None not in times and bool((np.diff(times) > 0).all())
    ticks = np.array(times, np.int64) if known else None
    return _line(len(times), ticks, np.array(keys, np.int64), tick, last)


def _line(
    frames: int, ticks: np.ndarray | None, keys: np.ndarray, tick: Fraction, last: int
) -> Timeline:
    return Timeline(frames=frames, ticks=ticks, keys=keys, tick_seconds=tick, last_ticks=last)
