"""A condition is a map of signals: its kinds, and every batch operation on it, each written once.

A network reads some signals by name. Context frames, a kind of several signals, are in ``context``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

ABSENT = -1
"""A label, or a noise time, that is not given: it adds nothing to the embedding."""


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


def label_signal(labels: Sequence[int] | Tensor) -> Signals:
    """Class indices, one per sample; ``ABSENT`` for a sample without one."""
    value = torch.as_tensor(labels)
    return {"label": Signal(value=value, null=torch.full_like(value, ABSENT))}


def draw_label(label: int, dropout: float, generator: torch.Generator) -> Signals:
    """The label of one training sample, withheld with probability ``dropout``."""
    withheld = torch.rand((), generator=generator).item() < dropout
    return label_signal([ABSENT if withheld else label])


def text_signal(
    states: Float[Tensor, "b n d"], empty: Float[Tensor, "b m d"] | None = None
) -> Signals:
    """Token states of prompts, padded to one length.

    ``empty`` has the states of the empty prompt, which the official LVDM sampler contrasts with,
    in the same shape; None: zeros.
    """
    return {"text": Signal(value=states, null=torch.zeros_like(states) if empty is None else empty)}


def previous_signal(z: Float[Tensor, "b ..."]) -> Signals:
    """Whole latents of the previous clips (PVDM); zeros for a sample without one."""
    return {"previous": Signal(value=z, null=torch.zeros_like(z))}


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
