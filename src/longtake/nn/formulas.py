"""The operations of the networks as plain formulas, differentiable to any order in any mode.

They define what the kernels of ``longtake.nn.kernels`` compute faster, and take their place where
those cannot serve: in forward-mode differentiation, function transforms and second derivatives.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)
Queries = Float[Tensor, "n heads t d"]
Keys = Float[Tensor, "n heads s d"]


def at_least_float32(x: Tensor) -> Tensor:
    """Convert ``x`` to float32 if it is in half precision; else return it unchanged."""
    return x.float() if x.dtype in HALF else x


def group_norm(
    x: Float[Tensor, "rows m n c"],
    weight: Float[Tensor, "*rows_m_1 c"],
    bias: Float[Tensor, "*rows_m_1 c"],
    groups: int,
    eps: float,
    silu: bool,
) -> Float[Tensor, "rows m n c"]:
    """Group normalisation with separate statistics for each entry of the first axis, ``rows``.

    A row of ``x`` is a sample, or a frame: ``m`` parts of ``n`` positions each, of ``c`` channels.
    The result is ``weight * (x - mean) / sqrt(variance + eps) + bias``, then its SiLU if ``silu``.
    ``weight`` and ``bias`` may differ along ``rows`` and ``m``.
    """
    grouped = at_least_float32(x).unflatten(-1, (groups, -1))
    variance, mean = torch.var_mean(grouped, (1, 2, 4), correction=0, keepdim=True)
    y = ((grouped - mean) * torch.rsqrt(variance + eps)).flatten(-2) * weight + bias
    return (F.silu(y) if silu else y).to(x.dtype)


def modulation(
    weight: Float[Tensor, "c"],
    bias: Float[Tensor, "c"],
    scale: Float[Tensor, "rows m 1 c"],
    shift: Float[Tensor, "rows m 1 c"],
) -> tuple[Float[Tensor, "rows m 1 c"], Float[Tensor, "rows m 1 c"]]:
    """Weight and bias of a normalisation whose result is multiplied by ``1 + scale`` and shifted.

    They are ``weight * (1 + scale)`` and ``bias * (1 + scale) + shift``, in float32 at least.
    """
    weight, bias, scale, shift = map(at_least_float32, (weight, bias, scale, shift))
    return torch.addcmul(weight, weight, scale), torch.addcmul(bias + shift, bias, scale)


def modulated_group_norm(
    x: Float[Tensor, "rows m n c"],
    weight: Float[Tensor, "c"],
    bias: Float[Tensor, "c"],
    scale: Float[Tensor, "rows m 1 c"],
    shift: Float[Tensor, "rows m 1 c"],
    groups: int,
    eps: float,
    silu: bool,
) -> Float[Tensor, "rows m n c"]:
    """``group_norm``, times ``1 + scale``, plus ``shift``, and only then its SiLU if ``silu``."""
    return group_norm(x, *modulation(weight, bias, scale, shift), groups, eps, silu)


def frame_conv(
    x: Float[Tensor, "n h w c"],
    weight: Float[Tensor, "c2 c 3 3"],
    bias: Float[Tensor, "c2"],
    stride: int,
) -> Float[Tensor, "n h2 w2 c2"]:
    """A 3x3 convolution of channels-last frames, zero-padded by 1."""
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, padding=1).permute(0, 2, 3, 1)


def volume_conv(
    x: Float[Tensor, "b c t h w"],
    weight: Float[Tensor, "c2 c kt kh kw"],
    bias: Float[Tensor, "c2"],
    stride: tuple[int, int, int],
) -> Float[Tensor, "b c2 t2 h2 w2"]:
    """A 3D convolution of channels-first volumes without padding."""
    return F.conv3d(x, weight, bias, stride)


def repeat_border(
    x: Float[Tensor, "b c t h w"], border: tuple[int, ...]
) -> Float[Tensor, "b c t2 h2 w2"]:
    """Replication padding; ``border`` is as in ``torch.nn.functional.pad``."""
    return F.pad(x, border, mode="replicate")


def attention(q: Queries, k: Keys, v: Keys, scale: float) -> Queries:
    """``softmax(scale * q k^T) v``, the softmax in float32 at least."""
    return (at_least_float32(q @ k.mT) * scale).softmax(-1).to(v.dtype) @ v


def long_attention(q: Queries, k: Keys, v: Keys, scale: float) -> Queries:
    """Attention, as in ``attention``, for long sequences, for which other kernels are fast."""
    return attention(q, k, v, scale)


def relative_attention(
    q: Queries,
    k: Queries,
    v: Queries,
    keys: Float[Tensor, "t t d"],
    values: Float[Tensor, "t t d"],
    official_key: bool,
) -> Queries:
    """Attention with a learned vector for each pair of frames (Shaw et al. 2018).

    ``keys`` and ``values`` hold the vectors that are added to ``k`` and ``v``. The scores are
    ``d ** -0.5 * (q k^T + q keys^T)``. With ``official_key`` the second term is transposed and
    scaled by ``d ** -0.25`` alone, as in the code of the released LVDM models.
    """
    scale = q.shape[-1] ** -0.5
    relative = torch.einsum("nhid,ijd->nhij", q, keys)
    if official_key:
        relative = relative.mT * scale**-0.5
    weights = (at_least_float32(q @ k.mT + relative) * scale).softmax(-1).to(v.dtype)
    return weights @ v + torch.einsum("nhij,ijd->nhid", weights, values)
