"""Fingerprints of videos: equal for copies, different for different contents."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from longtake.data.file_facts import file_facts
from longtake.video import VideoError, pictures
from longtake.video.archive import is_folder, place

BLOCK_BYTES = 1 << 16
BLOCKS = 16
PICTURE_BLOCK_BYTES = 1 << 12


def fingerprints(paths: Sequence[Path]) -> list[str]:
    """A hash of each video file: of its size and of 16 blocks of 64 KiB spread over the file.

    A folder of image files has a hash of its files' hashes, in order of the frames, each of the
    file's size and 16 blocks of 4 KiB. A hash is 16 hexadecimal digits, and is cached on disk.

    Raises:
        VideoError: a video cannot be read.
    """
    found = file_facts("fingerprint 1", paths, _fingerprint)
    for fault in found:
        if isinstance(fault, VideoError):
            raise fault
    return found


def fingerprint(path: Path) -> str:
    """A hash of one video, as ``fingerprints`` returns it, but not cached on disk.

    Raises:
        VideoError: the file cannot be read.
    """
    found = _fingerprint(path)
    if isinstance(found, VideoError):
        raise found
    return found


def _fingerprint(path: Path) -> str | VideoError:
    try:
        if not is_folder(path):
            return _blocks(path, BLOCK_BYTES)
        files = pictures.files(path)
        total = "".join(_blocks(file, PICTURE_BLOCK_BYTES) for file in files)
        return hashlib.sha256(total.encode()).hexdigest()[:16]
    except VideoError as error:
        return error
    except OSError as error:
        return VideoError(f"{path}: cannot be read ({error.strerror})")


def _blocks(path: Path, block_bytes: int) -> str:
    there = place(path)
    with there.file.open("rb") as file:
        size = there.size
        total = hashlib.sha256(str(size).encode())
        if size <= BLOCKS * block_bytes:
            starts, block_bytes = [0], size
        else:
            starts = [(size - block_bytes) * number // (BLOCKS - 1) for number in range(BLOCKS)]
        for start in starts:
            file.seek(there.start + start)
            total.update(file.read(block_bytes))
    return total.hexdigest()[:16]
