"""AdamW for weights in any memory layout."""

from typing import Any

import torch
from torch import Tensor, nn


class AdamW(torch.optim.AdamW):
    """PyTorch's fused AdamW, without the copy that it makes of every channels-last gradient.

    PyTorch's operator requires row-major gradients, although any layout is right if weight,
    gradient and moments share it, as in a ``Trainer``. Therefore it gets views of these tensors
    whose axes are in the order of memory. Values, state and checkpoints are those of
    ``torch.optim.AdamW``.
    """

    def _init_group(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, group: dict[str, Any], *lists: Any
    ) -> bool:
        has_complex = super()._init_group(group, *lists)
        for tensors in lists:
            if isinstance(tensors, list):
                tensors[:] = map(_in_order_of_memory, tensors)
        return has_complex


def _in_order_of_memory(x: Tensor) -> Tensor:
    """Row-major view of a channels-last tensor; other tensors unchanged."""
    plain = type(x) in (Tensor, nn.Parameter)  # DTensors are laid out by torch
    if plain and x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1)
    return x
