"""The residual block of ADM, conditioned on an embedding; every frame is convolved alone."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn.frame_conv import FrameConv
from longtake.nn.norm import GroupNorm


class ResidualBlock(nn.Module):
    """Two normalised convolutions and a shortcut.

    Args:
        channels: number of channels of the input.
        out_channels: number of channels of the output.
        embedding: width of the embedding.
        groups: number of groups of the normalisations.
        scale_shift: the embedding scales and shifts the second normalisation; else it is added
            before it.
        resample: halves or doubles the frame, on both paths; None leaves its size.
        zero: initialise the second convolution to zero, so that the block is its shortcut.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        embedding: int,
        groups: int,
        scale_shift: bool = True,
        resample: Callable[[Tensor], Tensor] | None = None,
        zero: bool = True,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = resample
        self.norm_in = GroupNorm(channels, groups, silu=True)
        self.conv_in = FrameConv(channels, out_channels)
        self.embed = nn.Linear(embedding, 2 * out_channels if scale_shift else out_channels)
        self.norm_out = GroupNorm(out_channels, groups, silu=True)
        self.conv_out = FrameConv(out_channels, out_channels)
        same = channels == out_channels
        self.skip = nn.Identity() if same else nn.Linear(channels, out_channels)
        if zero:
            nn.init.zeros_(self.conv_out.weight)
            nn.init.zeros_(self.conv_out.bias)  # pyright: ignore[reportArgumentType]

    def forward(
        self, x: Float[Tensor, "b f h w c"], emb: Float[Tensor, "b #f d"]
    ) -> Float[Tensor, "b f h2 w2 c2"]:
        """Apply the block; ``emb`` is activated and has one row, or one per frame."""
        h = self.norm_in(x)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv_in(h)
        modulation = self.embed(emb)
        if self.scale_shift:
            h = self.norm_out(h, modulation.chunk(2, dim=-1))
        else:
            h = self.norm_out(h + modulation[:, :, None, None])
        return self.skip(x) + self.conv_out(h)
