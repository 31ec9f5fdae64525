"""Reads files of torch.save lazily and without running code in them."""

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, UntypedStorage

from longtake.checkpoint import CheckpointError
from longtake.convert.unpickle import (
    AGAIN,
    DamagedError,
    Foreign,
    RefusedError,
    Storage,
    StoredTensor,
    Unpickler,
)
from longtake.documents import open_regular

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first value of a file in torch's format before 1.6
MAX_UNPACKED, SLACK = 8, 1 << 26  # limit of an archive: a multiple of its size, and bytes more
BIG_ENDIAN = (
    "was written by torch on a big-endian machine, which is not supported; load it on any machine "
    "with torch.load and save it again with torch.save"
)
ALIGNMENT = 8  # bytes; a storage at another offset is copied from the file instead of mapped


class StateDict(Mapping[str, Tensor]):
    """The weights of a checkpoint file by name; each is read when it is accessed."""

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def read_state_dict(path: Path) -> StateDict:
    """Read a checkpoint that is a state dict, or has one under ``state_dict`` as in Lightning.

    The weights are memory-mapped, so the file must not change while they are in use.

    Raises:
        CheckpointError: the file is not a checkpoint, is truncated or damaged, or has no weights.
    """
    tree = read_pickle(path)
    weights = tree.get("state_dict", tree) if isinstance(tree, dict) else None
    if not isinstance(weights, dict) or not any(
        isinstance(value, StoredTensor) for value in weights.values()
    ):
        found = sorted(map(str, tree)) if isinstance(tree, dict) else [type(tree).__name__]
        raise CheckpointError(
            f"{path}: has no state_dict, expected one or bare weights; "
            f"it has {', '.join(found[:5]) or 'nothing'}"
        )
    for name, value in weights.items():
        if isinstance(value, Foreign):
            raise CheckpointError(
                f"{path}: {name!r} is stored as {value!r}, expected a plain tensor; "
                "save the weights again with torch.save(model.state_dict(), path)"
            )
    return StateDict({k: v for k, v in weights.items() if isinstance(v, StoredTensor)})


def read_pickle(path: Path) -> Any:
    """Read everything in a checkpoint file.

    Returns plain containers and values, ``StoredTensor`` for tensors that are not read yet, and
    ``Foreign`` for objects that are ignored.

    Raises:
        CheckpointError: the file is not a checkpoint, is damaged, or names an object that
            checkpoints do not need.
    """
    try:
        with open_regular(path) as file:
            head = file.read(64)
            file.seek(0)
            return _format(head)(path, file)
    except Exception as error:  # a damaged or hostile pickle can raise any type
        raise CheckpointError(f"{path}: {_fault(error)}") from error


def _fault(error: Exception) -> str:
    """What is wrong with a file, in words, by the error that reading it raised."""
    match error:
        case CheckpointError() | DamagedError():
            return str(error)
        case RefusedError():
            return (
                f"names {str(error)!r}, which no checkpoint needs; no code of it was run: do not "
                "trust this file, or ask its owner to save the weights alone with "
                "torch.save(model.state_dict(), path)"
            )
        case OSError():
            return f"cannot be read ({error.strerror})"
    truncated = isinstance(error, EOFError | struct.error | zipfile.BadZipFile)
    truncated = truncated or "truncated" in str(error)
    fault = "is truncated" if truncated else f"is damaged ({' '.join(str(error).split())})"
    return f"{fault}; {AGAIN}"


def _format(head: bytes) -> Callable[[Path, io.BufferedReader], Any]:
    """The function that reads a file that begins with ``head``.

    A CheckpointError if it is not a file of ``torch.save``.
    """
    if head.startswith(b"PK\x03\x04"):
        return _read_zip
    if head.startswith(b"\x80"):
        return _read_legacy
    if head[8:9] == b"{":
        raise CheckpointError(
            "is a safetensors file, expected an official checkpoint (.ckpt or .pt)"
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            "is a Git LFS pointer, not the weights; download them with `git lfs pull`"
        )
    raise CheckpointError("is not a checkpoint; expected a file of torch.save")


def _read_zip(path: Path, file: io.BufferedReader) -> Any:
    """Read a zip archive: ``NAME/data.pkl``, and an entry, usually uncompressed, per storage."""
    with zipfile.ZipFile(file) as archive:
        names, declared = archive.namelist(), sum(entry.file_size for entry in archive.infolist())
        if declared > MAX_UNPACKED * path.stat().st_size + SLACK:
            raise CheckpointError(
                f"declares {declared} bytes, far more than the file can hold; {AGAIN}"
            )
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError("is a zip file, expected a file of torch.save")
        folder, whole = pickles[0].removesuffix("data.pkl"), cache(partial(_mapped, path))
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise CheckpointError(BIG_ENDIAN)

        def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
            entry = archive.getinfo(f"{folder}data/{key}")
            size = count * dtype.itemsize
            if entry.file_size < size:
                raise EOFError
            # data follow a local header of variable length
            file.seek(entry.header_offset + 26)
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
            stored = entry.compress_type == zipfile.ZIP_STORED
            if stored and start + size > path.stat().st_size:
                raise EOFError
            fetch = partial(_map, whole, start, size) if stored else partial(_unzip, path, entry)
            return Storage(dtype=dtype, count=count, fetch=fetch)

        return Unpickler(io.BytesIO(archive.read(pickles[0])), cache(storage)).load()


def _read_legacy(path: Path, file: io.BufferedReader) -> Any:
    """Read torch's format before 1.6: pickles (magic, version, machine, contents, keys), bytes."""
    if Unpickler(file).load() != LEGACY_MAGIC:
        raise CheckpointError("is a pickle, expected a file of torch.save")
    Unpickler(file).load()
    machine = Unpickler(file).load()
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise CheckpointError(BIG_ENDIAN)
    starts: dict[str, int] = {}
    whole = cache(partial(_mapped, path))
    storages: dict[str, Storage] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        size = count * dtype.itemsize
        made = Storage(dtype=dtype, count=count, fetch=lambda: _map(whole, starts[key], size))
        return storages.setdefault(key, made)

    tree = Unpickler(file, storage).load()
    for key in Unpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        if count != storages[key].count:
            raise DamagedError(
                f"is damaged: storage {key!r} differs in size from its tensors; {AGAIN}"
            )
        starts[key] = file.tell()
        file.seek(count * storages[key].dtype.itemsize, os.SEEK_CUR)
    if file.tell() > path.stat().st_size or starts.keys() < storages.keys():
        raise EOFError
    return tree


def _mapped(path: Path) -> np.ndarray:
    """The bytes of a file, mapped once for all its storages: each mapping keeps the file open."""
    return np.memmap(path, np.uint8, "c")


def _map(whole: Callable[[], np.ndarray], start: int, size: int) -> UntypedStorage:
    """``size`` bytes of a file, mapped and copied on write; copied at once if not aligned."""
    data = whole()[start : start + size]
    return torch.from_numpy(data.copy() if start % ALIGNMENT else data).untyped_storage()


def _unzip(path: Path, entry: zipfile.ZipInfo) -> UntypedStorage:
    with zipfile.ZipFile(path) as archive:
        data = np.frombuffer(bytearray(archive.read(entry)), dtype=np.uint8)
    return torch.from_numpy(data).untyped_storage()
