"""Tar files as folders: ``shard.tar/sea.mp4`` is the path of a member, which is read in place.

Only regular files are members. Links, devices and names that lead out of the tar file are not
followed, and nothing is unpacked to the disk. Frames of one sample of a webdataset shard,
``sea.0001.png``, are the folder ``sea``.
"""

import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

SUFFIX = ".tar"
BLOCK_BYTES = tarfile.BLOCKSIZE
MOST_MEMBERS = 1 << 20
LONGEST_HEADER_BYTES = 1 << 16  # of the header of a long name
ARCHIVES_KEPT = 4096  # whose lists of members are in memory
FRAMES = (".png", ".jpg", ".jpeg", ".webp")


class ArchiveError(OSError):
    """A file is not a tar file, or is a broken one; ``strerror`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(0, reason)


class Place(NamedTuple):
    """Where the bytes of a file, or of a member of a tar file, are on disk.

    Attributes:
        file: the file, or the tar file.
        start: position of the first byte in ``file``.
        size: number of bytes.
        modified_ns: modification time of ``file``, in nanoseconds.
    """

    file: Path
    start: int
    size: int
    modified_ns: int

    @property
    def end(self) -> int:
        """Position after the last byte."""
        return self.start + self.size


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Members of a tar file.

    Attributes:
        files: position of the first byte, and number of bytes, of each file by its name.
        folders: names of the files directly in each folder, by the folder's name; the outermost
            folder is ``.``.
        refused: names of entries that are not accepted as members, and why.
    """

    files: Mapping[str, tuple[int, int]]
    folders: Mapping[str, Sequence[str]]
    refused: Mapping[str, str]


def is_archive(path: Path) -> bool:
    """Whether a file exists and has the suffix ``.tar``."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def place(path: Path) -> Place:
    """Find where a file, or a member of a tar file, is on disk.

    Raises:
        OSError: there is no such file or member, or the tar file is broken.
    """
    archive, name = _inside(path)
    if archive is None:
        stat = path.stat()
        return Place(path, 0, stat.st_size, stat.st_mtime_ns)
    found = contents(archive).files.get(name)
    if found is None:
        raise FileNotFoundError(2, "there is no such member", str(path))
    return Place(archive, *found, archive.stat().st_mtime_ns)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, on the disk or in a tar file; False in a broken tar file."""
    archive, name = _inside(path)
    return path.is_dir() if archive is None else name in _folders(archive)


def is_file(path: Path) -> bool:
    """Whether a path is a regular file, on the disk or in a tar file.

    Raises:
        OSError: the tar file cannot be read, or is broken (``ArchiveError``).
    """
    archive, name = _inside(path)
    return path.is_file() if archive is None else name in contents(archive).files


def files_in(folder: Path) -> list[Path] | None:
    """Paths of the files directly in a folder of a tar file; empty if the tar file is broken.

    None if the folder is on the disk.
    """
    archive, name = _inside(folder)
    if archive is None:
        return None
    return [archive / _joined(name, each) for each in _folders(archive).get(name, ())]


def read_bytes(path: Path, most: int) -> bytes:
    """Read the bytes of a file, or of a file in a tar file.

    Raises:
        OSError: it is missing, cannot be read, or has more than ``most`` bytes.
    """
    there = place(path)
    if there.size > most:
        raise OSError(0, f"has {there.size} bytes, more than {most}")
    with there.file.open("rb") as file:
        file.seek(there.start)
        return file.read(there.size)


def contents(archive: Path) -> Contents:
    """List the members of a tar file from its headers; cached until the file changes.

    Raises:
        OSError: the file cannot be read, or is not a tar file.
    """
    stat = archive.stat()
    return _contents(archive, stat.st_mtime_ns, stat.st_size)


def _inside(path: Path) -> tuple[Path | None, str]:
    """The tar file that a path leads into, and the name in it; ``(None, "")`` for other paths."""
    for parent in path.parents:
        if is_archive(parent):
            return parent, path.relative_to(parent).as_posix()
    return (path, ".") if is_archive(path) else (None, "")


def _folders(archive: Path) -> Mapping[str, Sequence[str]]:
    try:
        return contents(archive).folders
    except OSError:
        return {}


def _joined(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


@lru_cache(maxsize=ARCHIVES_KEPT)
def _contents(archive: Path, modified_ns: int, size: int) -> Contents:
    del modified_ns
    files: dict[str, tuple[int, int]] = {}
    refused: dict[str, str] = {}
    with archive.open("rb") as file:
        for name, info, start in _entries(file, size):
            if fault := _fault(name, info, start, size):
                refused[name] = fault
            elif not info.isdir():
                files[_placed(PurePosixPath(name))] = (start, info.size)
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for name in files:
        inner = PurePosixPath(name)
        folders[inner.parent.as_posix()].append(inner.name)
    return Contents(files=files, folders=dict(folders), refused=refused)


def _entries(file: IO[bytes], size: int) -> Iterator[tuple[str, tarfile.TarInfo, int]]:
    """Yield the name, header and position of the first byte of each entry of a tar file.

    ``size`` is the file's number of bytes. The name may be longer than the header holds.

    Raises:
        ArchiveError: the file is not a tar file, or is broken.
    """
    position, entries, longer = 0, 0, ""
    while position + BLOCK_BYTES <= size:
        file.seek(position)
        header = file.read(BLOCK_BYTES)
        if not header.strip(b"\0"):  # the end
            break
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ArchiveError(
                f"not a tar file, or a compressed one; unpack it ({error})"
                if not position
                else f"broken after {entries} entries ({error})"
            ) from error
        start, position = position + BLOCK_BYTES, position + BLOCK_BYTES + _padded(info.size)
        if info.size < 0:
            raise ArchiveError(f"is broken: an entry has {info.size} bytes")
        if entries > MOST_MEMBERS:
            raise ArchiveError(f"has over {MOST_MEMBERS} entries; write several tar files")
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            longer = _long_name(file, info) or longer
            continue
        if info.type in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            continue
        entries += 1
        yield longer or info.name, info, start
        longer = ""
    if not entries:
        raise ArchiveError("not a tar file, it has no entries")


def _padded(size: int) -> int:
    return -(-max(size, 0) // BLOCK_BYTES) * BLOCK_BYTES


def _long_name(file: IO[bytes], info: tarfile.TarInfo) -> str:
    """Name that a header for long names gives the next entry; empty if it gives none.

    Raises:
        ArchiveError: the header is too long or broken, or the entry has over 8 GB.
    """
    if info.size > LONGEST_HEADER_BYTES:
        raise ArchiveError(
            f"has a header of {info.size} bytes, more than {LONGEST_HEADER_BYTES}, the limit"
        )
    data = file.read(info.size)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    records = dict(_records(data))
    if b"size" in records:
        raise ArchiveError("has a member of over 8 GB; write shards of 1 GB")
    return records.get(b"path", b"").decode("utf-8", "surrogateescape")


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each record ``LENGTH KEY=VALUE`` of an extended header.

    Raises:
        ArchiveError: a record is not valid.
    """
    while data.strip(b"\0"):
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(data):
            raise ArchiveError("is broken: an extended header is not valid")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        yield key, value
        data = data[int(length) :]


def _fault(name: str, info: tarfile.TarInfo, start: int, size: int) -> str:
    """Why an entry of a tar file of ``size`` bytes is refused; empty if it is accepted."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        return "its name leads out of the tar file"
    if not (info.isreg() or info.isdir()):
        return "not a regular file"
    return "cut off" if start + info.size > size else ""


def _placed(path: PurePosixPath) -> str:
    """Name of a member; ``sea/0001.png`` for the frame ``sea.0001.png`` of a webdataset sample."""
    key, _, rest = path.name.partition(".")
    frame = PurePosixPath(rest)
    if key and frame.suffix.lower() in FRAMES and any(c.isdigit() for c in frame.stem):
        return (path.parent / key / rest).as_posix()
    return path.as_posix()
