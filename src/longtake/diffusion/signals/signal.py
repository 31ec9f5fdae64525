"""Signals: what a denoiser is conditioned on, as a map of names, and operations on batches."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

ABSENT = -1
"""A label, or a noise time, that is not given: it adds nothing to the embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A tensor that a network is conditioned on; its first axis is the batch.

    Attributes:
        value: the condition of each sample.
        null: what replaces ``value`` in the unconditional estimate of guidance; a ValueError if its
            shape is not that of ``value``.
    """

    value: Tensor
    null: Tensor

    def __post_init__(self) -> None:
        if self.value.shape != self.null.shape:
            raise ValueError(
                f"a signal's null of shape {tuple(self.null.shape)} stands for a value of shape "
                f"{tuple(self.value.shape)}; give both one row per sample, padded to one length"
            )


Signals = Mapping[str, Signal]
"""A batch's signals by name; a name that is missing is absent from the whole batch."""


def check_read(network: str, reads: Collection[str], names: Collection[str]) -> None:
    """Raise a ValueError if ``names`` has a signal that a network does not read.

    Args:
        network: the network's name, for the error message.
        reads: names of the signals that it reads.
        names: names of the signals that it is to be given.
    """
    if unread := sorted({*names} - {*reads}):
        raise ValueError(
            f"{network} does not read the signal {unread[0]!r}; it reads "
            f"{', '.join(sorted(reads)) or 'none'}; leave it out or choose a model that was "
            "trained with it"
        )


def values(signals: Signals) -> dict[str, Tensor]:
    """The ``value`` tensor of each signal, by name."""
    return {name: signal.value for name, signal in signals.items()}


def null(signals: Signals, keep: Collection[str] = ()) -> Signals:
    """Signals with ``value`` replaced by ``null``, except those whose names are in ``keep``."""
    return {
        name: signal if name in keep else Signal(value=signal.null, null=signal.null)
        for name, signal in signals.items()
    }


def rows(signals: Signals, index: Int[Tensor, "n"]) -> Signals:
    """Signals of those samples of a batch whose indices are in ``index``, in that order."""
    return _map(signals, lambda x: x[index.to(x.device)])


def to(signals: Signals, device: torch.device | str) -> Signals:
    """Return signals moved to a device, floating-point tensors as float32.

    A copy from pinned memory to a GPU does not wait for the GPU.
    """
    ahead = (
        torch.device(device).type == "cuda"
    )  # a copy to a CPU that does not wait may be read early

    def moved(x: Tensor) -> Tensor:
        return x.to(device, torch.float32 if x.is_floating_point() else None, non_blocking=ahead)

    return _map(signals, moved)


def pinned(signals: Signals) -> Signals:
    """Return signals in pinned memory."""
    return _map(signals, Tensor.pin_memory)


def cat(parts: Sequence[Signals]) -> Signals:
    """Concatenate signals along the batch axis; all of ``parts`` must have the same names."""
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
