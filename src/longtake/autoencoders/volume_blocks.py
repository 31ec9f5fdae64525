"""Encoder and decoder of the volume autoencoder."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn.same_conv import SameConv, SameConvTranspose, Stride

EPS = 1e-6


class Residual(nn.Module):
    """Two normalised convolutions and the identity."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(groups, channels, eps=EPS)
        self.conv_in = SameConv(channels, channels, 3)
        self.norm_out = nn.GroupNorm(groups, channels, eps=EPS)
        self.conv_out = SameConv(channels, channels, 3)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        """Add the convolutions of ``x`` to it."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        return x + self.conv_out(F.silu(self.norm_out(h)))


class DownLevel(nn.Module):
    """Downsample and double the channels, then one residual block."""

    def __init__(self, channels: int, stride: Stride, groups: int) -> None:
        super().__init__()
        self.down = SameConv(channels, 2 * channels, 4, stride)
        self.residual = Residual(2 * channels, groups)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b 2*c t2 h2 w2"]:
        """Apply the level."""
        return self.residual(self.down(x))


class UpLevel(nn.Module):
    """Upsample and change the number of channels, then two residual blocks."""

    def __init__(self, channels: int, out_channels: int, stride: Stride, groups: int) -> None:
        super().__init__()
        self.up = SameConvTranspose(channels, out_channels, 4, stride)
        self.first = Residual(out_channels, groups)
        self.second = Residual(out_channels, groups)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Apply the level."""
        return self.second(self.first(self.up(x)))


class Encoder(nn.Module):
    """Video to mean and log-variance, before ``to_moments`` mixes them.

    ``hidden`` is the number of channels at full resolution; every level doubles them.
    """

    def __init__(
        self, hidden: int, z_channels: int, strides: Sequence[Stride], groups: int
    ) -> None:
        super().__init__()
        width = hidden * 2 ** len(strides)
        self.conv_in = SameConv(3, hidden, 3)
        self.levels = nn.Sequential(
            *(DownLevel(hidden * 2**level, stride, groups) for level, stride in enumerate(strides))
        )
        self.norm_out = nn.GroupNorm(groups, width, eps=EPS)
        self.conv_out = SameConv(width, 2 * z_channels, 3)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c f h2 w2"]:
        """Mean and log-variance of a clip in [-1, 1], channels concatenated."""
        return self.conv_out(F.silu(self.norm_out(self.levels(self.conv_in(video)))))


class Decoder(nn.Module):
    """Latent to video; nothing bounds the output, as in the official code.

    The strides are in the encoder's order, not its mirror image, so that the first level doubles
    every axis that is ever doubled.
    """

    def __init__(
        self, hidden: int, z_channels: int, strides: Sequence[Stride], groups: int
    ) -> None:
        super().__init__()
        widths = [hidden * 2 ** (len(strides) - level) for level in range(len(strides))]
        steps = zip([z_channels, *widths], widths, strides, strict=False)
        self.levels = nn.Sequential(*(UpLevel(*step, groups) for step in steps))
        self.conv_out = SameConv(2 * hidden, 3, 3)

    def forward(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 t h2 w2"]:
        """Decode a latent to a clip."""
        return self.conv_out(self.levels(z))
