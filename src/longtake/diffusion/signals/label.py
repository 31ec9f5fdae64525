"""Class labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from longtake.diffusion.signals.signal import ABSENT, Signal, Signals


def label_signal(labels: Sequence[int] | Tensor) -> Signals:
    """The signal ``label``: class indices, one per sample; ``ABSENT`` for no class."""
    value = torch.as_tensor(labels)
    return {"label": Signal(value=value, null=torch.full_like(value, ABSENT))}


def draw_label(label: int, dropout: float, generator: torch.Generator) -> Signals:
    """The signal ``label`` of one training sample; no class with probability ``dropout``."""
    withheld = torch.rand((), generator=generator).item() < dropout
    return label_signal([ABSENT if withheld else label])
