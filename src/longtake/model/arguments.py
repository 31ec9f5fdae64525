"""Arguments of ``VideoModel`` as users of Python write them."""

import operator
from collections.abc import Iterable
from typing import SupportsIndex

import torch


def whole_seeds(seeds: Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Seeds as Python's integers: an element of an array or tensor is the seed of its value.

    Raises:
        ValueError: there are none, or one is not a whole number.
    """
    try:
        found = tuple(map(operator.index, seeds))
    except TypeError:
        found = ()
    if not found:
        raise ValueError(f"seeds={seeds!r}: expected whole numbers, one per video, such as [0, 1]")
    return found


def check_device(device: torch.device | str) -> None:
    """Raise a ValueError unless there is a device of this name."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"device={device}: no such device here ({reason}); try cpu") from error


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise a ValueError unless ``dtype`` is None or one that networks' weights can have."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype={dtype}: expected a floating-point dtype such as torch.float16")
