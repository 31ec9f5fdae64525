"""What goes wrong with files of video, said in one sentence."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from av.error import FFmpegError, InvalidDataError

FULL = (errno.ENOSPC, errno.EDQUOT)
MP4_HEAD = b"ftyp"
NO_INDEX = "truncated: an mp4 file without its whole index (moov), which is written last"


class VideoError(ValueError):
    """A file that is no video, is broken, or cannot be written. The message names it."""


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Turn what FFmpeg and the system say of a file that is read into ``VideoError``."""
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
    """Turn what FFmpeg and the system say of a file that is written into ``VideoError``."""
    try:
        yield
    except (OSError, FFmpegError) as error:
        raise cannot_write(error, path, partial) from error


def cannot_write(error: Exception, path: Path, partial: Path) -> VideoError:
    """Why a file could not be written, and what is left of it."""
    left = f"; what could be written is in {partial}" if partial.exists() else ""
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
        return "no video, the file is empty"
    if head[4:] == MP4_HEAD:
        return NO_INDEX
    return "no video, or broken from its first bytes on"
