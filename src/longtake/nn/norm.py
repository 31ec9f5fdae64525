"""Group normalisation of channels-last volumes, over the axes that a layer names."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class GroupNorm(nn.Module):
    """Normalise groups of channels; every row of the input has statistics of its own.

    The gain and offset that follow, and where asked a SiLU, are applied in the same pass, and only
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
        scale: Float[Tensor, "rows m c"] | None = None,
        shift: Float[Tensor, "rows m c"] | None = None,
    ) -> Float[Tensor, "rows *n c"]:
        """Normalise, multiply by ``1 + scale``, add ``shift``.

        Args:
            x: each row is normalised alone.
            scale: for each of ``m`` equal parts of a row.
            shift: likewise.
        """
        gain, offset = _wide(self.weight)[None, None], _wide(self.bias)[None, None]
        if scale is not None:
            gain, offset = gain * (1 + scale), offset * (1 + scale)
        if shift is not None:
            offset = offset + shift
        parts = x.contiguous().view(len(x), gain.shape[1], -1, x.shape[-1])
        y = _Normalise.apply(parts, gain[:, :, None], offset[:, :, None], self)
        return y.view(x.shape)


class _Normalise(torch.autograd.Function):
    """Statistics, one multiply-add, SiLU; backward in terms of the input alone.

    Autograd would keep every step between and walk each of them: this halves the memory of a
    network's activations and takes a quarter of the time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "rows m n c"],
        gain: Float[Tensor, "#rows #m 1 c"],
        offset: Float[Tensor, "#rows #m 1 c"],
        layer: GroupNorm,
    ) -> Float[Tensor, "rows m n c"]:
        mean, rate = _statistics(x, layer.groups, layer.eps)
        ctx.save_for_backward(x, gain, offset, mean, rate)
        ctx.groups, ctx.silu = layer.groups, layer.silu
        y = _affine(x, gain, offset, mean, rate)
        return (F.silu(y, inplace=True) if layer.silu else y).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, gain, offset, mean, rate = ctx.saved_tensors
        grad = _wide(grads[0])
        if ctx.silu:
            y = _affine(x, gain, offset, mean, rate)
            grad = torch.ops.aten.silu_backward(grad, y)
        to_offset = grad.sum(2, keepdim=True)
        to_gain = ((grad * x).sum(2, keepdim=True) - mean * to_offset) * rate
        pull, tilt = (_group_means(gain * s, x, ctx.groups) for s in (to_offset, to_gain))
        slope = -rate.square() * tilt
        to_x = torch.addcmul(-rate * pull - slope * mean, slope, _wide(x))
        to_x = to_x.addcmul_(rate * gain, grad).to(x.dtype)
        return to_x, to_gain.sum_to_size(gain.shape), to_offset.sum_to_size(offset.shape), None


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _affine(x: Tensor, gain: Tensor, offset: Tensor, mean: Tensor, rate: Tensor) -> Tensor:
    slope = rate * gain
    return torch.addcmul(offset - mean * slope, slope, _wide(x))


def _group_means(
    sums: Float[Tensor, "rows m 1 c"], x: Float[Tensor, "rows m n c"], groups: int
) -> Float[Tensor, "rows 1 1 c"]:
    """What sums over the cells of each part come to as a mean over the whole of each group."""
    _, parts, cells, channels = x.shape
    total = sums.sum((1, 2)).unflatten(-1, (groups, -1)).sum(-1)
    return _spread(total / (parts * cells * channels // groups), channels)


def _statistics(
    x: Float[Tensor, "rows m n c"], groups: int, eps: float
) -> tuple[Float[Tensor, "rows 1 1 c"], Float[Tensor, "rows 1 1 c"]]:
    """Mean and reciprocal deviation of each group, repeated for its channels."""
    rows, channels = x.shape[0], x.shape[-1]
    if x.device.type == "cpu" and x.dtype == _wide(x).dtype:
        # no other operator reads a channels-last tensor this fast on a CPU
        image = x.view(rows, -1, 1, channels).permute(0, 3, 1, 2)
        size = image.shape[2]
        _, mean, rate = torch.native_group_norm(
            image, None, None, rows, channels, size, groups, eps
        )
    else:
        grouped = _wide(x).view(rows, -1, groups, channels // groups)
        variance, mean = torch.var_mean(grouped, (1, 3), correction=0)
        rate = torch.rsqrt(variance + eps)
    return _spread(mean, channels), _spread(rate, channels)


def _spread(x: Float[Tensor, "rows groups"], channels: int) -> Float[Tensor, "rows 1 1 {channels}"]:
    return x.repeat_interleave(channels // x.shape[1], 1)[:, None, None]
