"""Video files: opened for reading, under a partial name while written, errors as one sentence."""

import errno
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from longtake.video.archive import Place, place

FULL = (errno.ENOSPC, errno.EDQUOT)
MP4, MP4_HEAD = "mp4", b"ftyp"
_CONTAINERS = """
    mov matroska webm avi gif apng mpeg mpegts asf flv ogg mxf yuv4mpegpipe ivf nut dv rm wtv
    h264 hevc obu m4v mpegvideo vc1
"""
# Other formats of FFmpeg, such as playlists, would open further files or the network.
ONLY_VIDEO_FILES = {
    "protocol_whitelist": "file,subfile",
    "format_whitelist": ",".join(_CONTAINERS.split()),
}
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
DEFAULT_BONUS = 5_000_000  # pixels, as in FFmpeg's map_auto_video
NO_INDEX = "truncated: an mp4 file without a complete index (moov), which is written last"


class VideoError(ValueError):
    """A file is not a video, is broken, or cannot be written; the message names the file."""


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Context manager for reading ``path``: errors of FFmpeg and the system become VideoErrors."""
    try:
        yield
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file") from error
    except FFmpegError as error:
        raise VideoError(f"{path}: {_fault(error, path)}") from error
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror or error})") from error


def address(path: Path) -> str:
    """Address of a file for FFmpeg, which would take the path ``12:30.mp4`` for a URL."""
    return f"file:{path.absolute()}"


def _part(there: Place) -> str:
    """Address for FFmpeg of the bytes of a member of a tar file."""
    return f"subfile,,start,{there.start},end,{there.end},,:{address(there.file)}"


@contextmanager
def open_stream(path: Path) -> Generator[tuple[InputContainer, VideoStream]]:
    """Context manager that opens a video file; yields the container and its video stream.

    Of several it is the one that FFmpeg takes: the largest, and more likely the one that the file
    marks as its default. Cover pictures and thumbnails do not count. ``path`` may lead into a tar
    file.

    Raises:
        VideoError: the file is missing, cannot be read, has no video stream, or one in a codec that
            FFmpeg does not know.
    """
    with reading(path):
        there = place(path)
        if not stat.S_ISREG(there.file.stat().st_mode):
            raise VideoError(f"{path}: not a regular file")
        options = {"container_options": ONLY_VIDEO_FILES, "metadata_errors": "replace"}
        opened = address(path) if there.file == path else _part(there)
        with av.open(opened, **options) as container:
            yield container, _video_stream(path, container)


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    films = [s for s in container.streams.video if not s.disposition & COVERS]
    if not films:
        whole = MP4 not in container.format.name or container.streams.audio
        raise VideoError(
            f"{path}: " + ("not a video, it has no video stream" if whole else NO_INDEX)
        )
    film = max(films, key=_pixels)
    if film.codec_context is None:
        raise VideoError(f"{path}: is in a codec that FFmpeg does not know; convert it to H.264")
    return film


def _pixels(stream: VideoStream) -> int:
    """Number of pixels of a stream's frames, by which FFmpeg chooses, with its bonus for a default.

    It is 0 for a codec that FFmpeg does not know.
    """
    known = stream.codec_context is not None
    bonus = DEFAULT_BONUS if stream.disposition & Disposition.default else 0
    return stream.height * stream.width + bonus if known else 0


@contextmanager
def writing(path: Path, partial: Path) -> Generator[None]:
    """Context manager for writing ``path``: errors of FFmpeg and the system become VideoErrors.

    ``partial`` is the path that is written to until ``path`` is complete.
    """
    try:
        yield
    except (OSError, FFmpegError) as error:
        raise cannot_write(error, path, partial) from error


def cannot_write(error: Exception, path: Path, partial: Path) -> VideoError:
    """Make the VideoError for an ``error`` in writing ``path``.

    If the file ``partial``, written to until ``path`` is complete, exists, the message names it.
    """
    left = f"; the frames written so far are in {partial}" if partial.exists() else ""
    if getattr(error, "errno", None) in FULL:
        return VideoError(f"{path}: the disk is full{left}")
    reason = getattr(error, "strerror", None) or error
    return VideoError(f"{path}: cannot be written ({reason}){left}")


def partial_path(path: Path) -> Path:
    """Path that a file has until it is complete: ``sea.partial.mp4`` for ``sea.mp4``."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def _fault(error: FFmpegError, path: Path) -> str:
    if not isinstance(error, InvalidDataError) and error.errno != errno.EINVAL:
        return f"cannot be read ({error.strerror})"
    there = place(path)
    with there.file.open("rb") as file:
        file.seek(there.start)
        head = file.read(min(8, there.size))
    if not head:
        return "not a video, the file is empty"
    return NO_INDEX if head[4:] == MP4_HEAD else "not a video, or its first bytes are broken"
