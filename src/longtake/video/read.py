"""Frame-exact reading of videos in any container.

A video is a file, or a folder of image files in natural order of their names.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import dropwhile, islice
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import UInt8

from longtake.video import pictures
from longtake.video.archive import is_folder
from longtake.video.decode import RGB, open_decoder, whole_frames
from longtake.video.files import VideoError
from longtake.video.timeline import Timeline, timeline

FOLDER_FPS = Fraction(25)
KEYS_TRIED = 2  # key frames before a clip from which decoding is tried
ALL_THREADS = 0
HIGHEST_FPS = 1000  # what a file without times may state
JUMP_SECONDS, JUMP_STEPS = 60, 100  # a step over both, the latter times the usual step, is a jump
COARSEST = 8  # a step between frames has at least as many ticks of a coarse clock


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Size, length and frame rate of a video.

    Attributes:
        path: path of the file or of the folder of image files.
        frames: number of frames.
        fps: frames per second; the mean if the rate is variable.
        height: height of the upright frames in pixels.
        width: width of the upright frames in pixels.
        seconds: duration.
        variable_rate: whether frames are shown for different times.
        rate_known: False if ``fps`` is an assumption, as for a folder of image files.
    """

    path: Path
    frames: int
    fps: Fraction
    height: int
    width: int
    seconds: float
    variable_rate: bool
    rate_known: bool = True


def probe(path: Path | str, folder_fps: Fraction | float | int = FOLDER_FPS) -> VideoInfo:
    """Size, length and frame rate of a video; reads its packets and decodes its first frame.

    ``folder_fps`` is the frame rate assumed for a folder of image files, which does not store one.

    Raises:
        VideoError: the file does not exist, is not a video, is broken or truncated.
    """
    path = Path(path)
    if is_folder(path):
        files = pictures.files(path)
        height, width = pictures.size(files[0])
        fps, frames, variable, known = as_rate(folder_fps), len(files), False, False
        seconds = float(frames / fps)
    else:
        line = timeline(path)
        height, width = line.size or _first_size(path)
        frames = line.frames
        fps, seconds, variable, known = _rate(line)
    return VideoInfo(
        path=path,
        frames=frames,
        fps=fps,
        height=height,
        width=width,
        seconds=seconds,
        variable_rate=variable,
        rate_known=known,
    )


def frame_seconds(path: Path | str, folder_fps: Fraction | float | int = FOLDER_FPS) -> np.ndarray:
    """Time at which each frame is shown, in seconds since the first frame; shape ``(frames,)``.

    ``folder_fps`` is the frame rate assumed for a folder of image files.

    Raises:
        VideoError: the file does not exist, is not a video, is broken or truncated, or does not
            store times.
    """
    path = Path(path)
    if is_folder(path):
        return np.arange(len(pictures.files(path))) / float(folder_fps)
    line = timeline(path)
    if line.ticks is None:
        raise VideoError(f"{path}: does not store the times of its frames; convert it to mp4")
    return (line.ticks - line.ticks[0]) * float(line.tick_seconds)


def read_clip(
    path: Path | str,
    start_frame: int,
    frames: int,
    stride: int = 1,
    timeline_text: str | None = None,
) -> UInt8[np.ndarray, "t h w 3"]:
    """Read frames of a video file or of a folder of image files.

    Args:
        path: path of the file or folder.
        start_frame: index of the first frame to read, from 0. Decoding starts at the nearest key
            frame before it.
        frames: number of frames to read.
        stride: distance between the frames to read, in frames of the video.
        timeline_text: result of ``packed_timeline`` for this file, which saves reading all its
            packets; None if there is none.

    Raises:
        ValueError: ``start_frame`` is under 0, or ``frames`` or ``stride`` under 1.
        VideoError: the video does not have these frames, or they are broken.
    """
    path = Path(path)
    if start_frame < 0 or frames < 1 or stride < 1:
        raise ValueError(
            f"start_frame={start_frame}, frames={frames}, stride={stride}: expected a start of "
            "at least 0, at least one frame and a stride of at least 1"
        )
    wanted = range(start_frame, start_frame + frames * stride, stride)
    files = pictures.files(path) if is_folder(path) else []
    line = None if files else timeline(path, timeline_text)
    there = len(files) if line is None else line.frames
    if wanted[-1] >= there:
        raise VideoError(
            f"{path}: has {there} frames, but frames {wanted[0]} to {wanted[-1]} were requested"
        )
    if line is None:
        return _stacked(path, [*pictures.frames([files[number] for number in wanted])])
    clip = _clip_by_time(path, line, wanted)
    if len(clip) < len(wanted):
        clip = list(islice(_frames(path), wanted.start, wanted[-1] + 1, wanted.step))
    if len(clip) < len(wanted):
        raise VideoError(f"{path}: ends before frame {wanted[len(clip)]}")
    return _stacked(path, clip)


def frames_from(
    path: Path | str, start_frame: int, timeline_text: str | None = None
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the frames of a video from ``start_frame`` on, decoded in one pass.

    It stops, perhaps before the first frame, where frames do not come at the times that the file
    states. ``read_clip`` may still read the frames then, and after an error. ``timeline_text`` is
    the result of ``packed_timeline`` for this file, which saves reading all its packets, or None.

    Raises:
        VideoError: the file does not exist, is not a video, is truncated, or it or a frame is
            broken.
    """
    path = Path(path)
    if is_folder(path):
        yield from pictures.frames(pictures.files(path)[start_frame:])
        return
    line = timeline(path, timeline_text)
    if line.ticks is None or not line.seekable or start_frame >= line.frames:
        return
    for key in line.keys[line.keys <= line.ticks[start_frame]][-1:].tolist():
        yield from _from_key(path, line, key, range(start_frame, line.frames))


def open_video(
    path: Path | str, folder_fps: Fraction | float | int = FOLDER_FPS
) -> tuple[UInt8[np.ndarray, "t h w 3"], Fraction]:
    """Read all frames of a video; return them and the number of frames per second.

    ``folder_fps`` is the frame rate assumed for a folder of image files.

    Raises:
        VideoError: the file does not exist, is not a video, is broken or truncated.
    """
    fps = probe(path, folder_fps).fps
    return _stacked(path, [frame for chunk in stream_video(path) for frame in chunk]), fps


def stream_video(
    path: Path | str, chunk_frames: int = 16, threads: int = ALL_THREADS
) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
    """Yield all frames of a video, ``chunk_frames`` at a time, in constant memory.

    ``threads`` is the number of decoding threads; 0: one per processor.

    Raises:
        VideoError: the file does not exist, is not a video, is broken or truncated.
    """
    frames = _frames(Path(path), threads)
    while chunk := list(islice(frames, chunk_frames)):
        yield _stacked(path, chunk)


def as_rate(fps: Fraction | float | int) -> Fraction:
    """Convert frames per second to the nearest fraction whose denominator is at most 1001.

    For rates so low that this is 0, the denominator may be up to 1,000,000.
    """
    return Fraction(fps).limit_denominator(1001) or Fraction(fps).limit_denominator(10**6)


def _first_size(path: Path) -> tuple[int, int]:
    for frame in _frames(path):
        return frame.shape[:2]
    raise VideoError(f"{path}: not a video, none of its frames can be decoded")


def _frames(path: Path, threads: int = 1) -> Iterator[np.ndarray]:
    """Yield all frames of a video as upright RGB; ``threads=0``: one thread per processor."""
    if is_folder(path):
        yield from pictures.frames(pictures.files(path))
        return
    line, number = timeline(path), 0
    with open_decoder(path, threads=threads) as (container, stream):
        packets = (packet for packet in container.demux(stream) if packet.size)
        chosen = islice(packets, line.packets.start, line.packets.stop)
        rgb = RGB(container.metadata, stream.sample_aspect_ratio)
        try:
            for frame in whole_frames(path, stream, chosen, line.first_key):
                yield rgb(frame)
                number += 1
        except VideoError:
            if threads == 1:
                raise
        else:
            return
    yield from islice(_frames(path), number, None)  # one thread says which frame is broken


def _clip_by_time(path: Path, line: Timeline, wanted: range) -> Sequence[np.ndarray]:
    """Frames of the wanted indices; empty if they do not come at the times of the timeline."""
    if line.ticks is None or not line.seekable:
        return []
    before = line.keys[line.keys <= line.ticks[wanted.start]][-KEYS_TRIED:]
    for key in reversed(before.tolist()):
        with suppress(VideoError):
            clip = [*_from_key(path, line, key, wanted)]
            if len(clip) == len(wanted):
                return clip
    return []


def _from_key(path: Path, line: Timeline, key: int, wanted: range) -> Iterator[np.ndarray]:
    """Yield frames of the wanted indices until one does not come at its time.

    Decoding starts at the key frame whose time is ``key``, in ticks of the timeline.
    """
    assert line.ticks is not None
    with open_decoder(path) as (container, stream):
        rgb = RGB(container.metadata, stream.sample_aspect_ratio)
        container.seek(key, stream=stream)
        packets = (packet for packet in container.demux(stream) if packet.size)
        packets = dropwhile(lambda packet: not packet.is_keyframe, packets)
        frames = whole_frames(path, stream, packets, key)
        for frame in _at_times(frames, line.ticks, wanted):
            yield rgb(frame)


def _at_times(
    frames: Iterator[VideoFrame], ticks: np.ndarray, wanted: range
) -> Iterator[VideoFrame]:
    """Yield frames of the wanted indices until one does not come at its time in ``ticks``."""
    number = wanted.start
    for frame in frames:
        if frame.pts is None or frame.pts < ticks[wanted.start]:
            continue
        if frame.pts != ticks[number]:
            return
        if number in wanted:
            yield frame
        if number == wanted[-1]:
            return
        number += 1


def _stacked(path: Path | str, frames: Sequence[np.ndarray]) -> np.ndarray:
    if len({frame.shape for frame in frames}) > 1:
        raise VideoError(f"{path}: its frames differ in size")
    return np.stack(frames)


def _rate(line: Timeline) -> tuple[Fraction, float, bool, bool]:
    """Frame rate of a timeline, its length in seconds, whether the rate varies and is known."""
    if line.ticks is None or line.frames == 1:
        stated = [rate for rate in line.rates if rate <= HIGHEST_FPS]
        fps = stated[0] if stated else FOLDER_FPS
        return fps, float(line.frames / fps), False, bool(stated)
    steps = np.diff(line.ticks)
    typical = int(np.median(steps))
    jumped = (steps > float(JUMP_SECONDS / line.tick_seconds)) & (steps > JUMP_STEPS * typical)
    steps[jumped] = typical  # the clock of a recording has jumped
    coarse = int(np.gcd.reduce(steps))  # ticks of the clock that the footage had first
    if coarse * COARSEST > steps.min():
        coarse = 1
    variable = bool(np.ptp(steps) > coarse)
    span_seconds = int(steps.sum()) * line.tick_seconds
    mean = (line.frames - 1) / span_seconds
    if variable:
        last_seconds = line.last_ticks * line.tick_seconds or 1 / mean
        return as_rate(mean), float(span_seconds + last_seconds), True, True
    simple = [r for r in line.rates if 100 % r.denominator == 0 or r.denominator == 1001]
    if mean in simple:
        return mean, float(span_seconds + 1 / mean), False, True
    usual = [Fraction(round(mean)), Fraction(round(mean * Fraction(1001, 1000)) * 1000, 1001)]
    error = coarse * line.tick_seconds
    for rates in (simple, usual, line.rates):
        near = [r for r in rates if r and abs((line.frames - 1) / r - span_seconds) <= error]
        if near:
            break
    fps = min(near or [as_rate(mean)], key=lambda rate: abs(rate - mean))
    return fps, float(span_seconds + 1 / mean), False, True
