"""Whole tensors from shards that ``torch.distributed.checkpoint`` wrote as safetensors."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, NonNegativeInt, RootModel
from torch import Tensor

from longtake.checkpoint import CheckpointError, read_metadata, read_tensors
from longtake.config import ConfigError, parse
from longtake.documents import DocumentError, parse_json

PLACES = "DCP_SHARDING_INFO"
Shape = tuple[NonNegativeInt, ...]


class Place(BaseModel):
    """Position of a shard's first value in its tensor."""

    saved_offsets: Shape


class Places(RootModel[dict[str, Place]]):
    """Places of the shards of a file, by the names of their tensors."""


def assembled(files: Iterable[Path], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Assemble tensors of these shapes from files that each hold rows of them.

    Raises a CheckpointError if a part is missing, or its shape or place is wrong.

    Unlike the reader of ``torch.distributed.checkpoint`` it trusts no file: it checks names, places
    and coverage, and reads no pickle.
    """
    found: dict[str, Tensor] = {}
    rows: dict[str, list[tuple[int, int]]] = {name: [] for name in shapes}
    for path in files:
        places = _places(path)
        for name, part in read_tensors(path).items():
            if name not in shapes or name not in places:
                raise CheckpointError(f"{path}: has a tensor {name!r} that this run does not have")
            shape, offsets = tuple(shapes[name]), places[name].saved_offsets
            first = offsets[0] if offsets else 0
            length = part.shape[0] if part.ndim else 1
            if (len(offsets), part.shape[1:], any(offsets[1:])) != (len(shape), shape[1:], False):
                raise CheckpointError(
                    f"{path}: {name!r} does not belong to a tensor of shape {shape}"
                )
            own = found.setdefault(name, torch.empty(shape, dtype=part.dtype))
            if own.dtype != part.dtype or first + length > (shape[0] if shape else 1):
                raise CheckpointError(f"{path}: {name!r} does not fit the other shards")
            (own[first : first + length] if shape else own).copy_(part)
            rows[name].append((first, first + length))
    for name, shape in shapes.items():
        if math.prod(shape) and not _cover(rows[name], shape[0] if shape else 1):
            raise CheckpointError(
                f"the checkpoint's shards lack a part of {name!r}, or have it twice"
            )
    return {name: found.get(name, torch.empty(tuple(shape))) for name, shape in shapes.items()}


def _cover(parts: Iterable[tuple[int, int]], length: int) -> bool:
    """Whether half-open intervals follow each other from 0 to ``length``."""
    end = 0
    for first, after in sorted(part for part in parts if part[0] < part[1]):
        if first != end:
            return False
        end = after
    return end == length


def _places(path: Path) -> Mapping[str, Place]:
    try:
        found: Places = parse(Places, parse_json(read_metadata(path).get(PLACES, "{}")))
    except (ConfigError, DocumentError) as error:
        raise CheckpointError(f"{path}: broken: {error}") from error
    return found.root
