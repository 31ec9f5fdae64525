"""AdamW that leaves kernels which lie channels last as they are."""

from typing import Any

import torch
from torch import Tensor, nn


class AdamW(torch.optim.AdamW):
    """PyTorch's fused AdamW, without the copy it makes of every gradient that lies channels last.

    That operator asks for gradients in row-major order and then reads the ones it was given, which
    is right as long as weight, gradient and moments lie alike; here they always do. So it is shown
    all of them with their axes in the order of memory, and has nothing to copy. Values, state and
    checkpoints are those of ``torch.optim.AdamW``.
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
    """A view without gaps of a tensor that lies channels last; other tensors as they are."""
    plain = type(x) in (Tensor, nn.Parameter)  # shards of several processes are laid out by torch
    if plain and x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1)
    return x
