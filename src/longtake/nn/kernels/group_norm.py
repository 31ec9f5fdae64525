"""Group normalisation that keeps only its input for the backward pass.

Autograd keeps every intermediate of the formula and passes through each of them: this halves the
memory of a network's activations and takes a quarter of the time.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from longtake.nn import formulas
from longtake.nn.formulas import at_least_float32
from longtake.nn.kernels import fused_norm
from longtake.nn.kernels.differentiation import formula_gradients

NATIVE_BACKWARD_POSITIONS = 1 << 16
"""Positions times groups beyond which PyTorch's backward pass of group normalisation on a CPU,
which visits every group of every position, takes longer than the formula's separate operations."""

Moments = tuple[
    Float[Tensor, "rows m n c"], Float[Tensor, "rows groups"], Float[Tensor, "rows groups"]
]
"""Result of a group normalisation, and mean and reciprocal std of each group."""
Way = Callable[..., Moments]
"""A function that computes ``formulas.group_norm`` and returns its ``Moments``."""


def native(x: Tensor, weight: Tensor, bias: Tensor, *options: Any) -> Tensor:
    """``formulas.group_norm`` by PyTorch's own operator, which is fast on a CPU.

    ``options`` are its further arguments: ``groups``, ``eps`` and ``silu``.
    """
    return _GroupNorm.apply(x, weight, bias, _native_forward, *options)


def recomputed(x: Tensor, weight: Tensor, bias: Tensor, *options: Any) -> Tensor:
    """``formulas.group_norm`` as one multiply-add of ``x``; only ``x`` is kept for backward.

    ``options`` are its further arguments: ``groups``, ``eps`` and ``silu``.
    """
    return _GroupNorm.apply(x, weight, bias, _affine_forward, *options)


def fused(x: Tensor, weight: Tensor, bias: Tensor, *options: Any) -> Tensor:
    """``formulas.group_norm`` by one operator of Triton, ``fused_norm.group_norm``.

    ``options`` are its further arguments: ``groups``, ``eps`` and ``silu``.
    """
    return _GroupNorm.apply(x, weight, bias, _fused_forward, *options)


def native_modulated(x: Tensor, *inputs: Any) -> Tensor:
    """``formulas.modulated_group_norm`` by ``native`` with a modulated weight and bias.

    ``inputs`` are its further arguments, in its order.
    """
    return native(x, *formulas.modulation(*inputs[:4]), *inputs[4:])


def recomputed_modulated(x: Tensor, *inputs: Any) -> Tensor:
    """``formulas.modulated_group_norm`` by ``recomputed`` with a modulated weight and bias.

    ``inputs`` are its further arguments, in its order.
    """
    return recomputed(x, *formulas.modulation(*inputs[:4]), *inputs[4:])


def fused_modulated(x: Tensor, *inputs: Any) -> Tensor:
    """``formulas.modulated_group_norm`` by one operator of Triton, ``fused_norm.group_norm``.

    ``inputs`` are its further arguments, in its order.
    """
    if torch.is_grad_enabled() and any(part.requires_grad for part in (x, *inputs[:4])):
        return fused(x, *formulas.modulation(*inputs[:4]), *inputs[4:])
    return fused_norm.group_norm(x, *inputs)[0]


def fits(x: Tensor, *_: Any) -> bool:
    """Whether ``fused`` can be used, and is fast, for ``x``."""
    return fused_norm.usable(x)


class _GroupNorm(torch.autograd.Function):
    # Let xhat = (x - mean) * rstd, y = weight * xhat + bias and out = y or silu(y). Within a group
    # of N values, with E the mean over the group and dy the gradient of y,
    #
    #   d bias   = sum dy
    #   d weight = sum dy * xhat = rstd * (sum dy * x - mean * sum dy)
    #   d x      = rstd * (weight * dy - E[weight * dy] - xhat * E[weight * dy * xhat])
    #            = rstd * weight * dy + a * x + b,
    #
    # where E[weight * dy]        = sum over channels of weight * d bias / N,
    #       E[weight * dy * xhat] = sum over channels of weight * d weight / N,
    #       a = -rstd^2 * E[weight * dy * xhat],  b = -rstd * E[weight * dy] - a * mean.
    #
    # So beside two sums over positions nothing but one multiply-add of x and dy is needed.

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, way: Way, *options: Any
    ) -> Float[Tensor, "rows m n c"]:
        out, mean, rstd = way(x, weight, bias, *options)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.options, ctx.native = options, way is _native_forward
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, rstd = ctx.saved_tensors
        groups, _, silu = ctx.options
        if torch.is_grad_enabled():
            inputs, needed = (x, weight, bias), ctx.needs_input_grad
            return formula_gradients(
                formulas.group_norm, inputs, ctx.options, needed, grad_outputs[0]
            )
        dy = at_least_float32(grad_outputs[0])
        wide_mean, wide_rstd = _per_channel(mean, x), _per_channel(rstd, x)
        if silu:
            y = _affine(x, weight, bias, wide_mean, wide_rstd)
            dy = torch.ops.aten.silu_backward(dy, y)
        if (
            ctx.native
            and weight.ndim == 1
            and x[..., 0].numel() * groups <= NATIVE_BACKWARD_POSITIONS
        ):
            return *_native_backward(dy, x, weight, mean, rstd), None, None, None, None
        dbias = dy.sum(2, keepdim=True)
        dweight = ((dy * x).sum(2, keepdim=True) - wide_mean * dbias) * wide_rstd
        mean_dxhat, mean_dxhat_xhat = (
            _group_means(weight * s, x, groups) for s in (dbias, dweight)
        )
        a = -wide_rstd.square() * mean_dxhat_xhat
        dx = torch.addcmul(-wide_rstd * mean_dxhat - a * wide_mean, a, at_least_float32(x))
        dx = dx.addcmul_(wide_rstd * weight, dy).to(x.dtype)
        dweight, dbias = dweight.sum_to_size(weight.shape), dbias.sum_to_size(bias.shape)
        return dx, dweight, dbias, None, None, None, None


def _native_forward(
    x: Float[Tensor, "rows m n c"],
    weight: Tensor,
    bias: Tensor,
    groups: int,
    eps: float,
    silu: bool,
) -> Moments:
    rows, channels = x.shape[0], x.shape[-1]
    image = x.view(rows, -1, 1, channels).permute(0, 3, 1, 2)
    weight, bias = at_least_float32(weight), at_least_float32(bias)
    learned = (weight, bias) if weight.ndim == 1 else (None, None)
    sizes = rows, channels, image.shape[2], groups
    y, mean, rstd = torch.native_group_norm(image, *learned, *sizes, eps)
    y = y.permute(0, 2, 3, 1).reshape(x.shape)
    if weight.ndim > 1:
        torch.addcmul(bias, weight, y, out=y)
    return F.silu(y, inplace=True) if silu else y, mean, rstd


def _affine_forward(
    x: Float[Tensor, "rows m n c"],
    weight: Tensor,
    bias: Tensor,
    groups: int,
    eps: float,
    silu: bool,
) -> Moments:
    single = at_least_float32(x)
    grouped = single.view(len(x), -1, groups, x.shape[-1] // groups)
    variance, mean = torch.var_mean(grouped, (1, 3), correction=0)
    rstd = torch.rsqrt(variance + eps)
    weight, bias = (part.unflatten(-1, (groups, -1)) for part in (weight, bias))
    factor = rstd[:, None, None, :, None] * weight
    shift = bias - mean[:, None, None, :, None] * factor
    y = torch.addcmul(shift.flatten(-2), factor.flatten(-2), single)
    return (F.silu(y, inplace=True) if silu else y).to(x.dtype), mean, rstd


def _fused_forward(x: Tensor, weight: Tensor, bias: Tensor, *options: Any) -> Moments:
    return fused_norm.group_norm(x, weight, bias, None, None, *options)


def _native_backward(
    dy: Tensor, x: Tensor, weight: Tensor, mean: Float[Tensor, "rows groups"], rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, weight and bias, by PyTorch's own operator of group normalisation."""
    rows, groups = mean.shape
    # the operator reads both as they lie in memory, whatever their strides
    parts = dy.contiguous(), x
    images = [part.view(rows, -1, 1, len(weight)).permute(0, 3, 1, 2) for part in parts]
    sizes = rows, len(weight), images[0].shape[2], groups
    dx, dweight, dbias = torch.ops.aten.native_group_norm_backward(
        *images, mean, rstd, weight, *sizes, [True, True, True]
    )
    return dx.permute(0, 2, 3, 1).reshape(x.shape), dweight, dbias


def _affine(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    factor = rstd * weight
    return torch.addcmul(bias - mean * factor, factor, at_least_float32(x))


def _group_means(
    sums: Float[Tensor, "rows m 1 c"], x: Float[Tensor, "rows m n c"], groups: int
) -> Float[Tensor, "rows 1 1 c"]:
    """Means over the groups of ``x`` from sums over the positions of each part."""
    _, parts, positions, channels = x.shape
    total = sums.sum((1, 2)).unflatten(-1, (groups, -1)).sum(-1)
    return _per_channel(total / (parts * positions * channels // groups), x)


def _per_channel(
    value: Float[Tensor, "rows groups"], x: Float[Tensor, "rows m n c"]
) -> Float[Tensor, "rows 1 1 c"]:
    """Repeat the value of each group for each of its channels."""
    each = value[:, :, None].expand(-1, -1, x.shape[-1] // value.shape[1])
    return each.reshape(len(value), 1, 1, -1)
