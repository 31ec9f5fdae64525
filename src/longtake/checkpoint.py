"""Files of models: a component is ``config.json`` and ``model.safetensors``, each written whole."""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from longtake import config
from longtake.documents import DocumentError, open_regular, read_json
from longtake.files import put, remove
from longtake.meta_device import build_empty

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PICKLE_PROTOCOLS = range(2, 6)
MAPPED_BYTES = 1 << 25  # of weights that are read, before their memory is given back


class CheckpointError(ValueError):
    """A file is not a model file of longtake, is broken, or does not fit its configuration."""


class ExistsError(ValueError):
    """A path that is to be written exists already; the message is path, ``reason`` and remedy."""

    def __init__(self, path: Path, reason: str = "exists") -> None:
        super().__init__(f"{path} {reason}; choose another path or set overwrite=True")


def check_free(path: Path, overwrite: bool = False) -> Path:
    """Return ``path``; an ExistsError if it exists and ``overwrite`` is false."""
    if path.exists() and not overwrite:
        raise ExistsError(path)
    return path


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = False) -> Generator[Path]:
    """Context manager that yields a temporary folder and moves it to ``path`` at the end.

    If the block raises, the temporary folder is removed and ``path`` is left as it was.

    Raises:
        ExistsError: ``path`` exists and ``overwrite`` is false.
        CheckpointError: the folder cannot be written, or the block raises an OSError.
    """
    retired = path.with_name(f".{path.name}.old")
    if path.exists():
        remove(retired)
    elif retired.exists():  # a kill came between the two moves
        retired.replace(path)
    check_free(path, overwrite)
    with _partial(path) as partial:
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            path.replace(retired)
        put(partial, path)
        remove(retired)


def write_text(path: Path, text: str) -> None:
    """Write a text file, completely or not at all; a CheckpointError if it cannot be written."""
    with _partial(path) as partial:
        partial.write_text(text, encoding="utf-8")
        put(partial, path)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, completely or not at all; CheckpointError if it cannot be written.

    Args:
        path: the file; an existing one is replaced.
        tensors: tensors by name.
        metadata: texts by name, for the file's header; None for none.
    """
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with _partial(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # as the user's umask has it; save_file makes files 0600
        save_file(plain, partial, metadata=dict(metadata or {}))
        partial.chmod(mode)
        sort_metadata(partial)
        put(partial, path)


def sort_metadata(path: Path) -> None:
    """Sort a safetensors file's metadata in place, so that equal contents have equal bytes."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(text.ljust(length))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file by name, on the CPU.

    Raises:
        CheckpointError: the file is missing, truncated, or a pickle.
    """
    with _reading(path):
        return load_file(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file, names to texts.

    Raises:
        CheckpointError: the file is missing, truncated, or a pickle.
    """
    with _reading(path), safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def read_header(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and name of the dtype of each tensor of a safetensors file, without reading tensors.

    Raises:
        CheckpointError: the file is missing, truncated, or a pickle.
    """
    with _reading(path), safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: (tuple(x.get_shape()), x.get_dtype()) for name, x in slices.items()}


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite; needs little memory, whatever the tensor's size."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return bool(torch.stack(tensor.detach().aminmax()).isfinite().all())


def check_finite(weights: Mapping[str, Tensor], origin: Path | str) -> None:
    """Raise a CheckpointError that names the first weight with a NaN or infinite value.

    ``origin`` says where the weights come from, for the message.
    """
    for name, tensor in weights.items():
        if not is_finite(tensor):
            raise CheckpointError(
                f"{origin}: {name!r} has values that are not finite (NaN or infinity), expected "
                "finite weights; take an earlier checkpoint, or weights that were saved in float32"
            )


def save_component(folder: Path, module: nn.Module, dtype: torch.dtype | None = None) -> str:
    """Write a module's weights and ``config`` to a folder; return the SHA-256 of the weights.

    ``dtype`` is that of the written weights; None: as they are.

    Raises:
        CheckpointError: a weight, as it is written, is not finite; or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings: Any = module.config
    weights = module.state_dict()
    if dtype:
        weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()}
    check_finite(weights, folder.name)
    write_text(folder / CONFIG, json.dumps(config.to_dict(settings), indent=2) + "\n")
    write_tensors(folder / WEIGHTS, weights)
    return file_hash(folder / WEIGHTS)


def load_component(folder: Path, settings: Any, expected_hash: str | None = None) -> Any:
    """Build a module and load the weights in ``folder``.

    Memory is allocated only if the config fits the weights, and never for a second copy of them.

    Args:
        folder: folder that ``save_component`` wrote.
        settings: config of the module, as read from the folder's ``config.json`` by a class that
            has ``build()``, such as ``VolumeUNetConfig``.
        expected_hash: SHA-256 that the weights must have; None accepts any.

    Returns:
        the module in evaluation mode on the CPU, in the dtype of ``build()``, whatever is stored.

    Raises:
        CheckpointError: the weights are missing, broken, of another hash, not finite, or do not
            fit.
        ConfigError: no network can be built of the config.
    """
    path = folder / WEIGHTS
    header = read_header(path)
    if expected_hash is not None and file_hash(path) != expected_hash:
        raise CheckpointError(
            f"{path}: has another SHA-256 than its model_index.json records; copy "
            "or download the model again"
        )
    try:
        expected = build_empty(settings, 2 * len(header) + 100).state_dict()
    except config.ConfigError as error:
        raise config.ConfigError(f"{folder / CONFIG}: {error}") from error
    given = {name: shape for name, (shape, _) in header.items()}
    _check_fit({name: tuple(x.shape) for name, x in expected.items()}, given, path)
    module = settings.build()
    own_weights = module.state_dict()
    with _reading(path):
        for name, weight in _in_turn(path, own_weights):
            own = own_weights[name]
            if weight.is_floating_point() != own.is_floating_point():
                raise CheckpointError(
                    f"{path}: {name!r} has numbers of {weight.dtype}, expected {own.dtype}; "
                    "copy or download the model again"
                )
            check_finite({name: weight}, path)
            own.copy_(weight)
    return module.eval()


def _in_turn(path: Path, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors ``names`` of a safetensors file, with about 32 MiB in memory at a time."""
    left = list(names)
    while left:
        mapped_bytes = 0
        with safe_open(path, framework="pt") as file:  # closing it gives back the mapped pages
            while left and mapped_bytes < MAPPED_BYTES:
                tensor = file.get_tensor(name := left.pop(0))
                mapped_bytes += tensor.nbytes
                yield name, tensor
                del tensor


def read_config(
    path: Path, kind: Any, upgrade: Callable[[dict[str, Any]], dict[str, Any]] = dict
) -> Any:
    """Read a config from a JSON file; former names of fields are accepted.

    Args:
        path: the file.
        kind: config class, or a union of them.
        upgrade: takes the data that was read, a JSON object, and returns it in the present format.

    Raises:
        CheckpointError: the file is missing or not JSON.
        ConfigError: the data is not a valid config.
    """
    try:
        data = read_json(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; expected a model folder") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except DocumentError as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        return config.parse(kind, upgrade(data) if isinstance(data, dict) else data, upgrade=True)
    except config.ConfigError as error:
        raise config.ConfigError(f"{path}: {error}") from error


def fill(module: nn.Module, weights: Mapping[str, Tensor], origin: Path | str) -> None:
    """Load weights into a module; ``origin`` says where they come from, for error messages.

    Raises:
        CheckpointError: a weight is missing, unknown, of another shape or not finite.
    """
    own = {name: tuple(x.shape) for name, x in module.state_dict().items()}
    _check_fit(own, {name: tuple(x.shape) for name, x in weights.items()}, origin)
    check_finite(weights, origin)
    module.load_state_dict(dict(weights))


def _check_fit(
    own: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], origin: Path | str
) -> None:
    """Raise a CheckpointError unless ``given`` weights have the names and shapes of ``own``.

    ``origin`` says where they come from, for the message.
    """
    fault = ""
    if missing := sorted(own.keys() - given.keys()):
        fault = f"lacks {config.plural(len(missing), 'weight')}, first {missing[0]!r}"
    elif extra := sorted(given.keys() - own.keys()):
        fault = f"has unknown {config.plural(len(extra), 'weight')}, first {extra[0]!r}"
    elif misfits := sorted(key for key in own if own[key] != given[key]):
        name = misfits[0]
        fault = f"{name!r} has shape {given[name]}, the config asks for {own[name]}"
    if fault:
        raise CheckpointError(f"{origin}: does not fit its config: {fault}")


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_hash(module: nn.Module) -> str:
    """First 16 hexadecimal digits of ``tensors_hash`` of a module's state dict."""
    return tensors_hash(module.state_dict())[:16]


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and values of tensors, in hexadecimal."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        total.update(f"{name}{tuple(plain.shape)}{plain.dtype}".encode())
        total.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


@contextmanager
def _partial(path: Path) -> Generator[Path]:
    """Context manager that yields a path beside ``path`` to write to, which it removes at the end.

    An OSError in the block becomes a CheckpointError.
    """
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
    """Context manager to read a safetensors file, in which errors become a CheckpointError.

    A file that begins as a pickle is refused.
    """
    try:
        with open_regular(path) as file:
            head = file.read(9)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; expected a safetensors file") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    pickled = head[:2] in (b"PK", *(bytes((0x80, p)) for p in PICKLE_PROTOCOLS))
    if (head[8:9] != b"{" and pickled) or path.suffix in (".ckpt", ".pt", ".pth"):
        raise CheckpointError(
            f"{path}: is a pickle, expected safetensors; convert it with longtake.convert first"
        )
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: broken or truncated safetensors file ({error}); copy or download it again"
        ) from error
