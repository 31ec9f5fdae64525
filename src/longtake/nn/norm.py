"""Group normalisation of channels-last volumes, and the multiply-add and SiLU that follow it."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class GroupNorm(nn.Module):
    """Normalise groups of channels; every row of the input has statistics of its own.

    The gain and offset that follow, and where asked a SiLU, are part of the same step, and only
    the input is kept for the way back. Half precision is computed in float32, as in the official
    code.

    Args:
        channels: of the input.
        groups: must divide ``channels``.
        eps: added to the variance.
        silu: apply a SiLU last.
    """

    def __init__(
        self, channels: int, groups: int, *, eps: float = 1e-5, silu: bool = False
    ) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"groups={groups} must divide the {channels} channels of a layer")
        self.groups = groups
        self.eps = eps
        self.silu = silu
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "rows *n c"],
        steer: tuple[Float[Tensor, "rows m c"], Float[Tensor, "rows m c"]] | None = None,
    ) -> Float[Tensor, "rows *n c"]:
        """Normalise, multiply by ``1 + scale``, add ``shift``.

        Args:
            x: each row is normalised alone.
            steer: ``scale`` and ``shift`` for each of ``m`` equal parts of a row.
        """
        gain, offset, parts = _wide(self.weight), _wide(self.bias), 1
        if steer is not None:
            scale, shift = (_wide(part).unsqueeze(2) for part in steer)
            gain = torch.addcmul(gain, gain, scale)
            offset = torch.addcmul(offset + shift, offset, scale)
            parts = scale.shape[1]
        split = x.contiguous().view(len(x), parts, -1, x.shape[-1])
        y = _Normalise.apply(split, gain, offset, self.groups, self.eps, self.silu)
        return y.view(x.shape)


class _Normalise(torch.autograd.Function):
    """Backward in terms of the input alone.

    Autograd would keep every step between and walk each of them: this halves the memory of a
    network's activations and takes a quarter of the time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "rows m n c"],
        gain: Float[Tensor, "*rows_m_1 c"],
        offset: Float[Tensor, "*rows_m_1 c"],
        groups: int,
        eps: float,
        silu: bool,
    ) -> Float[Tensor, "rows m n c"]:
        if _has_fast_operator(x):
            y, mean, rate = _steered(x, gain, offset, groups, eps)
        else:
            mean, rate = _statistics(x, groups, eps)
            y = _affine(x, gain, offset, _spread(mean, x), _spread(rate, x))
        ctx.save_for_backward(x, gain, offset, mean, rate)
        ctx.groups, ctx.silu = groups, silu
        return (F.silu(y, inplace=True) if silu else y).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, gain, offset, mean, rate = ctx.saved_tensors
        wide_mean, wide_rate = _spread(mean, x), _spread(rate, x)
        grad = _wide(grads[0])
        if ctx.silu:
            y = _affine(x, gain, offset, wide_mean, wide_rate)
            grad = torch.ops.aten.silu_backward(grad, y)
        if gain.ndim == 1 and _has_fast_operator(x) and x[..., 0].numel() * ctx.groups <= FEW:
            return *_unsteered(grad, x, gain, mean, rate), None, None, None
        to_offset = grad.sum(2, keepdim=True)
        to_gain = ((grad * x).sum(2, keepdim=True) - wide_mean * to_offset) * wide_rate
        pull, tilt = (_group_means(gain * s, x, ctx.groups) for s in (to_offset, to_gain))
        slope = -wide_rate.square() * tilt
        to_x = torch.addcmul(-wide_rate * pull - slope * wide_mean, slope, _wide(x))
        to_x = to_x.addcmul_(wide_rate * gain, grad).to(x.dtype)
        to_gain, to_offset = to_gain.sum_to_size(gain.shape), to_offset.sum_to_size(offset.shape)
        return to_x, to_gain, to_offset, None, None, None


HALF = (torch.bfloat16, torch.float16)

FEW = 1 << 16
"""Cells times groups beyond which PyTorch's backward pass on a CPU, which goes through every group
of every cell alone, takes longer than the plain steps."""


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in HALF else x


def _has_fast_operator(x: Tensor) -> bool:
    return x.is_cpu and x.dtype not in HALF


def _steered(
    x: Float[Tensor, "rows m n c"], gain: Tensor, offset: Tensor, groups: int, eps: float
) -> tuple[Float[Tensor, "rows m n c"], Float[Tensor, "rows groups"], Float[Tensor, "rows groups"]]:
    """The result before its SiLU, and the statistics, by the operator that is fast on a CPU."""
    rows, channels = x.shape[0], x.shape[-1]
    image = x.view(rows, -1, 1, channels).permute(0, 3, 1, 2)
    learned = (gain, offset) if gain.ndim == 1 else (None, None)
    y, mean, rate = torch.native_group_norm(
        image, *learned, rows, channels, image.shape[2], groups, eps
    )
    y = y.permute(0, 2, 3, 1).reshape(x.shape)
    if gain.ndim > 1:
        torch.addcmul(offset, gain, y, out=y)
    return y, mean, rate


def _unsteered(
    grad: Float[Tensor, "rows m n c"],
    x: Float[Tensor, "rows m n c"],
    gain: Float[Tensor, "c"],
    mean: Float[Tensor, "rows groups"],
    rate: Float[Tensor, "rows groups"],
) -> tuple[Float[Tensor, "rows m n c"], Float[Tensor, "c"], Float[Tensor, "c"]]:
    """Gradients of the input, the gain and the offset, by the operator that is fast on a CPU."""
    rows, groups = mean.shape
    images = [part.reshape(rows, -1, 1, len(gain)).permute(0, 3, 1, 2) for part in (grad, x)]
    cells = images[0].shape[2]
    to_x, to_gain, to_offset = torch.ops.aten.native_group_norm_backward(
        *images, mean, rate, gain, rows, len(gain), cells, groups, [True, True, True]
    )
    return to_x.permute(0, 2, 3, 1).reshape(x.shape), to_gain, to_offset


def _statistics(
    x: Float[Tensor, "rows m n c"], groups: int, eps: float
) -> tuple[Float[Tensor, "rows groups"], Float[Tensor, "rows groups"]]:
    """Mean and reciprocal deviation of each group."""
    grouped = _wide(x).view(len(x), -1, groups, x.shape[-1] // groups)
    variance, mean = torch.var_mean(grouped, (1, 3), correction=0)
    return mean, torch.rsqrt(variance + eps)


def _affine(x: Tensor, gain: Tensor, offset: Tensor, mean: Tensor, rate: Tensor) -> Tensor:
    slope = rate * gain
    return torch.addcmul(offset - mean * slope, slope, _wide(x))


def _group_means(
    sums: Float[Tensor, "rows m 1 c"], x: Float[Tensor, "rows m n c"], groups: int
) -> Float[Tensor, "rows 1 1 c"]:
    """What sums over the cells of each part come to as a mean over the whole of each group."""
    _, parts, cells, channels = x.shape
    total = sums.sum((1, 2)).unflatten(-1, (groups, -1)).sum(-1)
    return _spread(total / (parts * cells * channels // groups), x)


def _spread(
    value: Float[Tensor, "rows groups"], x: Float[Tensor, "rows m n c"]
) -> Float[Tensor, "rows 1 1 c"]:
    """A group's value for each of its channels."""
    rows, groups = value.shape
    each = value[:, :, None].expand(-1, -1, x.shape[-1] // groups)
    return each.reshape(rows, 1, 1, -1)
