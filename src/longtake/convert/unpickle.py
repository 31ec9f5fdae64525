"""An unpickler that runs no code of the pickle.

A pickle is a program. This unpickler knows a few names (tensors, storages, plain containers, numpy
scalars). Unlike ``torch.load(weights_only=True)`` it tolerates what training saves beside the
weights (OmegaConf settings, Lightning callbacks, optimizer states): such names become an inert
``Foreign`` and are never imported or called. Any other name is refused.
"""

import math
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from io import BufferedIOBase
from typing import IO, Any, cast

import numpy as np
import torch
from torch import Tensor, UntypedStorage

# Packages whose objects are saved beside weights in official checkpoints; they are ignored.
SURROUNDINGS = (
    "__main__ antlr4 argparse collections datetime enum ldm lightning lightning_fabric "
    "lightning_utilities lvdm main numpy omegaconf pathlib pytorch_lightning taming torch "
    "torchmetrics typing utils"
)

# Built-in names in pickles of such objects; they are ignored.
BUILTINS = "bool bytearray bytes dict float int list object slice str tuple type"
PLAIN = {f"builtins.{name}" for name in BUILTINS.split()} | {"copyreg._reconstructor"}

MAX_EXPANDED = 1 << 22  # numbers of a tensor that repeats fewer numbers, as ``expand`` makes it

# Modules with another name in Python 2 or another numpy.
SAME = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
}


AGAIN = "download the file again"


class DamagedError(pickle.UnpicklingError):
    """The contents of a file contradict each other; the message says where, and what to do."""


class RefusedError(pickle.UnpicklingError):
    """A pickle names an object that no checkpoint needs; the message is the object's name."""


class Inert:
    """Base of objects that a pickle may create but whose state it cannot set."""

    def __setstate__(self, state: object) -> None: ...


class Foreign(Inert):
    """Stands for an object in a pickle that is ignored; every operation on it has no effect."""

    origin = "an unknown object"

    def __new__(cls, *_: Any, **__: Any) -> "Foreign":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> "Foreign":
        return Foreign()

    def __setitem__(self, key: object, value: object) -> None: ...

    def add(self, items: object) -> None:
        """Do nothing; pickles of sets call it, and those of lists its aliases."""

    append = extend = add

    def __repr__(self) -> str:
        return self.origin


@dataclass(frozen=True, kw_only=True)
class Storage(Inert):
    """The memory of one or more tensors in a file, read when first needed.

    Attributes:
        dtype: type of the numbers.
        count: number of numbers.
        fetch: function that reads the bytes.
    """

    dtype: torch.dtype
    count: int
    fetch: Callable[[], UntypedStorage]

    @cached_property
    def data(self) -> UntypedStorage:
        """The bytes, read at the first access."""
        return self.fetch()


@dataclass(frozen=True, kw_only=True)
class StoredTensor(Inert):
    """A tensor in a file that has not been read yet.

    Attributes:
        storage: memory of which the tensor is a view.
        offset: index in ``storage`` of the tensor's first number.
        size: shape of the tensor.
        stride: strides of the tensor, in numbers.
    """

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """Read the tensor; tensors that share a storage in the file share memory."""
        empty = torch.empty(0, dtype=self.storage.dtype)
        return empty.set_(self.storage.data, self.offset, self.size, self.stride)  # pyright: ignore[reportArgumentType]


MakeStorage = Callable[[torch.dtype, str, int], Storage]  # of a type, key in the file, count


class Unpickler(pickle.Unpickler):
    """Python's unpickler, restricted to objects that checkpoints need; imports nothing.

    Args:
        file: file of one or more pickles.
        storage: makes a ``Storage`` of dtype, key and count; None: pickles have no tensors.
    """

    def __init__(self, file: BufferedIOBase, storage: MakeStorage | None = None) -> None:
        super().__init__(file, encoding="latin1")
        self._file, self._storage = file, storage
        self._foreign = cache(_foreign)

    def load(self) -> Any:
        """Unpickle the object at the file's current position.

        Raises:
            UnpicklingError: the pickle is truncated, or asks for more memory than its size accounts
                for.
        """
        start = self._file.tell()
        _check_memo(self._file)
        self._file.seek(start)
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for the object of this name; nothing is imported.

        Raises:
            RefusedError: no checkpoint needs this object.
        """
        full = f"{SAME.get(module, module)}.{name}"
        if full in KNOWN:
            return KNOWN[full]
        if full in PLAIN or module.partition(".")[0] in SURROUNDINGS.split():
            return self._foreign(full)
        raise RefusedError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Storage | type[Foreign]:
        """The ``Storage`` that a pickle refers to; ``Foreign`` for any other reference."""
        match pid:
            case ("storage", _StorageType(dtype=dtype), str(key), _, int(count), *view):
                if self._storage is None or count < 0 or any(view):
                    raise DamagedError(f"is damaged: a storage has an unknown location; {AGAIN}")
                return self._storage(dtype, key, count)
        return Foreign


def _check_memo(file: BufferedIOBase) -> None:
    """Refuse a pickle whose lengths and memo indices exceed it: CPython makes room for them first.

    Raises an EOFError or UnpicklingError.
    """
    try:
        for number, (operation, argument, _) in enumerate(
            pickletools.genops(cast("IO[bytes]", file))
        ):
            if operation.name.endswith("PUT") and int(argument or 0) > number:
                raise DamagedError(
                    f"is damaged: its pickle has memo index {argument} after {number} operations; "
                    f"{AGAIN}"
                )
    except ValueError as error:
        ends = re.search("remain$|exhausted|not enough data|no newline", str(error))
        raise (EOFError if ends else pickle.UnpicklingError)(str(error)) from error


def _foreign(origin: str) -> type[Foreign]:
    return type("Foreign", (Foreign,), {"origin": origin})


@dataclass(frozen=True, kw_only=True)
class _StorageType(Inert):
    dtype: torch.dtype


@dataclass(frozen=True)
class _Known(Inert):
    """A callable of a pickle that builds plain data, by the function ``build``."""

    build: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.build(*args)


class _Mapping(Inert, dict):
    """An ordered dictionary whose attributes a pickle cannot set."""


class _NumpyType(Inert):
    """A numpy type in a pickle; ``__setstate__`` sets its byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        self._code, self._order = code, "<"

    def __setstate__(self, state: Any) -> None:
        self._order = ">" if state[1] == ">" else "<"

    def scalar(self, data: bytes) -> Any:
        """The number of this type that ``data`` stores; a ``Foreign`` for types of other values."""
        if not re.fullmatch(r"[fiubc]\d{1,2}", self._code):
            return Foreign()
        return np.frombuffer(data, np.dtype(self._order + self._code))[0]


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> StoredTensor | Foreign:
    """A tensor of a pickle as a view of its storage; an UnpicklingError if it exceeds that."""
    if not isinstance(storage, Storage):
        return Foreign()
    size, stride = tuple(map(int, size)), tuple(map(int, stride))
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    inside = min((offset, *size, *stride)) >= 0 and (0 in size or last < storage.count)
    if not inside:
        raise DamagedError(f"is damaged: a tensor exceeds its storage; {AGAIN}")
    if math.prod(size) > max(storage.count, MAX_EXPANDED):
        raise DamagedError(f"is damaged: a tensor is larger than its storage; {AGAIN}")
    return StoredTensor(storage=storage, offset=offset, size=size, stride=stride)


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes from the text as which pickle protocol 2 writes them."""
    if encoding != "latin1":
        raise DamagedError(
            f"is damaged: it has bytes in encoding {encoding!r}, expected latin1; {AGAIN}"
        )
    return text.encode("latin1")


_NAMED = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Bool")
_DTYPES: dict[str, torch.dtype] = {
    **{kind: getattr(torch, kind.lower()) for kind in _NAMED},
    **{"Char": torch.int8, "Byte": torch.uint8, "Untyped": torch.uint8},
    **{"ComplexDouble": torch.complex128, "ComplexFloat": torch.complex64},
}

KNOWN: dict[str, Any] = {
    **{
        f"{module}.{kind}Storage": _StorageType(dtype=dtype)
        for kind, dtype in _DTYPES.items()
        for module in ("torch", "torch.cuda", "torch.storage")
    },
    **{f"builtins.{build.__name__}": _Known(build) for build in (set, frozenset, complex)},
    "numpy.core.multiarray.scalar": _Known(lambda kind, data: kind.scalar(data)),
    "collections.OrderedDict": _Known(_Mapping),
    "_codecs.encode": _Known(_latin1),
    "numpy.dtype": _Known(_NumpyType),
    "torch.Size": _Known(tuple),
    "torch._utils._rebuild_tensor": _Known(_tensor),
    "torch._utils._rebuild_tensor_v2": _Known(_tensor),
    "torch._utils._rebuild_parameter": _Known(lambda tensor, *_: tensor),
    "torch._utils._rebuild_parameter_with_state": _Known(lambda tensor, *_: tensor),
}
"""What stands for each name that a pickle can use; any other name is ignored or refused."""
