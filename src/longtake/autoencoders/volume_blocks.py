"""Encoder and decoder of the volume autoencoder."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn.same_conv import SameConv, SameConvTranspose

if TYPE_CHECKING:
    from longtake.autoencoders.volume import VolumeAutoencoderConfig

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
        """Transform ``x``."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        return x + self.conv_out(F.silu(self.norm_out(h)))


class DownLevel(nn.Module):
    """Fewer, wider cells, then one residual block."""

    def __init__(self, config: "VolumeAutoencoderConfig", level: int) -> None:
        super().__init__()
        width = config.hidden * 2 ** (level + 1)
        self.down = SameConv(width // 2, width, 4, config.strides[level])
        self.residual = Residual(width, config.groups)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Apply the level."""
        return self.residual(self.down(x))


class UpLevel(nn.Module):
    """More, narrower cells, then two residual blocks.

    Levels come in the encoder's order of strides, not its mirror image: the first level doubles
    every axis that is ever doubled.
    """

    def __init__(self, config: "VolumeAutoencoderConfig", level: int) -> None:
        super().__init__()
        width = config.hidden * 2 ** (len(config.strides) - level)
        channels = config.z_channels if level == 0 else 2 * width
        self.up = SameConvTranspose(channels, width, 4, config.strides[level])
        self.first = Residual(width, config.groups)
        self.second = Residual(width, config.groups)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Apply the level."""
        return self.second(self.first(self.up(x)))


class Encoder(nn.Module):
    """From a video to mean and log-variance, before ``to_moments`` mixes them."""

    def __init__(self, config: "VolumeAutoencoderConfig") -> None:
        super().__init__()
        levels = len(config.strides)
        width = config.hidden * 2**levels
        self.conv_in = SameConv(3, config.hidden, 3)
        self.levels = nn.Sequential(*(DownLevel(config, level) for level in range(levels)))
        self.norm_out = nn.GroupNorm(config.groups, width, eps=EPS)
        self.conv_out = SameConv(width, 2 * config.z_channels, 3)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c f h2 w2"]:
        """Encode."""
        return self.conv_out(F.silu(self.norm_out(self.levels(self.conv_in(video)))))


class Decoder(nn.Module):
    """From a latent to a video; nothing bounds the output, as in the official code."""

    def __init__(self, config: "VolumeAutoencoderConfig") -> None:
        super().__init__()
        levels = len(config.strides)
        self.levels = nn.Sequential(*(UpLevel(config, level) for level in range(levels)))
        self.conv_out = SameConv(2 * config.hidden, 3, 3)

    def forward(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 t h2 w2"]:
        """Decode."""
        return self.conv_out(self.levels(z))
