"""Halving and doubling the height and width of every frame."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn.frame_conv import FrameConv


def halve(x: Float[Tensor, "b f h w c"]) -> Float[Tensor, "b f h2 w2 c"]:
    """Mean of each 2x2 square of cells."""
    frames = F.avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), 2)
    return frames.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


def double(x: Float[Tensor, "b f h w c"]) -> Float[Tensor, "b f h2 w2 c"]:
    """Each cell as a 2x2 square."""
    frames = F.interpolate(x.flatten(0, 1).permute(0, 3, 1, 2), scale_factor=2.0, mode="nearest")
    return frames.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


class Downsample(nn.Module):
    """Halve height and width with a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = FrameConv(channels, channels, stride=2)

    def forward(
        self, x: Float[Tensor, "b f h w c"], emb: Float[Tensor, "b #f d"] | None = None
    ) -> Float[Tensor, "b f h2 w2 c"]:
        """Convolve at every second cell; ``emb`` is not read."""
        return self.conv(x)


class Upsample(nn.Module):
    """Double height and width, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = FrameConv(channels, channels)

    def forward(
        self, x: Float[Tensor, "b f h w c"], emb: Float[Tensor, "b #f d"] | None = None
    ) -> Float[Tensor, "b f h2 w2 c"]:
        """Repeat cells and convolve; ``emb`` is not read."""
        return self.conv(double(x))
