"""Attention by PyTorch's fused operators."""

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.nn import formulas
from longtake.nn.kernels.differentiation import differentiable_twice

NARROW = 16
"""Heads of fewer channels are padded to this number: without, PyTorch's attention on a CPU takes up
to 1.5 times as long on sequences of 100 tokens or more. On sequences of 16 tokens padding takes a
quarter longer."""


def fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """``formulas.attention`` by ``scaled_dot_product_attention``, which need not store scores."""
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
    """``formulas.relative_attention`` in few operations, as launching each takes a GPU time.

    Queries, keys and values are made contiguous by one copy; otherwise each product would copy its
    factors.
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
