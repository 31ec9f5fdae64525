"""A condition is a map of signals; every batch operation on it is written here, once.

A network reads some signals by name. Each kind of signal has its own file beside this one.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A tensor that a network is conditioned on, and its null value for guidance.

    Attributes:
        value: one row per sample.
        null: tensor of the same shape; replaces ``value`` in the null estimate of guidance.
    """

    value: Tensor
    null: Tensor

    def __post_init__(self) -> None:
        if self.value.shape != self.null.shape:
            raise ValueError(
                f"a null of shape {tuple(self.null.shape)} stands for a value of shape "
                f"{tuple(self.value.shape)}; give both one row per sample, padded to one length"
            )


Signals = Mapping[str, Signal]
"""A batch's signals by name; a name that is missing is absent from the whole batch."""


def check_rows(signals: Signals, rows: int) -> None:
    """Raise a ValueError unless every signal has one row per seed."""
    for name, signal in signals.items():
        if len(signal.value) != rows:
            raise ValueError(
                f"the signal {name!r} has {len(signal.value)} rows for {rows} seeds; give one row "
                "per seed"
            )


def values(signals: Signals) -> dict[str, Tensor]:
    """The value of each signal, as a network reads it."""
    return {name: signal.value for name, signal in signals.items()}


def null(signals: Signals, keep: Collection[str] = ()) -> Signals:
    """The batch with the null value of every signal but those to keep."""
    return {
        name: signal if name in keep else Signal(value=signal.null, null=signal.null)
        for name, signal in signals.items()
    }


def rows(signals: Signals, index: Int[Tensor, "n"]) -> Signals:
    """The signals of some samples of the batch, in the order of ``index``."""
    return _map(signals, lambda x: x[index.to(x.device)])


def to(signals: Signals, device: torch.device | str) -> Signals:
    """Move signals to a device, floats in float32; a network casts them to its own precision."""
    return _map(signals, lambda x: x.to(device, torch.float32 if x.is_floating_point() else None))


def cat(parts: Sequence[Signals]) -> Signals:
    """Several batches of the same signals as one batch."""
    assert all(part.keys() == parts[0].keys() for part in parts)
    return {
        name: Signal(
            value=torch.cat([part[name].value for part in parts]),
            null=torch.cat([part[name].null for part in parts]),
        )
        for name in parts[0]
    }


def _map(signals: Signals, f: Callable[[Tensor], Tensor]) -> Signals:
    return {name: Signal(value=f(s.value), null=f(s.null)) for name, s in signals.items()}
