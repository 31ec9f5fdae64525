"""Files of models: a component is ``config.json`` and ``model.safetensors``, each written whole."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from longtake import config

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PICKLE_PROTOCOLS = range(2, 6)


class CheckpointError(ValueError):
    """A file is not a model file of longtake, is broken, or does not fit its configuration."""


class ExistsError(ValueError):
    """A path to write to exists already.

    Args:
        path: the existing file or folder.
        reason: completes the sentence that starts with the path.
    """

    def __init__(self, path: Path, reason: str = "exists") -> None:
        super().__init__(f"{path} {reason}; choose another path or set overwrite=True")


def check_free(path: Path, overwrite: bool = False) -> Path:
    """Return a path that can be written to.

    Raises:
        ExistsError: the path exists and ``overwrite`` is false.
    """
    if path.exists() and not overwrite:
        raise ExistsError(path)
    return path


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = False) -> Generator[Path]:
    """Write to a temporary folder beside ``path`` and move it there when it is complete.

    Raises:
        ExistsError: the path exists; CheckpointError: the disk is full.
    """
    check_free(path, overwrite)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            retired = path.with_name(f".{path.name}.old")
            shutil.rmtree(retired, ignore_errors=True)
            path.replace(retired)
            partial.replace(path)
            shutil.rmtree(retired)
        else:
            partial.replace(path)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all.

    Raises:
        CheckpointError: the disk is full or cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _explain(error, path) from error


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, complete or not at all.

    Raises:
        CheckpointError: the disk is full or cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    try:
        save_file(plain, partial, metadata=dict(metadata or {}))
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise _explain(error, path) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: missing, truncated, or a pickle where safetensors is expected.
    """
    _check_safetensors(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _broken(path, error) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text metadata of a safetensors file.

    Raises:
        CheckpointError: missing, truncated, or a pickle where safetensors is expected.
    """
    _check_safetensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _broken(path, error) from error


def save_component(folder: Path, module: nn.Module, dtype: torch.dtype | None = None) -> str:
    """Write a module that keeps its ``config``; returns the hash of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    settings: Any = module.config
    weights = {
        k: v.to(dtype) if dtype and v.is_floating_point() else v
        for k, v in module.state_dict().items()
    }
    write_text(folder / CONFIG, json.dumps(config.to_dict(settings), indent=2) + "\n")
    write_tensors(folder / WEIGHTS, weights)
    return file_hash(folder / WEIGHTS)


def load_component(folder: Path, settings: Any, expected_hash: str | None = None) -> Any:
    """Build a module of its config and fill it with the weights of its folder.

    Raises:
        CheckpointError: the weights are missing, broken, of another hash, or do not fit.
    """
    module = settings.build()
    path = folder / WEIGHTS
    if expected_hash is not None and path.exists() and file_hash(path) != expected_hash:
        raise CheckpointError(f"{path}: the weights are not those that the model index names")
    fill(module, read_tensors(path), path)
    return module.eval()


def read_config(
    path: Path, kind: Any, upgrade: Callable[[dict[str, Any]], dict[str, Any]] = dict
) -> Any:
    """Read a JSON config; former names of fields are accepted.

    Args:
        path: path of the file.
        kind: the config class, or a union of classes.
        upgrade: changes the data of an earlier format before it is checked.

    Raises:
        CheckpointError: missing or not JSON; ConfigError: does not fit.
    """
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise CheckpointError(f"{path}: no such file; expected a model folder") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    try:
        return config.parse(kind, upgrade(data) if isinstance(data, dict) else data, upgrade=True)
    except config.ConfigError as error:
        raise config.ConfigError(f"{path}: {error}") from error


def fill(module: nn.Module, weights: Mapping[str, Tensor], origin: Path | str) -> None:
    """Load weights strictly.

    Raises:
        CheckpointError: a weight is missing, unknown or of another shape.
    """
    own = module.state_dict()
    missing, extra = own.keys() - weights.keys(), weights.keys() - own.keys()
    misfits = [k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape]
    for fault, keys in (("lacks", missing), ("has unknown", extra)):
        if keys:
            raise CheckpointError(
                f"{origin}: does not fit its config: {fault} {len(keys)} weights, "
                f"first {sorted(keys)[0]!r}"
            )
    if misfits:
        key = sorted(misfits)[0]
        raise CheckpointError(
            f"{origin}: does not fit its config: {key!r} has shape {tuple(weights[key].shape)}, "
            f"the config asks for {tuple(own[key].shape)}"
        )
    module.load_state_dict(dict(weights))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_hash(module: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 over names, shapes and values of all weights."""
    total = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        total.update(f"{name}{tuple(plain.shape)}{plain.dtype}".encode())
        total.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def _check_safetensors(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path}: no such file") from error
    pickled = head[:2] in (b"PK", *(bytes((0x80, p)) for p in PICKLE_PROTOCOLS))
    if (head[8:9] != b"{" and pickled) or path.suffix in (".ckpt", ".pt", ".pth"):
        raise CheckpointError(
            f"{path}: is a pickle, expected safetensors; convert it with longtake.convert first"
        )
    if len(head) < 9 or head[8:9] != b"{":
        raise CheckpointError(f"{path}: broken or truncated safetensors file")


def _broken(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: broken or truncated safetensors file ({error})")


def _explain(error: Exception, path: Path) -> CheckpointError:
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
    if full:
        return CheckpointError(f"{path}: the disk is full; nothing was written")
    return CheckpointError(f"{path}: cannot be written ({error})")
