"""Transformer blocks of LVDM's text-to-video UNet and of PVDM's autoencoder."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn import Count, Volume
from longtake.nn.attention import AttentionConfig, SelfAttention, TokenAttention
from longtake.nn.embedding import Rotation, space_rotation, time_rotation
from longtake.nn.layers import GroupNorm, set_to_zero


class TransformerConfig(AttentionConfig):
    """Attention in frames, across frames and to text, then a feed-forward layer (LVDM, text).

    Attributes:
        num_heads: number of heads at every level, unless ``head_channels``, their width, is set.
        depth: number of such transformer blocks per level.
        context_dim: width of the text encoder's hidden states; None: no text is read, and the
            attention to text becomes attention within frames.
        max_distance: greatest distance between frames that has its own learned relative position;
            None: attention across frames does not depend on their order.
    """

    renamed: ClassVar[Mapping[str, str]] = {"reach": "max_distance"}

    kind: Literal["st_transformer"] = "st_transformer"
    num_heads: Count = 8
    depth: Count = 1
    context_dim: Count | None = 768
    max_distance: Count | None = 16

    @property
    def text_width(self) -> int | None:
        """Width of the text encoder's hidden states that are read; None if no text is read."""
        return self.context_dim

    def build(self, channels: int, groups: int, zero: bool) -> "SpaceTimeTransformer":
        """Build the transformer of a level that has ``channels`` channels.

        ``groups`` is the number of groups of its GroupNorm; with ``zero`` its output starts at
        zero.

        Raises:
            ValueError: the number of heads or groups does not divide ``channels``.
        """
        return SpaceTimeTransformer(self, channels, groups, zero)


class SpaceTimeTransformer(nn.Module):
    """Transformer blocks between two projections, with a residual connection over all of them.

    With ``zero``, temporal attention and the last projection start at zero: if all other weights
    are Stable Diffusion's, the module starts as Stable Diffusion's on each frame.
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
            set_to_zero(self.proj_out)

    def forward(self, x: Volume, text: Float[Tensor, "b n e"] | None = None) -> Volume:
        h = self.proj_in(self.norm(x))
        for block in self.blocks:
            h = block(h, text)
        return x + self.proj_out(h)


class TransformerBlock(nn.Module):
    """Attention in space, in time, to text and in time again, then a feed-forward layer.

    With ``zero`` both attentions in time start at zero.
    """

    def __init__(self, config: TransformerConfig, channels: int, zero: bool) -> None:
        super().__init__()
        made = partial(TokenAttention, channels, config.heads(channels))
        in_time = partial(made, "time", max_distance=config.max_distance, zero=zero)
        self.spatial, self.temporal = made(), in_time()
        self.cross, self.temporal_again = made(context_dim=config.context_dim), in_time()
        self.feed_forward = FeedForward(channels)

    def forward(self, x: Volume, text: Float[Tensor, "b n e"] | None) -> Volume:
        """Apply the layers, each with a residual connection, in the order of the released model.

        ``text`` must be None if the config has no ``context_dim``.
        """
        x = self.cross(self.temporal(self.spatial(x)), text)
        x = self.temporal_again(x)
        return x + self.feed_forward(x)


class FeedForward(nn.Module):
    """A LayerNorm, then a feed-forward layer with GEGLU, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.gated = nn.Linear(channels, 8 * channels)
        self.out = nn.Linear(4 * channels, channels)

    def forward(self, x: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """Return the layer's output for ``x``, without a residual connection."""
        value, gate = self.gated(self.norm(x)).chunk(2, dim=-1)
        return self.out(value * F.gelu(gate))


class RotaryLayer(nn.Module):
    """Attention across frames, then within frames, then feed-forward; rotary positions (PVDM)."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        sizes = {"head_channels": head_channels, "bias": False}
        self.time = SelfAttention(channels, heads, nn.LayerNorm(channels), "time", **sizes)
        self.space = SelfAttention(channels, heads, nn.LayerNorm(channels), "space", **sizes)
        self.feed_forward = FeedForward(channels)

    def forward(self, x: Volume, in_time: Rotation, in_space: Rotation) -> Volume:
        x = self.space(self.time(x, in_time), in_space)
        return x + self.feed_forward(x)


class RotaryTransformer(nn.Module):
    """A stack of ``RotaryLayer``; takes clips of any number and size of frames."""

    def __init__(self, channels: int, depth: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.layers = nn.ModuleList(
            RotaryLayer(channels, heads, head_channels) for _ in range(depth)
        )

    def forward(self, x: Volume) -> Volume:
        """Apply all layers to the tokens of clips."""
        _, frames, rows, columns, _ = x.shape
        in_time = time_rotation(frames, self.head_channels, x.device)
        in_space = space_rotation(rows, columns, self.head_channels, x.device)
        for layer in self.layers:
            x = layer(x, in_time, in_space)
        return x
