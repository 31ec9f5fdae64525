"""3x3 convolutions of frames on a CPU, as matrix products where these are faster."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from longtake.nn import formulas
from longtake.nn.kernels.differentiation import formula_gradients

MAX_POSITIONS, WEIGHTS_PER_POSITION = 256, 9 << 10
"""Up to this number of positions, a kernel of at least this number of weights per position is
applied faster by a matrix product: PyTorch's convolution first copies the whole kernel to another
layout, at every call."""


def product(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """3x3 convolution by a matrix product with ``neighbours(x)``, forward and backward."""
    return _FrameConv.apply(x, weight, bias, stride, True)


def convolution(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """3x3 convolution by PyTorch, but with the weight's gradient as a matrix product."""
    return _FrameConv.apply(x, weight, bias, stride, False)


def not_cast(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> bool:
    """Whether autocast is off on the CPU, so that the dtype stays that of ``x``."""
    return not torch.is_autocast_enabled("cpu")


def few_positions(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> bool:
    """Whether ``product`` is faster: few enough positions for a large enough kernel."""
    positions = x[..., 0].numel() // stride**2
    fits = positions <= MAX_POSITIONS and weight.numel() >= WEIGHTS_PER_POSITION * positions
    return fits and not_cast(x, weight, bias, stride)


class _FrameConv(torch.autograd.Function):
    # The weight's gradient is one matrix product: PyTorch's own takes 1.2 to 2.5 times as long at
    # the sizes of the UNets' levels.

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, product: bool
    ) -> Float[Tensor, "n h2 w2 c2"]:
        ctx.save_for_backward(x, weight, bias)
        ctx.stride = stride
        if product:
            return F.linear(neighbours(x, stride), weight.permute(0, 2, 3, 1).flatten(1), bias)
        return formulas.frame_conv(x, weight, bias, stride)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        needed = ctx.needs_input_grad
        if torch.is_grad_enabled():
            inputs, options = (x, weight, bias), (ctx.stride,)
            return formula_gradients(formulas.frame_conv, inputs, options, needed, grad_outputs[0])
        dy = grad_outputs[0].contiguous()
        dx = _input_gradient(dy, x, weight, ctx.stride) if needed[0] else None
        dweight = _weight_gradient(dy, x, ctx.stride) if needed[1] else None
        dbias = dy.sum((0, 1, 2)) if needed[2] else None
        return dx, dweight, dbias, None, None


def neighbours(x: Float[Tensor, "n h w c"], stride: int = 1) -> Float[Tensor, "n h2 w2 9*c"]:
    """The 3x3 neighbourhood of every ``stride``-th position, in row-major order, zero-padded."""
    n, h, w, c = x.shape
    padded = x.new_zeros(n, h + 2, w + 2, c)
    padded[:, 1:-1, 1:-1] = x
    frame, row, column, _ = padded.stride()
    shape = (n, (h - 1) // stride + 1, (w - 1) // stride + 1, 3, 3 * c)
    strides = (frame, stride * row, stride * column, row, 1)
    return padded.as_strided(shape, strides).flatten(3)


def _input_gradient(dy: Tensor, x: Tensor, weight: Tensor, stride: int) -> Float[Tensor, "n h w c"]:
    frames, out = x.permute(0, 3, 1, 2), dy.permute(0, 3, 1, 2)
    steps, ones = [stride, stride], [1, 1]
    dx, _, _ = torch.ops.aten.convolution_backward(
        out, frames, weight, None, steps, ones, ones, False, [0, 0], 1, [True, False, False]
    )
    return dx.permute(0, 2, 3, 1)


def _weight_gradient(dy: Tensor, x: Tensor, stride: int) -> Float[Tensor, "c2 c 3 3"]:
    # dweight[o, c, i, j] = sum over positions p of dy[p, o] * x[p + (i, j) - 1, c]
    if stride > 1 or x.shape[-1] < dy.shape[-1]:
        product = dy.flatten(0, 2).mT @ neighbours(x, stride).flatten(0, 2)
        return product.unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2)
    # Neighbours are nine copies: take those of the narrower side, dy. With q = p + (i, j) - 1 the
    # sum is over dy[q + 1 - (i, j), o] * x[q, c], so the kernel comes out turned by 180 degrees.
    # A product as tall as this one takes less time than a wide one.
    product = neighbours(dy).flatten(0, 2).mT @ x.flatten(0, 2)
    turned = torch.stack(product.unflatten(0, (9, -1)).unbind()[::-1], dim=1)
    return turned.unflatten(1, (3, 3)).permute(0, 3, 1, 2)
