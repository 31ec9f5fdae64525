"""3x3 convolutions of every frame of a volume, as matrix products where these are faster."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn.norm import HALF

HEAVY, FEW = 9 << 10, 256
"""On a CPU a kernel of so many weights a cell is applied to so few cells faster by a matrix
product: PyTorch's convolution first lays the whole kernel out anew, at every call."""


class FrameConv(nn.Conv2d):
    """A (1, 3, 3) convolution: 3x3 in every frame, run as a 2D one on ``(b * f)`` frames.

    The kernel is channels last in memory too: on frames of a few cells that doubles the speed.
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(channels, out_channels, 3, stride, padding=1)
        self.weight = nn.Parameter(
            self.weight.detach().contiguous(memory_format=torch.channels_last)
        )

    def forward(self, input: Float[Tensor, "b f h w c"]) -> Float[Tensor, "b f h2 w2 c2"]:
        """Convolve each frame alone."""
        frames = input.flatten(0, 1)
        if frames.is_cpu and frames.dtype not in HALF and not torch.is_autocast_enabled("cpu"):
            out = _Convolve.apply(frames, self.weight, self.bias, self.stride[0])
        else:
            out = super().forward(frames.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out.unflatten(0, input.shape[:2])


class _Convolve(torch.autograd.Function):
    """A convolution on a CPU: its kernel's gradient is one product of matrices.

    PyTorch's own takes 1.2 to 2.5 times as long at the sizes of the UNets' levels.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "n h w c"],
        weight: Float[Tensor, "c2 c 3 3"],
        bias: Float[Tensor, "c2"],
        stride: int,
    ) -> Float[Tensor, "n h2 w2 c2"]:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        cells = x[..., 0].numel() // stride**2
        if cells <= FEW and weight.numel() >= HEAVY * cells:
            return F.linear(neighbours(x, stride), weight.permute(0, 2, 3, 1).flatten(1), bias)
        out = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, padding=1)
        return out.permute(0, 2, 3, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous()
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _to_input(grad, x, weight, ctx.stride)
        if ctx.needs_input_grad[1]:
            to_weight = _to_weight(grad, x, ctx.stride)
        if ctx.needs_input_grad[2]:
            to_bias = grad.sum((0, 1, 2))
        return to_x, to_weight, to_bias, None


def neighbours(x: Float[Tensor, "n h w c"], stride: int = 1) -> Float[Tensor, "n h2 w2 9*c"]:
    """The 3x3 cells around every cell, side by side; zeros beyond the border.

    Args:
        x: frames.
        stride: cells from one square's middle to the next.
    """
    n, h, w, c = x.shape
    padded = x.new_zeros(n, h + 2, w + 2, c)
    padded[:, 1:-1, 1:-1] = x
    frame, row, cell, _ = padded.stride()
    shape = (n, (h - 1) // stride + 1, (w - 1) // stride + 1, 3, 3 * c)
    strides = (frame, stride * row, stride * cell, row, 1)
    return padded.as_strided(shape, strides).flatten(3)


def _to_input(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Float[Tensor, "n h w c"]:
    frames, out = x.permute(0, 3, 1, 2), grad.permute(0, 3, 1, 2)
    steps, ones = [stride, stride], [1, 1]
    to_x, _, _ = torch.ops.aten.convolution_backward(
        out, frames, weight, None, steps, ones, ones, False, [0, 0], 1, [True, False, False]
    )
    return to_x.permute(0, 2, 3, 1)


def _to_weight(grad: Tensor, x: Tensor, stride: int) -> Float[Tensor, "c2 c 3 3"]:
    if stride > 1 or x.shape[-1] < grad.shape[-1]:
        product = grad.flatten(0, 2).mT @ neighbours(x, stride).flatten(0, 2)
        return product.unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2)
    # Neighbours, which are nine copies, of the narrower side. The kernel comes out turned around,
    # but a product as tall as this one takes less time than a wide one.
    product = neighbours(grad).flatten(0, 2).mT @ x.flatten(0, 2)
    turned = torch.stack(product.unflatten(0, (9, -1)).unbind()[::-1], dim=1)
    return turned.unflatten(1, (3, 3)).permute(0, 3, 1, 2)
