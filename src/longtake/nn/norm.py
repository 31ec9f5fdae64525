"""Group normalisation of channels-last volumes, over the axes that a layer names."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

CLIP = (1, 2, 3)
FRAME = (2, 3)
PIXEL = (1,)


class GroupNorm(nn.Module):
    """Normalise groups of channels, their statistics taken over some axes of ``(b, f, h, w, c)``.

    Statistics are float32 whatever the input is, as in the official code.

    Args:
        channels: of the input.
        groups: must divide ``channels``.
        over: axes that share their statistics: ``CLIP``, ``FRAME`` or ``PIXEL``.
        eps: added to the variance.
    """

    def __init__(
        self, channels: int, groups: int, over: Sequence[int] = CLIP, eps: float = 1e-5
    ) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"groups={groups} must divide the {channels} channels of a layer")
        self.groups = groups
        self.over = tuple(over)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "b f h w c"],
        scale: Float[Tensor, "b #f 1 1 c"] | None = None,
        shift: Float[Tensor, "b #f 1 1 c"] | None = None,
    ) -> Float[Tensor, "b f h w c"]:
        """Normalise, then multiply by ``1 + scale`` and add ``shift``, in one pass over ``x``."""
        grouped = x.float().unflatten(-1, (self.groups, -1))
        variance, mean = torch.var_mean(grouped, (*self.over, 5), correction=0, keepdim=True)
        rate = torch.rsqrt(variance + self.eps)
        gain = rate * self.weight.float().unflatten(0, (self.groups, -1))
        offset = self.bias.float().unflatten(0, (self.groups, -1)) - mean * gain
        gain, offset = gain.flatten(-2), offset.flatten(-2)
        if scale is not None:
            gain, offset = gain * (1 + scale), offset * (1 + scale)
        if shift is not None:
            offset = offset + shift
        return torch.addcmul(offset, x.float(), gain).to(x.dtype)
