"""The label signal: a class index, or none."""

from collections.abc import Sequence

import torch
from torch import Tensor

from longtake.diffusion.signals.signal import Signal, Signals

ABSENT = -1
"""A label, or a noise time, that is not given: it adds nothing to the embedding."""


def label_signal(labels: Sequence[int] | Tensor) -> Signals:
    """Class indices, one per sample; ``ABSENT`` for a sample without one."""
    value = torch.as_tensor(labels)
    return {"label": Signal(value=value, null=torch.full_like(value, ABSENT))}


def draw_label(label: int, dropout: float, generator: torch.Generator) -> Signals:
    """The label of one training sample, withheld with probability ``dropout``."""
    withheld = torch.rand((), generator=generator).item() < dropout
    return label_signal([ABSENT if withheld else label])
