"""Class labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from longtake.diffusion.signals.signal import ABSENT, Signal, Signals


def label_signal(labels: Sequence[int] | Tensor) -> Signals:
    """Class indices, one per sample; ``ABSENT`` for a sample without one."""
    value = torch.as_tensor(labels)
    return {"label": Signal(value=value, null=torch.full_like(value, ABSENT))}


def draw_label(label: int, dropout: float, generator: torch.Generator) -> Signals:
    """The label of one training sample, withheld with probability ``dropout``."""
    withheld = torch.rand((), generator=generator).item() < dropout
    return label_signal([ABSENT if withheld else label])
