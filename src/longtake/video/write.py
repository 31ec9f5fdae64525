"""Writes videos of any length in chunks, in constant memory.

Until it is closed, a file has a partial name, such as ``long.partial.mp4``, and can be played, even
if the writer was killed.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from jaxtyping import UInt8
from PIL import Image

from longtake.checkpoint import check_free
from longtake.files import put, remove
from longtake.video.decode import PADDED, Converter
from longtake.video.files import (
    VideoError,
    address,
    partial_path,
    writing,
)
from longtake.video.read import as_rate

LOGGER = logging.getLogger("longtake")
FLUSHED = {"flush_packets": "1"}
# Frames are coded out of order. Only with ``delay_moov`` does the index say, by an edit list, that
# the first one is at time 0; else it is two frames later, and browsers never show the last two.
FRAGMENTED = "hybrid_fragmented+frag_keyframe+delay_moov"
FRAGMENT_FRAMES = 48  # distance of key frames, and most frames that a killed writer loses


@dataclass(frozen=True, kw_only=True)
class Format:
    """Codec and container of a file format.

    Attributes:
        codec: FFmpeg's name of the codec.
        pixels: FFmpeg's name of the pixel format.
        codec_options: options of the codec.
        container_options: options of the container.
        highest_fps: greatest frame rate that can be stored.
    """

    codec: str
    pixels: str
    codec_options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=lambda: FLUSHED)
    highest_fps: int = 1000

    @property
    def halves_chroma(self) -> bool:
        """Whether colours are stored at half resolution, so that sizes must be even."""
        return self.pixels == "yuv420p"


H264 = Format(
    codec="libx264",
    pixels="yuv420p",
    codec_options={
        **{"preset": "medium", "crf": "17", "g": str(FRAGMENT_FRAMES)},
        # Equal frames give equal files on any machine: the encoder's result depends on its number
        # of threads, and its vector code for macroblock trees reads what lies behind small frames.
        **{"threads": "1", "x264-params": "cpu-independent=1"},
    },
    container_options={"movflags": FRAGMENTED, **FLUSHED},
)
FORMATS = {
    ".mp4": H264,
    ".mov": H264,
    ".mkv": Format(
        codec="ffv1",
        pixels="bgr0",
        codec_options={"level": "3", "slicecrc": "1"},
        container_options={"fflags": "bitexact", **FLUSHED},  # without random identifiers
    ),
    ".gif": Format(codec="gif", pixels="pal8", highest_fps=50),  # players slow down faster ones
}
FOLDERS = ("", ".png")
LOWEST_FPS = 0.01


class VideoWriter:
    """Writes one video file; a context manager, or call ``close`` at the end.

    The suffix selects the format: ``.mp4`` and ``.mov`` are H.264, ``.mkv`` is lossless FFV1,
    ``.gif`` has one palette per frame, ``.png`` or no suffix is a folder of PNG frames.

    H.264 needs even sizes: frames of odd sizes are padded by repeating their last row or column,
    which this package crops when it reads the file; other players show it.

    Frames are written to a partial file, which is renamed when complete; one that an earlier writer
    of this path left behind is replaced.

    Attributes:
        partial: path of the partial file.
        frames: number of frames written so far.
    """

    def __init__(
        self,
        path: Path | str,
        fps: Fraction | float | int,
        overwrite: bool = False,
        key_frames: int = FRAGMENT_FRAMES,
    ) -> None:
        """Check the path; the file is created when the first frames are written.

        ``key_frames`` is the number of frames from one key frame of H.264 to the next. A reader
        decodes up to this number of frames before the one that it wants, and a killed writer loses
        as many.

        Raises:
            VideoError: no format has the suffix, or it cannot store the frame rate.
            ExistsError: the path exists and ``overwrite`` is false.
        """
        self.path, self.frames = Path(path), 0
        self.partial = partial_path(self.path)
        check_free(self.path, overwrite)
        check_format(self.path, fps)
        self._fps, self._key_frames = as_rate(fps), key_frames
        self._encoder: _Encoder | _Pictures | None = None
        self._shape: tuple[int, ...] = ()

    def write(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Append frames to the video.

        Raises:
            VideoError: the frames differ in size from earlier ones, or the file cannot be written,
                as when the disk is full.
        """
        with writing(self.path, self.partial):
            if self._encoder is None:
                remove(self.partial)
                self._shape = frames.shape[1:]
                size = self._shape[:2]
                form = FORMATS.get(self.path.suffix.lower())
                if form is not None and form is H264:
                    options = {**form.codec_options, "g": str(self._key_frames)}
                    form = replace(form, codec_options=options)
                self._encoder = (
                    _Encoder(form, self._fps, self.path, *size) if form else _Pictures(self.partial)
                )
            if frames.shape[1:] != self._shape:
                raise VideoError(
                    f"{self.path}: frames of {frames.shape[1]} x {frames.shape[2]} pixels (height "
                    f"x width) follow frames of {self._shape[0]} x {self._shape[1]}; all must have "
                    "one size"
                )
            for frame in frames:
                self._encoder.write(frame, self.frames)
                self.frames += 1

    def close(self) -> None:
        """Finish the file and rename it to its path.

        Raises:
            VideoError: no frames were written, or the file cannot be written, as when the disk is
                full.
        """
        if self._encoder is None:
            raise VideoError(f"{self.path}: no frames were written")
        with writing(self.path, self.partial):
            self._encoder.close()
            put(self.partial, self.path)

    def abandon(self) -> None:
        """Finish the file under its partial name, so that it can be played if possible."""
        if self._encoder is not None:
            with suppress(OSError, FFmpegError):
                self._encoder.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def check_format(path: Path, fps: Fraction | float | int) -> None:
    """Raise a VideoError if no format has the suffix of ``path``, or it cannot store ``fps``."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS and suffix not in FOLDERS:
        raise VideoError(
            f"{path}: unknown format {suffix!r}; valid are {', '.join(FORMATS)}, "
            "or no suffix or .png for a folder of frames"
        )
    highest = FORMATS.get(suffix, H264).highest_fps
    if not LOWEST_FPS <= fps <= highest:
        kind = f" of a {suffix} file" if suffix else ""
        raise VideoError(f"{path}: fps={fps}{kind} must be from {LOWEST_FPS} to {highest}")


class _Pictures:
    """Writes a folder of numbered PNG frames."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    def write(self, frame: UInt8[np.ndarray, "h w 3"], number: int) -> None:
        unfinished = self._folder / ".unfinished.png"
        Image.fromarray(frame).save(unfinished)
        unfinished.replace(self._folder / f"{number:08d}.png")

    def close(self) -> None:
        pass


class _Encoder:
    """Encodes and writes a video file, one frame at a time."""

    def __init__(self, form: Format, fps: Fraction, path: Path, height: int, width: int) -> None:
        partial = partial_path(path)
        partial.touch()
        container = av.open(address(partial), "w", container_options=dict(form.container_options))
        stream = container.add_stream(form.codec, rate=fps, options=dict(form.codec_options))
        assert isinstance(stream, VideoStream)
        pad = (height % 2, width % 2) if form.halves_chroma else (0, 0)
        stream.height, stream.width, stream.pix_fmt = height + pad[0], width + pad[1], form.pixels
        stream.codec_context.time_base = 1 / fps
        if form.halves_chroma:
            stream.codec_context.colorspace = Colorspace.ITU709
            stream.codec_context.color_range = ColorRange.MPEG
        if any(pad):
            container.metadata["comment"] = PADDED.format(height=height, width=width)
            LOGGER.warning(
                "%s: H.264 needs even sizes; %d x %d pixels (height x width) are padded to "
                "%d x %d; longtake crops the padding when reading, other players do not",
                *(path, height, width, stream.height, stream.width),
            )
        self._container: OutputContainer | None = container
        self._convert = Converter()
        self._form, self._fps, self._pad, self._stream = form, fps, pad, stream
        self._graph = _palette_graph(stream, fps) if form.pixels == "pal8" else None

    def write(self, frame: UInt8[np.ndarray, "h w 3"], number: int) -> None:
        if any(self._pad):
            frame = np.pad(frame, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), "edge")
        image = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._graph is not None:
            image.pts, image.time_base = number, 1 / self._fps
            self._graph.vpush(image)
            image = self._graph.vpull()
        elif self._form.halves_chroma:
            to = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
            image = self._convert(image, format=self._form.pixels, **to)
        else:
            image = self._convert(image, format=self._form.pixels)
        image.pts, image.time_base = number, 1 / self._fps
        self._mux(image)

    def close(self) -> None:
        """Write the frames that the codec still holds, and close; a second call does nothing."""
        if self._container is not None:
            try:
                self._mux(None)
            finally:
                container, self._container = self._container, None
                container.close()
                del self._stream, self._graph  # and with them the threads of the codec

    def _mux(self, image: VideoFrame | None) -> None:
        assert self._container is not None
        self._container.mux(self._stream.encode(image))


def _palette_graph(stream: VideoStream, fps: Fraction) -> Graph:
    """A filter that gives each frame its own palette of 256 colours."""
    graph = Graph()
    source = graph.add_buffer(
        width=stream.width, height=stream.height, format=VideoFormat("rgb24"), time_base=1 / fps
    )
    split, use = graph.add("split"), graph.add("paletteuse", "new=1")
    palette = graph.add("palettegen", "stats_mode=single")
    source.link_to(split)
    split.link_to(palette, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
