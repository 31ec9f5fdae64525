"""Array files of videos, mapped into memory: ``.npy``, ``.npz`` and ``.safetensors``.

An array of many gigabytes is never read whole. Uncompressed members of an ``.npz`` are mapped in
place; compressed ones are unpacked in pieces to a temporary file.
"""

import json
import lzma
import math
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open

from longtake.checkpoint import file_hash
from longtake.config import plural
from longtake.data.source import Frames, VideoSource
from longtake.video import VideoInfo

ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")
AXES = 5
ASSUMED_FPS = Fraction(25)
MOST_MEMBERS = 1000  # of an archive
LONGEST_HEADER_BYTES = 1 << 24  # of a safetensors file
REASON_CHARACTERS = 200
BROKEN = (
    *(OSError, EOFError, LookupError, ValueError, TypeError, OverflowError, SyntaxError),
    *(RecursionError, MemoryError, RuntimeError, struct.error, zipfile.BadZipFile),
    *(zlib.error, lzma.LZMAError, tokenize.TokenError, SafetensorError),
)
"""Exceptions that readers of array files and archives raise for files that are not valid."""

Bytes = IO[bytes] | BufferedIOBase
_LOCAL_HEADER = struct.Struct("<26xHH")


class ArrayVideos(VideoSource):
    """Videos in a ``.npy``, ``.npz`` or ``.safetensors`` file: one uint8 array (N, T, H, W, 3).

    Their frame rate is not known: ``info`` states 25 frames per second and ``rate_known=False``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._array = map_array(path)

    @property
    def name(self) -> str:
        return self._path.name

    def __len__(self) -> int:
        return len(self._array)

    def info(self, index: int) -> VideoInfo:
        frames, height, width = self._array.shape[1:4]
        return VideoInfo(
            path=self._path,
            frames=frames,
            fps=ASSUMED_FPS,
            height=height,
            width=width,
            seconds=frames / float(ASSUMED_FPS),
            variable_rate=False,
            rate_known=False,
        )

    def infos(self) -> Sequence[VideoInfo]:
        return [self.info(0)] * len(self)

    def title(self, index: int) -> str:
        return f"{self._path}[{index}]"

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        return np.array(self._array[index, start_frame:][::stride][:count])

    def identity(self) -> Any:
        return self._hash

    @cached_property
    def _hash(self) -> str:
        return file_hash(self._path)


def map_array(path: Path) -> UInt8[np.ndarray, "n t h w 3"]:
    """Memory-map the videos of a ``.npy``, ``.npz`` or ``.safetensors`` file.

    A compressed array of an ``.npz`` file is unpacked to a temporary file first.

    Raises:
        ValueError: the file is missing, broken, or does not hold exactly one uint8 array of shape
            (N, T, H, W, 3).
    """
    readers = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}
    if path.suffix not in readers:
        raise ValueError(f"{path}: is not an array file; expected {', '.join(ARRAY_SUFFIXES)}")
    if not path.is_file():
        reason = "is not a regular file" if path.exists() else "no such file"
        raise ValueError(f"{path}: {reason}")
    try:
        return readers[path.suffix](path)
    except _OtherArrayError:
        raise
    except BROKEN as error:
        reason = " ".join(str(error).split())[:REASON_CHARACTERS]
        raise ValueError(f"{path}: broken or truncated array file ({reason})") from error


class _OtherArrayError(ValueError):
    """An array file is intact, but does not hold one array of videos that can be mapped."""


def _npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return _mapped(path, file, path.name, path.stat().st_size)


def _npz(path: Path) -> np.ndarray:
    """The one array of an ``.npz`` file, mapped; a compressed one is unpacked to a file first."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise _OtherArrayError(
                f"{path}: holds {plural(len(members), 'file')}, expected at most {MOST_MEMBERS}; "
                "save the videos as one array"
            )
        shapes = {}
        for member in members:
            with archive.open(member) as file:
                shapes[member.filename] = _header(file)[0]
        member = archive.getinfo(_only(path, shapes))
        if member.compress_type == zipfile.ZIP_STORED:
            with path.open("rb") as file:
                file.seek(member.header_offset)
                lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
                file.seek(sum(lengths), 1)
                return _mapped(path, file, member.filename, file.tell() + member.file_size)
        with tempfile.TemporaryFile() as unpacked, archive.open(member) as packed:
            free = shutil.disk_usage(tempfile.gettempdir()).free
            if member.file_size > free:
                raise _OtherArrayError(
                    f"{path}: {member.filename} is {member.file_size / 1e9:.1f} GB unpacked, "
                    f"{free / 1e9:.1f} GB are free in {tempfile.gettempdir()}; save it uncompressed"
                )
            shutil.copyfileobj(packed, unpacked, 1 << 24)
            unpacked.seek(0)
            return _mapped(path, unpacked, member.filename, member.file_size)


def _safetensors(path: Path) -> np.ndarray:
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        most = min(size, LONGEST_HEADER_BYTES)
        if length > most:
            raise ValueError(f"a header of {length} bytes, expected at most {most}")
        header = json.loads(file.read(length))
    with safe_open(path, framework="np") as tensors:  # checks that the header fits the file
        slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
        name = _only(path, {name: tuple(each.get_shape()) for name, each in slices.items()})
        shape, dtype = tuple(slices[name].get_shape()), slices[name].get_dtype()
    _check(path, name, shape, "uint8" if dtype == "U8" else str(dtype))
    with path.open("rb") as file:
        first, end = (8 + length + int(offset) for offset in header[name]["data_offsets"])
        return _map(file, first, end, shape)


def _header(file: Bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an ``.npy`` file: shape, whether it is in Fortran order, and dtype.

    NumPy limits the header's length. A ValueError if the format's version is not 1.0 or 2.0.
    """
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"npy version {version}, expected (1, 0) or (2, 0)")


def _mapped(path: Path, file: Bytes, name: str, end: int) -> np.ndarray:
    shape, columns_first, dtype = _header(file)
    if columns_first:
        raise _OtherArrayError(f"{path}: {name} is stored columns first; save it in C order")
    _check(path, name, shape, str(dtype))
    return _map(file, file.tell(), end, shape)


def _map(file: Bytes, first: int, end: int, shape: tuple[int, ...]) -> np.ndarray:
    """Memory-map bytes ``first`` to ``end`` as uint8; a ValueError unless ``shape`` has as many."""
    if end - first != math.prod(shape):
        raise ValueError(
            f"{end - first} bytes of pixels, expected {math.prod(shape)} for an array of {shape}"
        )
    return np.memmap(file, np.uint8, "r", first, shape)  # pyright: ignore[reportCallIssue, reportArgumentType]: takes any open file


def _only(path: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    """Name of the only array of ``shapes`` with 5 axes; others, such as labels, are ignored.

    Raises:
        ValueError: there is none, or more than one.
    """
    videos = [name for name, shape in shapes.items() if len(shape) == AXES]
    if len(videos) != 1:
        held = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
        raise _OtherArrayError(
            f"{path}: holds {len(videos)} arrays of videos, expected one uint8 (N, T, H, W, 3); "
            f"it holds {held}"
        )
    return videos[0]


def _check(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    if len(shape) != AXES or shape[-1] != 3 or dtype != "uint8" or min(shape) < 1:
        raise _OtherArrayError(
            f"{path}: {name} is {dtype} {shape}, expected uint8 (N, T, H, W, 3); convert it first"
        )
