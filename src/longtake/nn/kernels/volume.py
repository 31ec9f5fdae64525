"""Padding and 3D convolution of the volume autoencoder."""

from typing import Any

import torch
from torch import Tensor

from longtake.nn import formulas

UNFUSED = 20480
"""Greatest channels x frames x height of a volume that PyTorch, on a CPU and if the batch is one,
convolves by a kernel that is six times slower than the one for a larger batch."""


def lone(x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int, int]) -> bool:
    """Whether ``conv_halves`` is faster: a batch of one that PyTorch convolves by a slow kernel."""
    if x.shape[0] != 1 or weight.shape[2:] != (3, 3, 3) or stride != (1, 1, 1):
        return False
    return x.shape[:4].numel() <= UNFUSED and any(size % 2 == 0 for size in x.shape[2:])


def conv_halves(x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """``formulas.volume_conv`` of one volume, computed as a batch of its two halves.

    For arguments for which ``lone`` is true: a batch of 1 with an even number of frames, rows or
    columns, a kernel of 3 x 3 x 3 and a stride of 1.
    """
    axis = next(axis for axis in (2, 3, 4) if x.shape[axis] % 2 == 0)
    size = x.shape[axis] // 2 - 1  # of half the result: the kernel takes two positions more
    halves = torch.cat([x.narrow(axis, start, size + 2) for start in (0, size)])
    return torch.cat(formulas.volume_conv(halves, weight, bias, stride).chunk(2), axis)


def repeat_border(x: Tensor, border: tuple[int, ...]) -> Tensor:
    """``formulas.repeat_border``, replication padding, whose backward pass sums slices.

    This is four times as fast as PyTorch's backward pass on a CPU, does not keep ``x`` alive, and
    is deterministic on a GPU too.
    """
    return _RepeatBorder.apply(x, border) if any(border) else x


class _RepeatBorder(torch.autograd.Function):
    # Padding is linear, and its transpose below is made of differentiable operations.

    @staticmethod
    def forward(ctx: Any, x: Tensor, border: tuple[int, ...]) -> Tensor:
        ctx.border = border
        return formulas.repeat_border(x, border)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return _fold(grad_outputs[0], ctx.border), None


def _fold(grad: Tensor, border: tuple[int, ...]) -> Tensor:
    """Transpose of replication padding: add a border's gradient to that of the values it repeats.

    ``border`` is as in ``torch.nn.functional.pad``.
    """
    if not border:
        return grad.clone()
    axis = grad.ndim - len(border) // 2
    *rest, before, after = border
    inner = grad.shape[axis] - before - after
    out = _fold(grad.narrow(axis, before, inner), tuple(rest))
    for count, start, to in ((before, 0, 0), (after, before + inner, inner - 1)):
        if count:
            edge = grad.narrow(axis, start, count).sum(axis, keepdim=True)
            out.narrow(axis, to, 1).add_(_fold(edge, tuple(rest)))
    return out
