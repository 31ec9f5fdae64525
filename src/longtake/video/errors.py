"""Errors of video files, as one sentence each."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from av.error import FFmpegError, InvalidDataError

FULL = (errno.ENOSPC, errno.EDQUOT)
MP4_HEAD = b"ftyp"
NO_INDEX = "truncated: an mp4 file without a complete index (moov), which is written last"


class VideoError(ValueError):
    """A file is not a video, is broken, or cannot be written; the message names it."""


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Raise errors of FFmpeg and the system while reading a file as ``VideoError``."""
    try:
        yield
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file") from error
    except FFmpegError as error:
        raise VideoError(f"{path}: {_fault(error, path)}") from error
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def writing(path: Path, partial: Path) -> Generator[None]:
    """Raise errors of FFmpeg and the system while writing a file as ``VideoError``."""
    try:
        yield
    except (OSError, FFmpegError) as error:
        raise cannot_write(error, path, partial) from error


def cannot_write(error: Exception, path: Path, partial: Path) -> VideoError:
    """The error for a file that cannot be written; names its partial file."""
    left = f"; the frames written so far are in {partial}" if partial.exists() else ""
    if getattr(error, "errno", None) in FULL:
        return VideoError(f"{path}: the disk is full{left}")
    reason = getattr(error, "strerror", None) or error
    return VideoError(f"{path}: cannot be written ({reason}){left}")


def _fault(error: FFmpegError, path: Path) -> str:
    if not isinstance(error, InvalidDataError):
        return f"cannot be read ({error.strerror})"
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        return "not a video, the file is empty"
    if head[4:] == MP4_HEAD:
        return NO_INDEX
    return "not a video, or its first bytes are broken"
