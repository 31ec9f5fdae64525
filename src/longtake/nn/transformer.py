"""Transformer blocks of LVDM's text-to-video UNet and of PVDM's autoencoder."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.config import Config
from longtake.nn.attention import (
    Axis,
    Count,
    SelfAttention,
    attend,
    from_tokens,
    head_count,
    to_tokens,
)
from longtake.nn.embedding import RelativePosition
from longtake.nn.norm import GroupNorm
from longtake.nn.rotary import Rotation, space_rotation, time_rotation


class TransformerConfig(Config):
    """Attention in frames, across frames and to text, then a feed-forward layer (LVDM, text).

    Attributes:
        num_heads: number of heads at every level.
        head_channels: width of a head; if given, ``num_heads`` is not used.
        depth: number of blocks.
        context_dim: width of the text's token states; None: no text is read, and attention within
            frames stands in its place.
        max_distance: greatest distance of frames with its own position; None leaves attention
            blind to their order.
    """

    renamed: ClassVar[Mapping[str, str]] = {"reach": "max_distance"}

    kind: Literal["st_transformer"] = "st_transformer"
    num_heads: Count = 8
    head_channels: Count | None = None
    depth: Count = 1
    context_dim: Count | None = 768
    max_distance: Count | None = 16

    @property
    def text_width(self) -> int | None:
        """Width of the token states that the block reads."""
        return self.context_dim

    def build(self, channels: int, groups: int, zero: bool) -> "SpaceTimeTransformer":
        """The block for a number of channels."""
        return SpaceTimeTransformer(self, channels, groups, zero)


class SpaceTimeTransformer(nn.Module):
    """Transformer blocks between two projections, added to the input.

    With ``zero``, temporal attention and the last projection start at zero: with Stable Diffusion's
    weights in the rest, the block starts as Stable Diffusion's on each frame.
    """

    def __init__(self, config: TransformerConfig, channels: int, groups: int, zero: bool) -> None:
        super().__init__()
        self.norm = GroupNorm(channels, groups, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(
            TransformerBlock(config, channels, zero) for _ in range(config.depth)
        )
        self.proj_out = nn.Linear(channels, channels)
        if zero:
            nn.init.zeros_(self.proj_out.weight)
            nn.init.zeros_(self.proj_out.bias)

    def forward(
        self, x: Float[Tensor, "b f h w c"], text: Float[Tensor, "b n d"] | None = None
    ) -> Float[Tensor, "b f h w c"]:
        """Attend in space, in time and to ``text``."""
        h = self.proj_in(self.norm(x))
        for block in self.blocks:
            h = block(h, text)
        return x + self.proj_out(h)


class TransformerBlock(nn.Module):
    """Attention in space, in time, to text and in time again, then a feed-forward layer."""

    def __init__(self, config: TransformerConfig, channels: int, zero: bool) -> None:
        super().__init__()
        heads = head_count(channels, config.num_heads, config.head_channels)
        self.spatial = TokenAttention(channels, heads)
        self.temporal = TokenAttention.across_frames(channels, heads, config.max_distance, zero)
        self.cross = TokenAttention(channels, heads, context_dim=config.context_dim)
        self.temporal_again = TokenAttention.across_frames(
            channels, heads, config.max_distance, zero
        )
        self.feed_forward = FeedForward(channels)

    def forward(
        self, x: Float[Tensor, "b f h w c"], text: Float[Tensor, "b n d"] | None
    ) -> Float[Tensor, "b f h w c"]:
        """Apply the layers in the released order."""
        x = self.spatial(x)
        x = self.temporal(x)
        x = self.cross(x, text)
        x = self.temporal_again(x)
        return x + self.feed_forward(x)


class TokenAttention(nn.Module):
    """Attention of cells to each other, or to text, added to the volume.

    Args:
        channels: number of channels of the volume.
        heads: number of heads.
        axis: which cells attend to each other.
        context_dim: width of the text's token states; None: text is not read.
        max_distance: see ``TransformerConfig``; positions are in their textbook form.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        axis: Axis = "space",
        *,
        context_dim: int | None = None,
        max_distance: int | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.axis: Axis = axis
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_dim or channels, channels, bias=False)
        self.to_v = nn.Linear(context_dim or channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.position = (
            None if max_distance is None else RelativePosition(max_distance, channels // heads)
        )

    @classmethod
    def across_frames(
        cls, channels: int, heads: int, max_distance: int | None, zero: bool
    ) -> "TokenAttention":
        """Attention to the same cell of the other frames.

        With ``zero``, what is zero in the official code is: all projections, or the last alone if
        there are no positions, whose values else keep the gradients from vanishing.
        """
        made = cls(channels, heads, "time", max_distance=max_distance)
        if zero:
            first = [] if made.position is None else [made.to_q, made.to_k, made.to_v]
            for layer in (*first, made.to_out):
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)
        return made

    def forward(
        self, x: Float[Tensor, "b f h w c"], text: Float[Tensor, "b n d"] | None = None
    ) -> Float[Tensor, "b f h w c"]:
        """Attend to the cells of ``axis``, or to ``text`` if given."""
        axis = self.axis if text is None else "clip"
        cells = to_tokens(self.norm(x), axis)
        source = cells if text is None else text
        parts = self.to_q(cells), self.to_k(source), self.to_v(source)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        out = from_tokens(attend(q, k, v, self.position).transpose(1, 2), axis, x)
        return x + self.to_out(out.flatten(-2))


class FeedForward(nn.Module):
    """GEGLU feed-forward."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.gated = nn.Linear(channels, 8 * channels)
        self.out = nn.Linear(4 * channels, channels)

    def forward(self, x: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """Residual to add to ``x``."""
        value, gate = self.gated(self.norm(x)).chunk(2, dim=-1)
        return self.out(value * F.gelu(gate))


class RotaryLayer(nn.Module):
    """Attention across frames, attention within frames, and a feed-forward layer (PVDM)."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.time, self.space = (
            SelfAttention(
                channels,
                heads,
                nn.LayerNorm(channels),
                axis,
                head_channels=head_channels,
                bias=False,
            )
            for axis in ("time", "space")
        )
        self.feed_forward = FeedForward(channels)

    def forward(
        self, x: Float[Tensor, "b t h w c"], in_time: Rotation, in_space: Rotation
    ) -> Float[Tensor, "b t h w c"]:
        """Attend in time, then in space, then transform each cell."""
        x = self.space(self.time(x, in_time), in_space)
        return x + self.feed_forward(x)


class RotaryTransformer(nn.Module):
    """Rotary layers over clips of any size."""

    def __init__(self, channels: int, depth: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.layers = nn.ModuleList(
            RotaryLayer(channels, heads, head_channels) for _ in range(depth)
        )

    def forward(self, x: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t h w c"]:
        """Apply all layers, with the rotations of the clip's size."""
        _, frames, rows, columns, _ = x.shape
        in_time = time_rotation(frames, self.head_channels, x.device)
        in_space = space_rotation(rows, columns, self.head_channels, x.device)
        for layer in self.layers:
            x = layer(x, in_time, in_space)
        return x
