"""Files of models: a component is ``config.json`` and ``model.safetensors``, each written whole."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
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
    """A path to write to exists already; the message is the path, then ``reason``."""

    def __init__(self, path: Path, reason: str = "exists") -> None:
        super().__init__(f"{path} {reason}; choose another path or set overwrite=True")


def check_free(path: Path, overwrite: bool = False) -> Path:
    """Return a path to write to; ExistsError if it exists and ``overwrite`` is false."""
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
    with _partial(path) as partial:
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            retired = path.with_name(f".{path.name}.old")
            shutil.rmtree(retired, ignore_errors=True)
            path.replace(retired)
            partial.replace(path)
            shutil.rmtree(retired)
        else:
            partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all; CheckpointError if it cannot be written."""
    with _partial(path) as partial:
        partial.write_text(text)
        partial.replace(path)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, complete or not at all; CheckpointError if it cannot be written."""
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with _partial(path) as partial:
        save_file(plain, partial, metadata=dict(metadata or {}))
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: missing, truncated, or a pickle where safetensors is expected.
    """
    with _reading(path):
        return load_file(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text metadata of a safetensors file; CheckpointError as ``read_tensors``."""
    with _reading(path), safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def save_component(folder: Path, module: nn.Module, dtype: torch.dtype | None = None) -> str:
    """Write a module that keeps its ``config``; returns the hash of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    settings: Any = module.config
    weights = module.state_dict()
    if dtype:
        weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()}
    write_text(folder / CONFIG, json.dumps(config.to_dict(settings), indent=2) + "\n")
    write_tensors(folder / WEIGHTS, weights)
    return file_hash(folder / WEIGHTS)


def load_component(folder: Path, settings: Any, expected_hash: str | None = None) -> Any:
    """Build a module of its config and fill it with the weights of its folder.

    CheckpointError if the weights are missing, broken, of another hash, or do not fit.
    """
    module = settings.build()
    path = folder / WEIGHTS
    if expected_hash is not None and path.exists() and file_hash(path) != expected_hash:
        raise CheckpointError(
            f"{path}: the weights are not those that the model index names; fetch the model again"
        )
    fill(module, read_tensors(path), path)
    return module.eval()


def read_config(
    path: Path, kind: Any, upgrade: Callable[[dict[str, Any]], dict[str, Any]] = dict
) -> Any:
    """Read a JSON config of a class or union; former names of fields are accepted.

    ``upgrade`` changes the data of an earlier format before it is checked.

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
    """Load weights; CheckpointError if one is missing, unknown or of another shape."""
    own = module.state_dict()
    fault = ""
    if missing := sorted(own.keys() - weights.keys()):
        fault = f"lacks {len(missing)} weights, first {missing[0]!r}"
    elif extra := sorted(weights.keys() - own.keys()):
        fault = f"has unknown {len(extra)} weights, first {extra[0]!r}"
    elif misfits := sorted(key for key in own if own[key].shape != weights[key].shape):
        found, expected = (tuple(held[misfits[0]].shape) for held in (weights, own))
        fault = f"{misfits[0]!r} has shape {found}, the config asks for {expected}"
    if fault:
        raise CheckpointError(f"{origin}: does not fit its config: {fault}")
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


@contextmanager
def _partial(path: Path) -> Generator[Path]:
    """A place beside ``path`` to write to, removed at the end if it was not moved."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full; nothing was written" if full else f"cannot be written ({error})"
        raise CheckpointError(f"{path}: {reason}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):
            partial.unlink()


@contextmanager
def _reading(path: Path) -> Generator[None]:
    """Check the first bytes of a safetensors file, and explain errors of reading it."""
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
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: broken or truncated safetensors file ({error})") from error
