"""Array files of clips, mapped into memory: ``.npy``, ``.npz`` and ``.safetensors``.

An array of many gigabytes is never read whole. Members of an ``.npz`` that are stored as they are
get mapped where they lie; compressed ones are unpacked, piece by piece, to a file that the system
removes.
"""

import json
import shutil
import struct
import tempfile
import zipfile
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8

SUFFIXES = (".npy", ".npz", ".safetensors")
AXES = 5
Bytes = IO[bytes] | BufferedIOBase
_LOCAL_HEADER = struct.Struct("<26xHH")


def map_array(path: Path) -> UInt8[np.ndarray, "n t h w 3"]:
    """The clips of an array file, read only where they are looked at.

    Raises:
        ValueError: it is broken, or does not hold one array of such a shape and type.
    """
    readers = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}
    if path.suffix not in readers:
        raise ValueError(f"{path}: no array file; expected {', '.join(SUFFIXES)}")
    try:
        array = readers[path.suffix](path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, _OtherArrayError):
            raise
        raise ValueError(f"{path}: broken or truncated array file ({error})") from error
    return array


class _OtherArrayError(ValueError):
    """A sound file that holds something else."""


def _npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return _mapped(path, file, path.name)


def _npz(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        kinds = {}
        for member in archive.infolist():
            with archive.open(member) as file:
                kinds[member.filename] = _header(file)
        name = _only(path, {name: shape for name, (shape, _, _) in kinds.items()})
        member = archive.getinfo(name)
        if member.compress_type == zipfile.ZIP_STORED:
            with path.open("rb") as file:
                file.seek(member.header_offset)
                lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
                file.seek(sum(lengths), 1)
                return _mapped(path, file, name)
        with tempfile.TemporaryFile() as unpacked, archive.open(member) as packed:
            shutil.copyfileobj(packed, unpacked, 1 << 24)
            unpacked.seek(0)
            return _mapped(path, unpacked, name)


def _safetensors(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", _exactly(file, 8))
        if length > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        tensors = json.loads(_exactly(file, length))
        tensors.pop("__metadata__", None)
        name = _only(path, {name: tuple(entry["shape"]) for name, entry in tensors.items()})
        entry = tensors[name]
        dtype = "uint8" if entry["dtype"] == "U8" else str(entry["dtype"])
        _check(path, name, tuple(entry["shape"]), dtype)
        offset = 8 + length + entry["data_offsets"][0]
        return np.memmap(file, np.uint8, "r", offset, tuple(entry["shape"]))


def _header(file: Bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"npy version {version}")
    return read(file)


def _mapped(path: Path, file: Bytes, name: str) -> np.ndarray:
    shape, columns_first, dtype = _header(file)
    if columns_first:
        raise _OtherArrayError(f"{path}: {name} is stored columns first; save it in C order")
    _check(path, name, shape, str(dtype))
    return np.memmap(file, np.uint8, "r", file.tell(), shape)  # pyright: ignore[reportCallIssue, reportArgumentType]: takes any open file


def _only(path: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    """The one array that may be videos; labels and the like beside it do not matter."""
    videos = [name for name, shape in shapes.items() if len(shape) == AXES]
    if len(videos) != 1:
        held = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
        raise _OtherArrayError(
            f"{path}: holds {len(videos)} arrays of videos, expected one uint8 (N, T, H, W, 3); "
            f"it holds {held}"
        )
    return videos[0]


def _check(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    if len(shape) != AXES or shape[-1] != 3 or dtype != "uint8" or 0 in shape:
        raise _OtherArrayError(
            f"{path}: {name} is {dtype} {shape}, expected uint8 (N, T, H, W, 3); convert it first"
        )


def _exactly(file: Bytes, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it ends too early")
    return data
