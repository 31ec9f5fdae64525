"""Times of a file's frames and its key frames, without decoding it where its packets say them."""

import json
import logging
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from av.container import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from longtake.video import h264
from longtake.video.archive import place
from longtake.video.decode import RGB, open_decoder, whole_frames
from longtake.video.files import MP4, VideoError, reading

LOGGER = logging.getLogger("longtake")
FILES_KEPT = 4096  # timelines in memory
FIRST_PACKETS = 20  # a decoder waits for at most 16 before it gives a frame
SMALLEST_PICTURE_BYTES = 16  # smaller packets may have no picture
SMALL_PICTURES = ("h264", "hevc")  # but of these, a picture that repeats another is as small
MOST_RUNS = 256  # of frames at equal distances, in a timeline that is kept
NONE = np.iinfo(np.int64).min  # stands for no time
BROADCAST = ("mpegts", "mpeg")  # formats that are cut anywhere
OTHER_BYTES = b"\xa5" * 64  # what FFmpeg puts behind a packet are zeros


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """Times of the frames of a video file, in display order, and where decoding can start.

    A tick is the unit of time of the file.

    Attributes:
        frames: number of frames.
        packets: indices of the packets to decode, from the first key frame to the last whole
            packet.
        first_key: time of the first key frame in ticks, if packets of earlier frames follow it;
            else None.
        ticks: time of each frame in ticks, increasing; None if the file does not store times.
        seekable: whether decoded frames have the times ``ticks``, so that a frame can be found by
            its time.
        keys: times in ticks, increasing, of the frames at which decoding can start.
        tick_seconds: length of a tick in seconds.
        last_ticks: duration of the last frame in ticks; 0 if the file does not store it.
        rates: frame rates that the container states, most trusted first.
        size: height and width of the first frame, upright; None if it was not decoded.
    """

    frames: int
    packets: range
    first_key: int | None
    ticks: np.ndarray | None
    seekable: bool
    keys: np.ndarray
    tick_seconds: Fraction
    last_ticks: int
    rates: Sequence[Fraction]
    size: tuple[int, int] | None = None


def timeline(path: Path, packed: str | None = None) -> Timeline:
    """Read the times of all frames of a video file; cached until the file changes.

    ``packed``, a result of ``packed_timeline`` or None, saves reading a file that has not changed.

    Raises:
        VideoError: the file does not exist, is not a video, is broken or truncated.
    """
    stamp = _stamp(path)
    return (packed and _unpacked(packed, stamp)) or _timeline(path, *stamp)


def packed_timeline(path: Path) -> str | None:
    """The timeline of a video file as a short JSON text; None if its frame rate varies too much.

    Raises:
        VideoError: the file does not exist, is not a video, is broken or truncated.
    """
    stamp = _stamp(path)
    line = _timeline(path, *stamp)
    times = None if line.ticks is None else _runs(line.ticks)
    keys = _runs(line.keys)
    if max(len(keys), len(times or ())) > MOST_RUNS:
        return None
    tick, range_ = line.tick_seconds.as_integer_ratio(), (line.packets.start, line.packets.stop)
    state = [range_, line.first_key, times, line.seekable, keys, tick, line.last_ticks]
    return json.dumps([stamp, line.frames, *state], separators=(",", ":"))


def _stamp(path: Path) -> tuple[int, int]:
    """Time of a file's last change in nanoseconds, and its size in bytes."""
    with reading(path):
        there = place(path)
    return there.modified_ns, there.size


def _unpacked(packed: str, stamp: tuple[int, int]) -> Timeline | None:
    """The timeline in a result of ``packed_timeline``, without ``rates`` and ``size``.

    None if ``stamp``, the file's time of change and size, is not the stored one.
    """
    before, frames, packets, first_key, times, seekable, keys, tick, last = json.loads(packed)
    if tuple(before) != stamp:
        return None
    return Timeline(
        frames=frames,
        packets=range(*packets),
        first_key=first_key,
        ticks=None if times is None else _of_runs(times),
        seekable=seekable,
        keys=_of_runs(keys),
        tick_seconds=Fraction(*tick),
        last_ticks=last,
        rates=(),
    )


def _runs(values: np.ndarray) -> list[list[int]]:
    """Pairs of a difference of neighbouring values, and how often it occurs in a row.

    The first difference is that of the first value and 0.
    """
    numbers = values.tolist()
    steps = (after - before for before, after in zip([0, *numbers], numbers, strict=False))
    return [[step, len([*equal])] for step, equal in groupby(steps)]


def _of_runs(runs: Sequence[Sequence[int]]) -> np.ndarray:
    """The values of which ``runs`` is the result of ``_runs``."""
    steps, counts = np.array(runs, np.int64).reshape(-1, 2).T
    return np.cumsum(np.repeat(steps, counts))


class _Packets(NamedTuple):
    """One array per field of a stream's packets, without their data.

    Of two hours of video, an array has about a million bytes. Times are in ticks; ``NONE`` where a
    packet has no time. ``key``, ``shown`` and ``corrupt`` say whether a packet is a key
    frame, is displayed, and is damaged.
    """

    ticks: np.ndarray
    decoding_ticks: np.ndarray
    duration: np.ndarray
    size_bytes: np.ndarray
    key: np.ndarray
    shown: np.ndarray
    corrupt: np.ndarray

    def of(self, rows: slice | np.ndarray) -> "_Packets":
        """The packets that ``rows``, a slice, a mask or indices, selects."""
        return _Packets(*(column[rows] for column in self))


@lru_cache(maxsize=FILES_KEPT)
def _timeline(path: Path, modified_ns: int, size_bytes: int) -> Timeline:
    del modified_ns
    with open_decoder(path) as (container, stream):
        packets, first, last_groups = _demuxed(container, stream)
        _check_bytes(path, container, stream, size_bytes)
        joins = _joins(packets) if stream.codec_context.name == h264.NAME else ()
        _check_packets(path, packets, joins, broadcast=bool(last_groups))
        start = int(np.argmax(packets.key)) if len(packets.key) else 0
        stop = len(packets.key) - (0 if _ends_whole(stream, last_groups) else 1)
        part = packets.of(slice(start, stop))
        shown = part.of(part.shown)
        if not len(shown.key):
            raise VideoError(f"{path}: not a video, it has no frames")
        timed, key = shown.ticks != NONE, int(packets.ticks[start])
        after = packets.ticks[start:]
        early = key != NONE and bool(((after != NONE) & (after < key)).any())
        stated = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        line = Timeline(
            frames=len(shown.key),
            packets=range(start, stop),
            first_key=key if early else None,
            ticks=np.sort(shown.ticks[timed]),
            seekable=True,
            keys=np.sort(shown.ticks[timed & shown.key]),
            tick_seconds=stream.time_base or Fraction(1),
            last_ticks=int(shown.duration[np.argmax(np.where(timed, shown.ticks, 0))]),
            rates=[Fraction(rate) for rate in stated if rate],
            size=None if last_groups else _first_size(path, container, stream, first[start:]),
        )
        doubtful = early or _doubtful(container, stream, shown)
    if doubtful:
        line = _decoded(path, line, shown)
    cut = early or len(line.packets) < len(packets.key)
    if cut and line.frames < packets.shown.sum():
        found = "%s: cut from longer footage; its %d whole frames are read"
        LOGGER.warning(found, path, line.frames)
    return line


def _demuxed(
    container: InputContainer, stream: VideoStream
) -> tuple[_Packets, list[Packet], list[Packet]]:
    """Fields of all packets of a stream, its first 20 packets, and its last ones.

    The last ones are those of a broadcast from its last key frame but one on; empty for other
    formats.
    """
    numbers, flags = [array("q") for _ in range(4)], [bytearray() for _ in range(3)]
    first, before_last, last = [], [], []
    for p in container.demux(stream):
        if p.size:
            if len(first) < FIRST_PACKETS:
                first.append(p)
            times = (NONE if ticks is None else ticks for ticks in (p.pts, p.dts))
            for column, number in zip(numbers, (*times, p.duration or 0, p.size), strict=True):
                column.append(number)
            for column, flag in zip(
                flags, (p.is_keyframe, not p.is_discard, p.is_corrupt), strict=True
            ):
                column.append(flag)
            if p.is_keyframe:
                before_last, last = last, []
            if container.format.name in BROADCAST and (p.is_keyframe or last):
                last.append(p)
    columns = [np.frombuffer(column, np.int64) for column in numbers]
    packets = _Packets(*columns, *(np.frombuffer(column, bool) for column in flags))
    return packets, first, [*before_last, *last]


def _first_size(
    path: Path, container: InputContainer, stream: VideoStream, packets: Sequence[Packet]
) -> tuple[int, int] | None:
    """Upright height and width of the first frame of some packets; None if there is none."""
    with suppress(VideoError):
        for frame in whole_frames(path, stream, packets, None):
            return RGB(container.metadata, stream.sample_aspect_ratio).size(frame)
    return None


def _check_bytes(
    path: Path, container: InputContainer, stream: VideoStream, size_bytes: int
) -> None:
    """Raise a VideoError if an mp4 file of ``size_bytes`` is shorter than its index says.

    The index also counts frames that an edit list hides.
    """
    if MP4 in container.format.name:
        ends = [entry.pos + entry.size for entry in stream.index_entries]
        there = sum(end <= size_bytes for end in ends)
        if there < len(ends):
            raise VideoError(f"{path}: truncated: has {there} of {len(ends)} frames")


def _check_packets(path: Path, packets: _Packets, joins: Iterable[int], *, broadcast: bool) -> None:
    """Raise a VideoError if a packet after the first key frame is corrupt.

    The last packets of a broadcast may be corrupt, because recordings are cut anywhere, and the
    last two before each of ``joins``, because FFmpeg misses packets between two recordings.
    """
    end = len(packets.key) - broadcast
    while broadcast and end and packets.corrupt[end - 1]:
        end -= 1
    corrupt = packets.corrupt[:end] & np.logical_or.accumulate(packets.key[:end])
    for join in joins if broadcast else ():
        corrupt[max(0, join - 2) : join] = False
    broken = np.flatnonzero(corrupt)
    if len(broken):
        raise VideoError(f"{path}: broken or truncated near frame {broken[0]}")


def _joins(packets: _Packets) -> np.ndarray:
    """Indices of the key frames at which the clock goes back: another recording begins there.

    Lost packets do not set the clock back, and decoding shows whether the frame before is whole:
    H.264's decoder reports nearly each that lacks its end, those of HEVC and MPEG-2 do not.
    """
    clock = packets.decoding_ticks
    known = (clock[1:] != NONE) & (clock[:-1] != NONE)
    return 1 + np.flatnonzero(known & (np.diff(clock) < 0) & packets.key[1:])


def _ends_whole(stream: VideoStream, last_groups: Sequence[Packet]) -> bool:
    """Whether the last packet of a stream can be decoded; True without ``last_groups``.

    ``last_groups`` are the packets from the last key frame but one on. Of a picture that lacks its
    end, the decoder of HEVC reports nothing, and that of H.264 nothing by chance: they decode what
    follows the data in memory. With arithmetic coding a picture is whole if it does not depend on
    that.
    """
    if not last_groups:
        return True
    whole, frame = _last_frame(stream, last_groups)
    codec = stream.codec_context.name
    arithmetic = codec == "hevc" or (
        codec == h264.NAME and any(h264.is_arithmetic(bytes(packet)) for packet in last_groups)
    )
    if not whole or frame is None or not arithmetic:
        return whole
    longer = Packet(bytes(last_groups[-1]) + OTHER_BYTES)
    longer.pts, longer.dts = last_groups[-1].pts, last_groups[-1].dts
    _, again = _last_frame(stream, [*last_groups[:-1], longer])
    return again is not None and np.array_equal(frame.to_ndarray(), again.to_ndarray())


def _last_frame(stream: VideoStream, packets: Sequence[Packet]) -> tuple[bool, VideoFrame | None]:
    """Whether the decoder reports nothing about the last of some packets, and its frame.

    The first packet is a key frame's. There may be no frame, as of the second field of one.
    """
    last, found, broken = packets[-1].pts, None, set()
    stream.codec_context.flush_buffers()
    for packet in (*packets, None):
        try:
            decoded = stream.codec_context.decode(packet)
            broken.update(frame.pts for frame in decoded if frame.is_corrupt)
            found = next((frame for frame in decoded if frame.pts == last), found)
        except InvalidDataError:
            broken.add(packet.pts if packet else last)
    return last not in broken, found


def _doubtful(container: InputContainer, stream: VideoStream, shown: _Packets) -> bool:
    """Whether the ``shown`` packets of a file may differ from its frames in number or time.

    VP8 has hidden frames; AVI has no times, which H.264 needs to order its frames; MPEG-4 has
    packets without a picture; the clock of a broadcast may jump back.
    """
    codec, smallest_bytes = stream.codec_context.name, shown.size_bytes.min()
    order = shown.decoding_ticks[shown.decoding_ticks != NONE]
    return (
        codec == "vp8"
        or (container.format.name == "avi" and codec in ("h264", "hevc"))
        or bool((shown.ticks == NONE).any())
        or len(np.unique(shown.ticks)) < len(shown.ticks)
        or not bool(shown.key[0])
        or bool((np.diff(order) < 0).any())
        or (codec not in SMALL_PICTURES and bool(smallest_bytes < SMALLEST_PICTURE_BYTES))
    )


def _decoded(path: Path, line: Timeline, shown: _Packets) -> Timeline:
    """Correct a timeline by decoding the whole file, which is slow but right for any file.

    ``shown`` are the packets that are displayed.

    Raises:
        VideoError: a frame is broken, or there are none.
    """
    times, key_frames, last = [], [], 0
    with open_decoder(path) as (container, stream):
        states_times = container.format.name != "mpeg"  # else they differ after seeking
        packets = (packet for packet in container.demux(stream) if packet.size)
        packets = islice(packets, line.packets.start, line.packets.stop)
        for frame in whole_frames(path, stream, packets, line.first_key):
            times.append(frame.pts)
            last = frame.duration or 0
            key_frames.append(frame.key_frame)
    if not times:
        raise VideoError(f"{path}: not a video, it has no frames")
    order = sorted(shown.decoding_ticks[shown.decoding_ticks != NONE].tolist())
    seekable = states_times and _increase(times)
    guesses = [times, _continued(times, key_frames), order] if states_times else [order]
    fitting = [guess for guess in guesses if len(guess) == len(times) and _increase(guess)]
    pairs = zip(times, key_frames, strict=True)
    return replace(
        line,
        frames=len(times),
        ticks=np.array(fitting[0], np.int64) if fitting else None,
        seekable=seekable,
        keys=np.array([ticks for ticks, is_key in pairs if is_key and ticks is not None], np.int64),
        last_ticks=last,
    )


def _continued(times: Sequence[int | None], key_frames: Sequence[bool]) -> Sequence[int | None]:
    """Times on one clock where recordings were joined: a key frame at which they go back.

    It is one usual step, the median, after the frame before it.
    """
    if len(times) < 2 or None in times:
        return times
    known = np.array(times, np.int64)
    steps = np.diff(known)
    steps[(steps <= 0) & key_frames[1:]] = int(np.median(steps))
    known[1:] = known[0] + np.cumsum(steps)
    return known.tolist()


def _increase(ticks: Sequence[int | None]) -> bool:
    return None not in ticks and bool((np.diff(np.array(ticks, np.int64)) > 0).all())
