"""Convolutions of each frame, and halving and doubling a frame's height and width."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class FrameConv(nn.Conv2d):
    """A (1, 3, 3) convolution: 3x3 in every frame, run as a 2D one on ``(b * f)`` frames.

    The kernel is channels last in memory too: on frames of a few cells that doubles the speed.
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(channels, out_channels, 3, stride, padding=1)
        self.weight = nn.Parameter(
            self.weight.detach().contiguous(memory_format=torch.channels_last)
        )

    def forward(self, input: Float[Tensor, "b f h w c"]) -> Float[Tensor, "b f h2 w2 c2"]:
        """Convolve each frame alone."""
        frames = input.flatten(0, 1).permute(0, 3, 1, 2)
        out = super().forward(frames).permute(0, 2, 3, 1)
        return out.unflatten(0, input.shape[:2])


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
        """Convolve at every second cell; ``emb`` is for a residual block in this place."""
        return self.conv(x)


class Upsample(nn.Module):
    """Double height and width, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = FrameConv(channels, channels)

    def forward(
        self, x: Float[Tensor, "b f h w c"], emb: Float[Tensor, "b #f d"] | None = None
    ) -> Float[Tensor, "b f h2 w2 c"]:
        """Repeat cells and convolve; ``emb`` is for a residual block in this place."""
        return self.conv(double(x))
