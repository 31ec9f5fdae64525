"""The decoder of LVDM's autoencoder written the plain way: a whole latent at once, channels first.

Every convolution pads its input by a copy with replicated borders. Modules have the official names,
so official weights load as they are; a second name that some of them have is left out.
"""

import torch.nn.functional as F
from torch import Tensor, nn

Sizes = tuple[int, int, int]


class SamePadConv(nn.Module):
    def __init__(self, channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.pad = _border(kernel, (1, 1, 1))
        self.conv = nn.Conv3d(channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.pad, mode="replicate"))


class SamePadConvTranspose(nn.Module):
    def __init__(self, channels: int, out_channels: int, stride: Sizes):
        super().__init__()
        kernel = 4
        self.pad = _border(kernel, stride)
        self.convt = nn.ConvTranspose3d(channels, out_channels, kernel, stride, kernel - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convt(F.pad(x, self.pad, mode="replicate"))


class ResBlock(nn.Module):
    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, eps=1e-6)
        self.conv1 = SamePadConv(channels, channels, 3)
        self.norm2 = nn.GroupNorm(groups, channels, eps=1e-6)
        self.conv2 = SamePadConv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Decoder(nn.Module):
    def __init__(self, channels: int, hidden: int, strides: tuple[Sizes, ...], groups: int):
        super().__init__()
        self.conv_blocks = nn.ModuleList()
        for level, stride in enumerate(strides):
            width = hidden * 2 ** (len(strides) - level)
            block = nn.Module()
            block.up = SamePadConvTranspose(channels, width, stride)
            block.res1, block.res2 = ResBlock(width, groups), ResBlock(width, groups)
            self.conv_blocks.append(block)
            channels = width
        self.conv_out = SamePadConv(channels, 3, 3)

    def forward(self, h: Tensor) -> Tensor:
        for block in self.conv_blocks:
            h = block.res2(block.res1(block.up(h)))
        return self.conv_out(h)


class PlainVolumeDecoder(nn.Module):
    """Latent to pixels.

    Args:
        embed_dim: channels of the latent; ``z_channels`` of the decoder's input.
        hidden: channels at full resolution are twice as many.
        strides: of each level, along frames, height and width.
        groups: of every normalisation.
    """

    def __init__(
        self, embed_dim: int, z_channels: int, hidden: int, strides: tuple[Sizes, ...], groups: int
    ):
        super().__init__()
        self.post_quant_conv = SamePadConv(embed_dim, z_channels, 1)
        self.decoder = Decoder(z_channels, hidden, strides, groups)

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


def _border(kernel: int, stride: Sizes) -> tuple[int, ...]:
    totals = [kernel - step for step in reversed(stride)]
    return tuple(added for total in totals for added in (total - total // 2, total // 2))
