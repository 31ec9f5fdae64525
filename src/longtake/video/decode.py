"""Decodes the whole frames of a stream, and turns them to upright RGB."""

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from longtake.video import ffv1, h264
from longtake.video.files import VideoError, open_stream
from longtake.video.pixel_shape import square_size

NO_CONCEALMENT = {"err_detect": "explode"}  # FFmpeg must not invent broken frames
PADDED = "longtake: cut to {width} x {height}"  # comment of a file whose frames are padded
UNBIASED = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@contextmanager
def open_decoder(path: Path, *, threads: int = 1) -> Generator[tuple[InputContainer, VideoStream]]:
    """Context manager that opens a video file for decoding; yields container and video stream.

    ``threads`` is the number of decoding threads; 0: one per processor.

    Raises:
        VideoError: the file is missing, or not a video.
    """
    with open_stream(path) as (container, stream):
        codec = stream.codec_context
        codec.thread_count, codec.thread_type = threads, "AUTO"
        codec.flags |= Flags.unaligned  # else a crop on the left is rounded to whole blocks
        codec.options = NO_CONCEALMENT
        yield container, stream


def whole_frames(
    path: Path, stream: VideoStream, packets: Iterable[Packet], key: int | None
) -> Iterator[VideoFrame]:
    """Yield the decoded frames of packets of a video stream, the first of which is a key frame.

    Args:
        path: path of the file, for error messages.
        stream: the video stream.
        packets: packets to decode.
        key: time of the key frame, in units of the stream's time base, if it is not the file's
            first; else None. Frames that are shown before it may refer to frames before the key
            frame; those that cannot be decoded are left out. H.264 may then report an error for a
            packet whose frame is intact; it is ignored.

    Raises:
        VideoError: any other frame is broken.
    """
    number, groups, awaited = 0, 0, []
    codec = stream.codec_context.name
    flags_errors = codec == h264.NAME
    has_checksums = codec == "ffv1" and stream.codec_context.extradata
    for packet in chain(h264.repaired(packets, stream), [None]):
        if packet is not None and has_checksums and ffv1.is_damaged(bytes(packet)):
            raise VideoError(f"{path}: frame {number} is broken (its checksum is wrong)")
        groups += packet is not None and packet.is_keyframe
        frames = []
        try:
            frames = stream.codec_context.decode(packet)
        except InvalidDataError as error:
            if packet is None or (not _before(packet, key) and (groups > 1 or not flags_errors)):
                raise VideoError(f"{path}: frame {number} is broken ({error.strerror})") from error
            if not _before(packet, key):
                awaited.append(packet.pts)
        for frame in frames:
            if frame.is_corrupt and _before(frame, key):
                continue
            awaited = [ticks for ticks in awaited if ticks != frame.pts]
            if frame.is_corrupt or any(ticks < frame.pts for ticks in awaited):
                raise VideoError(f"{path}: frame {number} is broken")
            yield frame
            number += 1
    if awaited:
        raise VideoError(f"{path}: frame {number} is broken")


class RGB:
    """Converts the decoded frames of a file to upright RGB, uint8 of shape ``(H, W, 3)``.

    Frames whose pixels are not square, as of DVDs and of some cameras, are made wider or higher, as
    players show them.

    Args:
        metadata: metadata of the file's container, which say whether ``VideoWriter`` has padded the
            frames.
        pixel_aspect: width of a pixel divided by its height; None if the file does not say it.
    """

    def __init__(self, metadata: Mapping[str, str], pixel_aspect: Fraction | None) -> None:
        self._convert, self._size = Converter(), _written_size(metadata)
        self._aspect = pixel_aspect if self._size is None else None

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        """Convert a frame to RGB, cropped, rotated and mirrored as the file specifies."""
        height, width = self._square(frame)
        pixels = self._convert(frame, format="rgb24", height=height, width=width).to_ndarray()
        if self._size is not None:
            pixels = pixels[: self._size[0], : self._size[1]]
        matrix = _display_matrix(frame)
        if matrix is None:
            return pixels
        a, b, _, c, d = matrix[:5]
        if abs(b) > abs(a):
            pixels, a, d = pixels.swapaxes(0, 1), c, b
        return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]

    def size(self, frame: VideoFrame) -> tuple[int, int]:
        """Height and width of a frame when it is upright and cropped, without converting it."""
        height, width = self._size or self._square(frame)
        matrix = _display_matrix(frame)
        sideways = matrix is not None and abs(matrix[1]) > abs(matrix[0])
        return (width, height) if sideways else (height, width)

    def _square(self, frame: VideoFrame) -> tuple[int, int]:
        """Height and width of a frame, not yet turned, with square pixels."""
        return square_size(frame.height, frame.width, self._aspect)


class Converter:
    """Converts frames to other pixel formats on one thread, rounded to the nearest level.

    FFmpeg's default, a lookup table, makes every conversion to YUV and back about 1.3 of 255 levels
    darker, and PyAV starts threads for each frame.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame, **to: Any) -> VideoFrame:
        return self._reformatter.reformat(frame, interpolation=UNBIASED, threads=1, **to)


def _display_matrix(frame: VideoFrame) -> np.ndarray | None:
    """The matrix that turns a frame upright; None if the file has none.

    ``frame.side_data`` is not used: it and the frame would refer to each other, which keeps both
    until a garbage collection. At EXIF data PyAV 18 raises a ``ValueError``, after kinds it knows.
    """
    side_data = SideDataContainer.__new__(SideDataContainer)
    with suppress(ValueError):
        side_data.__init__(frame)  # pyright: ignore[reportCallIssue]
    for data in side_data:
        with suppress(ValueError):
            if data.type is Type.DISPLAYMATRIX:
                return np.frombuffer(memoryview(data), np.int32).copy()
    return None


def _before(shown: Packet | VideoFrame, key: int | None) -> bool:
    return shown.pts is not None and key is not None and shown.pts < key


def _written_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Height and width before padding of a file that ``VideoWriter`` padded; None for any other."""
    pattern = PADDED.format(width=r"(\d+)", height=r"(\d+)")
    comments = [value for key, value in metadata.items() if key.lower() == "comment"]
    sizes = [found for comment in comments if (found := re.fullmatch(pattern, comment))]
    return (int(sizes[0][2]), int(sizes[0][1])) if sizes else None
