"""LVDM's text-to-video block: Stable Diffusion's transformer, with attention across frames."""

from typing import Literal

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.config import Config
from longtake.nn.attention import Count, head_count, positioned_attention
from longtake.nn.embedding import RelativePosition
from longtake.nn.norm import GroupNorm


class TransformerConfig(Config):
    """Attention in frames, across frames and to text, then a feed-forward layer (LVDM, text).

    Attributes:
        num_heads: at every level.
        head_channels: width of a head; where given, ``num_heads`` is not used.
        depth: blocks in a row.
        context_dim: width of the text's token states; None: no text is read, and attention within
            frames stands in its place.
        reach: greatest distance of frames told apart; None leaves attention blind to their order.
    """

    kind: Literal["st_transformer"] = "st_transformer"
    num_heads: Count = 8
    head_channels: Count | None = None
    depth: Count = 1
    context_dim: Count | None = 768
    reach: Count | None = 16

    @property
    def text_width(self) -> int | None:
        """Width of the token states that the block reads."""
        return self.context_dim

    def build(self, channels: int, groups: int, zero: bool) -> "SpaceTimeTransformer":
        """The block at a width."""
        return SpaceTimeTransformer(self, channels, groups, zero)


class SpaceTimeTransformer(nn.Module):
    """Transformer blocks between two projections, residual.

    Where ``zero`` holds, temporal attention and the last projection start at zero: with Stable
    Diffusion's weights in the rest, the block starts as Stable Diffusion's on each frame.
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
    """Five residual layers, each behind its own layer normalisation."""

    def __init__(self, config: TransformerConfig, channels: int, zero: bool) -> None:
        super().__init__()
        heads = head_count(channels, config.num_heads, config.head_channels)
        self.spatial = TokenAttention(channels, heads)
        self.temporal = FrameAttention(channels, heads, config.reach, zero)
        self.cross = TokenAttention(channels, heads, config.context_dim)
        self.temporal_again = FrameAttention(channels, heads, config.reach, zero)
        self.feed_forward = FeedForward(channels)

    def forward(
        self, x: Float[Tensor, "b f h w c"], text: Float[Tensor, "b n d"] | None
    ) -> Float[Tensor, "b f h w c"]:
        """Apply the layers in the released order."""
        x = x + self.spatial(x)
        x = x + self.temporal(x)
        x = x + self.cross(x, text)
        x = x + self.temporal_again(x)
        return x + self.feed_forward(x)


class TokenAttention(nn.Module):
    """Cells attend to the cells of their frame, or to text."""

    def __init__(self, channels: int, heads: int, context_dim: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_dim or channels, channels, bias=False)
        self.to_v = nn.Linear(context_dim or channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def forward(
        self, x: Float[Tensor, "b f h w c"], text: Float[Tensor, "b n d"] | None = None
    ) -> Float[Tensor, "b f h w c"]:
        """What attention adds to ``x``."""
        cells = self.norm(x)
        if text is None:
            cells = rearrange(cells, "b f h w c -> (b f) (h w) c")
            source = cells
        else:
            cells = rearrange(cells, "b f h w c -> b (f h w) c")
            source = text
        parts = self.to_q(cells), self.to_k(source), self.to_v(source)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.to_out(out).view_as(x)


class FrameAttention(nn.Module):
    """Cells attend to the same cell of the other frames; relative position in its textbook form."""

    def __init__(self, channels: int, heads: int, reach: int | None, zero: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.position = None if reach is None else RelativePosition(reach, channels // heads)
        if zero:
            self._zero()

    def forward(self, x: Float[Tensor, "b f h w c"]) -> Float[Tensor, "b f h w c"]:
        """What attention adds to ``x``."""
        b, _, h, w, _ = x.shape
        cells = rearrange(self.norm(x), "b f h w c -> (b h w) f c")
        parts = self.to_q(cells), self.to_k(cells), self.to_v(cells)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        if self.position is None:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = positioned_attention(q, k, v, self.position, official_key=False)
        out = rearrange(out, "(b h w) heads f d -> b f h w (heads d)", b=b, h=h, w=w)
        return self.to_out(out)

    def _zero(self) -> None:
        """Zero what is official to zero; without position's values no gradient would leave that."""
        layers = [self.to_out] if self.position is None else [*self.children()][1:5]
        for layer in layers:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)


class FeedForward(nn.Module):
    """Two linear layers around a gate (GEGLU)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.gated = nn.Linear(channels, 8 * channels)
        self.out = nn.Linear(4 * channels, channels)

    def forward(self, x: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """What the layers add to ``x``."""
        value, gate = self.gated(self.norm(x)).chunk(2, dim=-1)
        return self.out(value * F.gelu(gate))
