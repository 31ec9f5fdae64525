"""Attention by PyTorch's fused operators."""

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.nn import formulas
from longtake.nn.kernels.differentiation import differentiable_twice

NARROW = 16
"""PyTorch's attention on a CPU takes up to half again as long for heads of fewer channels if rows
have 100 tokens or more; in rows of 16, padding costs a quarter."""


def fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention by ``scaled_dot_product_attention``, which need not store the scores."""
    out = F.scaled_dot_product_attention(q, k, v, scale=scale)
    return differentiable_twice(out, formulas.attention, (q, k, v), (scale,))


def trained(q: Tensor, k: Tensor, v: Tensor, scale: float) -> bool:
    """Whether gradients of queries, keys or values will be computed."""
    return torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)


def widened(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention of half precision computed in float32, forward and backward.

    The backward pass of PyTorch's fused attention takes 2 to 10 times as long in bfloat16 as in
    float32 on a CPU (torch 2.13, heads of 16 to 36 channels), more than the two casts cost.
    """
    with torch.autocast(q.device.type, enabled=False):
        attend = padded if narrow(q, k, v, scale) else fused
        return attend(q.float(), k.float(), v.float(), scale).to(q.dtype)


def narrow(q: Tensor, k: Tensor, v: Tensor, scale: float) -> bool:
    """Whether heads have so few channels that ``padded`` is faster than ``fused``."""
    return q.shape[-1] < NARROW


def padded(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention with heads zero-padded to more channels; that changes no score and no result."""
    width = q.shape[-1]
    q, k, v = (F.pad(x, (0, NARROW - width)) for x in (q, k, v))
    return fused(q, k, v, scale)[..., :width]


def relative(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, official_key: bool
) -> Tensor:
    """Attention with relative positions, in few operations for a device that waits for each.

    One copy makes all products' factors contiguous, which otherwise copy each of them.
    """
    q, k, v = torch.stack((q, k, v))
    scale = q.shape[-1] ** -0.5
    added = torch.einsum("nhid,ijd->nhij", q, keys)
    if official_key:
        added = added.mT
    share = scale**0.5 if official_key else scale
    scores = torch.baddbmm(
        added.flatten(0, 1), q.flatten(0, 1), k.flatten(0, 1).mT, beta=share, alpha=scale
    )
    wide = torch.promote_types(scores.dtype, torch.float32)
    weights = scores.softmax(-1, dtype=wide).to(v.dtype).view(added.shape)
    return weights @ v + torch.einsum("nhij,ijd->nhid", weights, values)
