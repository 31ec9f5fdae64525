"""Frame-exact reading of videos in any container.

A video is a file, or a folder of pictures in natural order of their names.
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import dropwhile, islice
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import InvalidDataError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from longtake.video import pictures
from longtake.video.files import VideoError, open_stream
from longtake.video.timeline import Timeline, timeline

FOLDER_FPS = Fraction(25)
KEYS_TRIED = 2  # key frames before a clip from which decoding is tried
NO_CONCEALMENT = {"err_detect": "explode"}  # FFmpeg must not invent broken frames
PADDED = "longtake: cut to {width} x {height}"  # comment of a file whose frames are padded


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

    A folder of pictures has no rate, so is taken to have ``folder_fps`` frames a second.

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
        first = next(_frames(path, "SLICE"), None)
        if first is None:
            raise VideoError(f"{path}: not a video, none of its frames can be decoded")
        frames, (height, width) = line.frames, first.shape[:2]
        fps, seconds, variable = _rate(line)
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
    """Read ``frames`` frames, ``stride`` apart, decoding from the nearest key frame before them.

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
    files = pictures.files(path) if path.is_dir() else []
    line = None if files else timeline(path)
    there = len(files) if line is None else line.frames
    if wanted[-1] >= there:
        raise VideoError(
            f"{path}: has {there} frames, but frames {wanted[0]} to {wanted[-1]} were requested"
        )
    if line is None:
        return _stacked(path, [*pictures.frames([files[number] for number in wanted])])
    clip = _clip_by_time(path, line, wanted)
    if len(clip) < len(wanted):
        clip = list(islice(_frames(path, "SLICE"), wanted.start, wanted[-1] + 1, wanted.step))
    if len(clip) < len(wanted):
        raise VideoError(f"{path}: ends before frame {wanted[len(clip)]}")
    return _stacked(path, clip)


def open_video(
    path: Path | str, folder_fps: Fraction | float | int = FOLDER_FPS
) -> tuple[UInt8[np.ndarray, "t h w 3"], Fraction]:
    """All frames of a video, and its frames a second.

    Raises:
        VideoError: as ``probe``.
    """
    fps = probe(path, folder_fps).fps
    return _stacked(path, [frame for chunk in stream_video(path) for frame in chunk]), fps


def stream_video(
    path: Path | str, chunk_frames: int = 16
) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
    """Read all frames in chunks, in memory that does not depend on the video's length.

    Raises:
        VideoError: as ``probe``.
    """
    frames = _frames(Path(path), "AUTO")
    while chunk := list(islice(frames, chunk_frames)):
        yield _stacked(path, chunk)


def as_rate(fps: Fraction | float | int) -> Fraction:
    """Frames a second as a fraction that files can store."""
    return Fraction(fps).limit_denominator(1001)


@contextmanager
def _decoding(path: Path, threads: str) -> Generator[tuple[InputContainer, VideoStream]]:
    with open_stream(path) as (container, stream):
        stream.thread_type = threads
        stream.codec_context.options = NO_CONCEALMENT
        yield container, stream


def _frames(path: Path, threads: str) -> Iterator[np.ndarray]:
    """Upright frames of a video from its first one on."""
    if path.is_dir():
        yield from pictures.frames(pictures.files(path))
        return
    timeline(path)  # the file is whole
    number = 0
    with _decoding(path, threads) as (container, stream):
        size = _written_size(container.metadata)
        try:
            for frame in container.decode(stream):
                yield _upright(frame, size)
                number += 1
        except InvalidDataError as error:
            raise VideoError(f"{path}: frame {number} is broken ({error.strerror})") from error


def _clip_by_time(path: Path, line: Timeline, wanted: range) -> Sequence[np.ndarray]:
    """The clip; fewer frames if they do not come at the times of the timeline."""
    if line.ticks is None:
        return []
    before = line.keys[line.keys <= line.ticks[wanted.start]][-KEYS_TRIED:]
    with _decoding(path, "SLICE") as (container, stream):
        size = _written_size(container.metadata)
        for key in reversed(before):
            container.seek(int(key), stream=stream)
            try:
                packets = dropwhile(lambda packet: not packet.is_keyframe, container.demux(stream))
                decoded = (frame for packet in packets for frame in packet.decode())
                clip = [_upright(frame, size) for frame in _at_times(decoded, line.ticks, wanted)]
            except InvalidDataError:
                continue
            if len(clip) == len(wanted):
                return clip
    return []


def _at_times(
    frames: Iterator[VideoFrame], ticks: np.ndarray, wanted: range
) -> Iterator[VideoFrame]:
    """The wanted frames, until one does not come at its time."""
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


def _written_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Height and width of a padded file before padding; None for any other file."""
    pattern = PADDED.format(width=r"(\d+)", height=r"(\d+)")
    comments = [value for key, value in metadata.items() if key.lower() == "comment"]
    sizes = [found for comment in comments if (found := re.fullmatch(pattern, comment))]
    return (int(sizes[0][2]), int(sizes[0][1])) if sizes else None


def _upright(frame: VideoFrame, size: tuple[int, int] | None) -> np.ndarray:
    """RGB of a frame, uint8 ``(H, W, 3)``: cropped, rotated and mirrored as the file specifies."""
    pixels = frame.to_ndarray(format="rgb24")
    if size is not None:
        pixels = pixels[: size[0], : size[1]]
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5]
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _stacked(path: Path | str, frames: Sequence[np.ndarray]) -> np.ndarray:
    if len({frame.shape for frame in frames}) > 1:
        raise VideoError(f"{path}: its frames differ in size")
    return np.stack(frames)


def _rate(line: Timeline) -> tuple[Fraction, float, bool]:
    """Frames a second, length in seconds and whether the rate varies."""
    if line.ticks is None or line.frames == 1:
        fps = line.rates[0] if line.rates else FOLDER_FPS
        return fps, float(line.frames / fps), False
    steps = np.diff(line.ticks)
    variable = bool(np.ptp(steps) > 1)
    span_seconds = int(line.ticks[-1] - line.ticks[0]) * line.tick_seconds
    mean = (line.frames - 1) / span_seconds
    rates = [as_rate(mean)] if variable or not line.rates else line.rates
    fps = min(rates, key=lambda rate: abs(rate - mean))
    last_seconds = line.last_ticks * line.tick_seconds or 1 / mean
    return fps, float(span_seconds + last_seconds), variable
