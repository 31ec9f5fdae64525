"""Attention by PyTorch's fused operators."""

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


def narrow(q: Tensor, k: Tensor, v: Tensor, scale: float) -> bool:
    """Whether heads have so few channels that ``padded`` is faster than ``fused``."""
    return q.shape[-1] < NARROW


def padded(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention with heads zero-padded to more channels; that changes no score and no result."""
    width = q.shape[-1]
    q, k, v = (F.pad(x, (0, NARROW - width)) for x in (q, k, v))
    return fused(q, k, v, scale)[..., :width]
