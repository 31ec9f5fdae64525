"""Writes videos of any length in chunks, in constant memory.

Until it is closed, a file has a partial name, such as ``long.partial.mp4``, and can be played, even
if the writer was killed.
"""

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType

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
from longtake.video.errors import VideoError, writing
from longtake.video.orientation import padding_note
from longtake.video.read import as_rate

LOGGER = logging.getLogger("longtake")
FRAGMENT_FRAMES = 48  # distance of key frames, and most frames that a killed writer loses


@dataclass(frozen=True, kw_only=True)
class Format:
    """Codec and container of a kind of file."""

    codec: str
    pixels: str
    codec_options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)
    even: bool = False
    palette: bool = False


H264 = Format(
    codec="libx264",
    pixels="yuv420p",
    codec_options={"preset": "medium", "crf": "17", "g": str(FRAGMENT_FRAMES)},
    container_options={"movflags": "hybrid_fragmented+frag_keyframe", "flush_packets": "1"},
    even=True,
)
FORMATS = {
    ".mp4": H264,
    ".mov": H264,
    ".mkv": Format(
        codec="ffv1",
        pixels="bgr0",
        codec_options={"level": "3", "slicecrc": "1"},
        container_options={"flush_packets": "1"},
    ),
    ".gif": Format(
        codec="gif",
        pixels="pal8",
        container_options={"flush_packets": "1"},
        palette=True,
    ),
}
FOLDERS = ("", ".png")


class VideoWriter:
    """Writes one video; closed by ``with`` or ``close``.

    The suffix selects the format: ``.mp4`` and ``.mov`` are H.264, ``.mkv`` is lossless FFV1,
    ``.gif`` has one palette per frame, none or ``.png`` is a folder of PNG frames.

    H.264 needs even sizes: frames of odd sizes are padded by repeating their last row or column,
    which this package crops when it reads the file; other players show it.

    A partial file of an earlier writer of the same path is replaced.

    Attributes:
        partial: path of the file until it is closed.
        frames: number of frames written so far.
    """

    def __init__(
        self, path: Path | str, fps: Fraction | float | int, overwrite: bool = False
    ) -> None:
        """Check the path; the file is created when the first frames are written.

        Raises:
            VideoError: the suffix has no format, or ``fps`` is not positive.
            ExistsError: the path exists.
        """
        self.path, self.frames = Path(path), 0
        self.partial = partial_path(self.path)
        check_free(self.path, overwrite)
        if not fps > 0:
            raise VideoError(f"{self.path}: fps={fps} must be above 0")
        self._sink = _sink(self.path, as_rate(fps))
        self._shape: tuple[int, ...] | None = None

    def write(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Append frames.

        Raises:
            VideoError: the frames differ in size from earlier ones, or the disk is full.
        """
        if self._shape is None:
            self._shape = frames.shape[1:]
            remove(self.partial)
            with writing(self.path, self.partial):
                self._sink.open(self.path, self.partial, *self._shape[:2])
        if frames.shape[1:] != self._shape:
            raise VideoError(
                f"{self.path}: frames of {frames.shape[1]} x {frames.shape[2]} pixels follow "
                f"frames of {self._shape[0]} x {self._shape[1]}; all must have one size"
            )
        with writing(self.path, self.partial):
            for frame in frames:
                self._sink.write(frame)
                self.frames += 1

    def close(self) -> None:
        """Finish the file and rename it to its path.

        Raises:
            VideoError: no frames were written, or the disk is full.
        """
        if self._shape is None:
            raise VideoError(f"{self.path}: no frames were written")
        with writing(self.path, self.partial):
            self._sink.close()
            move(self.partial, self.path)

    def abandon(self) -> None:
        """Finish the file under its partial name, as far as possible; it can be played."""
        if self._shape is not None:
            with suppress(OSError, FFmpegError):
                self._sink.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def partial_path(path: Path) -> Path:
    """Path of a file until it is complete."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename a finished file or folder, replacing ``target``."""
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)


class _Sink(ABC):
    """Encodes frames one at a time."""

    @abstractmethod
    def open(self, path: Path, partial: Path, height: int, width: int) -> None: ...

    @abstractmethod
    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


def _sink(path: Path, fps: Fraction) -> _Sink:
    suffix = path.suffix.lower()
    if suffix in FOLDERS:
        return _Pictures()
    if suffix not in FORMATS:
        raise VideoError(
            f"{path}: unknown format {suffix!r}; valid are {', '.join(FORMATS)}, "
            "or no suffix or .png for a folder of frames"
        )
    return _Encoder(FORMATS[suffix], fps)


class _Pictures(_Sink):
    def open(self, path: Path, partial: Path, height: int, width: int) -> None:
        del path, height, width
        partial.mkdir()
        self._folder, self._number = partial, 0

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        unfinished = self._folder / ".unfinished.png"
        Image.fromarray(frame).save(unfinished)
        unfinished.replace(self._folder / f"{self._number:08d}.png")
        self._number += 1

    def close(self) -> None:
        pass


class _Encoder(_Sink):
    def __init__(self, form: Format, fps: Fraction) -> None:
        self._form, self._fps, self._number = form, fps, 0
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._graph: Graph | None = None

    def open(self, path: Path, partial: Path, height: int, width: int) -> None:
        form = self._form
        partial.touch()
        container = av.open(partial, "w", container_options=dict(form.container_options))
        stream = container.add_stream(form.codec, rate=self._fps, options=dict(form.codec_options))
        assert isinstance(stream, VideoStream)
        self._pad = (height % 2, width % 2) if form.even else (0, 0)
        stream.height, stream.width = height + self._pad[0], width + self._pad[1]
        stream.pix_fmt = form.pixels
        stream.codec_context.time_base = 1 / self._fps
        if form.pixels == "yuv420p":
            stream.codec_context.colorspace = Colorspace.ITU709
            stream.codec_context.color_range = ColorRange.MPEG
        if any(self._pad):
            container.metadata["comment"] = padding_note(height, width)
            LOGGER.warning(
                "%s: H.264 needs even sizes; %d x %d pixels (height x width) are padded to "
                "%d x %d; longtake crops the padding when reading, other players do not",
                *(path, height, width, stream.height, stream.width),
            )
        self._container, self._stream = container, stream
        if form.palette:
            self._graph = _palette_graph(stream, self._fps)

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        assert self._stream is not None
        if any(self._pad):
            frame = np.pad(frame, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), "edge")
        image = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._graph is not None:
            image.pts, image.time_base = self._number, 1 / self._fps
            self._graph.vpush(image)
            image = self._graph.vpull()
        elif self._form.pixels == "yuv420p":
            image = image.reformat(
                format=self._form.pixels,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
        image.pts, image.time_base = self._number, 1 / self._fps
        self._number += 1
        self._mux(image)

    def close(self) -> None:
        if self._container is None:
            return
        try:
            self._mux(None)
        finally:
            container, self._container = self._container, None
            container.close()

    def _mux(self, image: VideoFrame | None) -> None:
        assert self._container is not None
        assert self._stream is not None
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
