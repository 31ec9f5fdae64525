"""Frame-exact reading of videos in any container.

A video is a file, or a folder of pictures in natural order of their names.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import InvalidDataError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from longtake.video import pictures
from longtake.video.errors import VideoError, reading
from longtake.video.orientation import upright, written_size
from longtake.video.timeline import Timeline, timeline, video_stream

FOLDER_FPS = Fraction(25)
KEYS_TRIED = 2  # key frames before a clip from which decoding is tried
NO_CONCEALMENT = {"err_detect": "explode"}  # FFmpeg must not invent broken frames


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Size, length and rate of a video.

    Attributes:
        fps: frames a second; the mean for a variable rate.
        height: height of the upright frames in pixels.
        variable_rate: whether frames are shown for different times.
        rate_known: False if ``fps`` is an assumption, as for a folder of pictures.
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
    """Get information about a video by reading its packets and decoding its first frame.

    Args:
        path: a file, or a folder of pictures.
        folder_fps: frames a second of a folder of pictures, which has no rate.

    Raises:
        VideoError: the file does not exist, is not a video, is broken or truncated.
    """
    path = Path(path)
    if path.is_dir():
        files = pictures.files(path)
        height, width = pictures.size(files[0])
        fps, frames, variable = as_rate(folder_fps), len(files), False
        seconds = float(frames / fps)
    else:
        line = timeline(path)
        frames = line.frames
        with _opened(path, "SLICE") as (container, stream):
            first = next(_pixels(path, container.decode(stream), container), None)
            rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        if first is None:
            raise VideoError(f"{path}: not a video, none of its frames can be decoded")
        height, width = first.shape[:2]
        fps, seconds, variable = _rate(line, [Fraction(rate) for rate in rates if rate])
    return VideoInfo(
        path=path,
        frames=frames,
        fps=fps,
        height=height,
        width=width,
        seconds=seconds,
        variable_rate=variable,
        rate_known=not path.is_dir(),
    )


def frame_seconds(path: Path | str, folder_fps: Fraction | float | int = FOLDER_FPS) -> np.ndarray:
    """Time at which each frame is shown, in seconds since the first.

    Raises:
        VideoError: as ``probe``, or the file has no times.
    """
    path = Path(path)
    if path.is_dir():
        return np.arange(len(pictures.files(path))) / float(folder_fps)
    line = timeline(path)
    if line.ticks is None:
        raise VideoError(f"{path}: has no times of its frames")
    return (line.ticks - line.ticks[0]) * float(line.tick_seconds)


def read_clip(
    path: Path | str, start_frame: int, frames: int, stride: int = 1
) -> UInt8[np.ndarray, "t h w 3"]:
    """Read evenly spaced frames, decoding from the nearest key frame before them.

    Args:
        path: a file, or a folder of pictures.
        start_frame: index of the first frame.
        frames: number of frames to read.
        stride: distance between consecutive frames of the clip.

    Raises:
        VideoError: the video does not have these frames, or they are broken.
    """
    path = Path(path)
    if start_frame < 0 or frames < 1 or stride < 1:
        raise ValueError(
            f"start_frame={start_frame}, frames={frames}, stride={stride}: expected a start of "
            "at least 0, at least one frame and a stride of at least 1"
        )
    wanted = range(start_frame, start_frame + frames * stride, stride)
    if path.is_dir():
        files = pictures.files(path)
        _check_range(path, wanted, len(files))
        return pictures.read([files[number] for number in wanted])
    line = timeline(path)
    _check_range(path, wanted, line.frames)
    clip = _clip_by_time(path, line, wanted)
    return _clip_by_number(path, wanted) if clip is None else clip


def open_video(
    path: Path | str, folder_fps: Fraction | float | int = FOLDER_FPS
) -> tuple[UInt8[np.ndarray, "t h w 3"], Fraction]:
    """All frames of a video, and its frames a second.

    Raises:
        VideoError: as ``probe``.
    """
    fps = probe(path, folder_fps).fps
    chunks = list(stream_video(path, chunk_frames=64))
    return _joined(Path(path), chunks), fps


def stream_video(
    path: Path | str, chunk_frames: int = 16
) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
    """Read all frames in chunks, in memory that does not depend on the video's length.

    Raises:
        VideoError: as ``probe``.
    """
    path = Path(path)
    if path.is_dir():
        files = pictures.files(path)
        for first in range(0, len(files), chunk_frames):
            yield pictures.read(files[first : first + chunk_frames])
        return
    timeline(path)
    with _opened(path, "AUTO") as (container, stream):
        frames = _pixels(path, container.decode(stream), container)
        while chunk := list(islice(frames, chunk_frames)):
            yield _stacked(path, chunk)


def as_rate(fps: Fraction | float | int) -> Fraction:
    """Frames a second as a fraction that files can store."""
    return Fraction(fps).limit_denominator(1001)


@contextmanager
def _opened(path: Path, threads: str) -> Generator[tuple[InputContainer, VideoStream]]:
    with reading(path), av.open(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = threads
        stream.codec_context.options = NO_CONCEALMENT
        yield container, stream


def _pixels(
    path: Path, frames: Iterator[VideoFrame], container: InputContainer
) -> Iterator[np.ndarray]:
    size, number = written_size(container.metadata), 0
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except InvalidDataError as error:
            raise VideoError(f"{path}: frame {number} is broken ({error.strerror})") from error
        yield upright(frame, size)
        number += 1


def _clip_by_time(path: Path, line: Timeline, wanted: range) -> np.ndarray | None:
    """The clip, or None if frames do not come at the times of the timeline."""
    if line.ticks is None:
        return None
    before = line.keys[line.keys <= line.ticks[wanted.start]][-KEYS_TRIED:]
    with _opened(path, "SLICE") as (container, stream):
        size = written_size(container.metadata)
        for key in reversed(before):
            container.seek(int(key), stream=stream)
            try:
                clip = _collect(_decode_from_key(container, stream), line, wanted, size)
            except InvalidDataError:
                continue
            if len(clip) == len(wanted):
                return _stacked(path, clip)
    return None


def _collect(
    frames: Iterator[VideoFrame], line: Timeline, wanted: range, size: tuple[int, int] | None
) -> list[np.ndarray]:
    """The wanted frames; fewer if one does not come at its time."""
    assert line.ticks is not None
    clip, number = [], wanted.start
    for frame in frames:
        if frame.pts is None or frame.pts < line.ticks[wanted.start]:
            continue
        if frame.pts != line.ticks[number]:
            return clip
        if number in wanted:
            clip.append(upright(frame, size))
        if number == wanted[-1]:
            return clip
        number += 1
    return clip


def _decode_from_key(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    started = False
    for packet in container.demux(stream):
        started = started or packet.is_keyframe
        if started:
            yield from packet.decode()


def _clip_by_number(path: Path, wanted: range) -> np.ndarray:
    with _opened(path, "SLICE") as (container, stream):
        frames = _pixels(path, container.decode(stream), container)
        clip = list(islice(frames, wanted.start, wanted[-1] + 1, wanted.step))
    if len(clip) < len(wanted):
        raise VideoError(f"{path}: ends before frame {wanted[len(clip)]}")
    return _stacked(path, clip)


def _check_range(path: Path, wanted: range, frames: int) -> None:
    if wanted[-1] >= frames:
        raise VideoError(
            f"{path}: has {frames} frames, but frames {wanted[0]} to {wanted[-1]} were requested"
        )


def _stacked(path: Path, frames: Sequence[np.ndarray]) -> np.ndarray:
    if len({frame.shape for frame in frames}) > 1:
        raise VideoError(f"{path}: its frames differ in size")
    return np.stack(frames)


def _joined(path: Path, chunks: Sequence[np.ndarray]) -> np.ndarray:
    if not chunks:
        raise VideoError(f"{path}: not a video, none of its frames can be decoded")
    if len({chunk.shape[1:] for chunk in chunks}) > 1:
        raise VideoError(f"{path}: its frames differ in size")
    return np.concatenate(chunks)


def _rate(line: Timeline, stated: Sequence[Fraction]) -> tuple[Fraction, float, bool]:
    """Frames a second, length in seconds and whether the rate varies."""
    if line.ticks is None or line.frames == 1:
        fps = stated[0] if stated else FOLDER_FPS
        return fps, float(line.frames / fps), False
    steps = np.diff(line.ticks)
    variable = bool(np.ptp(steps) > 1)
    span_seconds = int(line.ticks[-1] - line.ticks[0]) * line.tick_seconds
    mean = (line.frames - 1) / span_seconds
    rates = [as_rate(mean)] if variable or not stated else stated
    fps = min(rates, key=lambda rate: abs(rate - mean))
    last_seconds = line.last_ticks * line.tick_seconds or 1 / mean
    return fps, float(span_seconds + last_seconds), variable
