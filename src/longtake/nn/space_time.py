"""Attention along time and within frames, told by rotation where a cell is (PVDM)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn.transformer import FeedForward


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Turns each pair of neighbouring channels of queries and keys by the angles of their place."""

    cos: Float[Tensor, "n d"]
    sin: Float[Tensor, "n d"]

    def __call__(self, x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
        """Turn ``x``, in float32 at least."""
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([-odd, even], -1).flatten(-2)
        return (x * self.cos + turned * self.sin).to(x.dtype)


def time_rotation(frames: int, width: int, device: torch.device | None = None) -> Rotation:
    """Places of frames, for heads of ``width`` channels.

    Released weights need a quirk of the official code: the two channels of a pair are turned by
    different angles, for the frequencies lie end to end, not each twice side by side.
    """
    place = torch.arange(frames, device=device, dtype=torch.float32)
    angles = place[:, None] * time_frequencies(width, device)
    return _rotation(torch.cat([angles, angles], -1))


def space_rotation(
    rows: int, columns: int, width: int, device: torch.device | None = None
) -> Rotation:
    """Places of a frame's cells, row after row: half of a head tells the row, half the column."""
    frequencies = math.pi * space_scales(width, device)
    across, down = (
        torch.linspace(-1, 1, count, device=device)[:, None] * frequencies
        for count in (columns, rows)
    )
    shape = (rows, columns, width // 4)
    angles = torch.cat([down[:, None].expand(shape), across[None].expand(shape)], -1)
    return _rotation(angles.flatten(0, 1).repeat_interleave(2, -1))


def time_frequencies(width: int, device: torch.device | None = None) -> Float[Tensor, "d"]:
    """Radians per frame of the channel pairs."""
    exponents = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    return 1 / 10000**exponents


def space_scales(width: int, device: torch.device | None = None) -> Float[Tensor, "d"]:
    """Half turns from a frame's middle to its edge, 1 to 5, of the pairs that tell one axis."""
    return torch.logspace(0, math.log2(5), width // 4, base=2, device=device)


class SequenceAttention(nn.Module):
    """Tokens attend to the tokens of their sequence; a head's width is free of the channels'."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * heads * head_channels, bias=False)
        self.proj = nn.Linear(heads * head_channels, channels)

    def forward(
        self, x: Float[Tensor, "b n c"], rotation: Rotation | None = None
    ) -> Float[Tensor, "b n c"]:
        """What attention adds to ``x``; without ``rotation`` it is blind to order."""
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2))


class RotaryLayer(nn.Module):
    """Attention across frames, attention within frames, and a feed-forward layer; all residual."""

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.time = SequenceAttention(channels, heads, head_channels)
        self.space = SequenceAttention(channels, heads, head_channels)
        self.feed_forward = FeedForward(channels)

    def forward(
        self, x: Float[Tensor, "b t h w c"], in_time: Rotation, in_space: Rotation
    ) -> Float[Tensor, "b t h w c"]:
        """Transform ``x``."""
        b, _, h, w, _ = x.shape
        added = self.time(rearrange(x, "b t h w c -> (b h w) t c"), in_time)
        x = x + rearrange(added, "(b h w) t c -> b t h w c", b=b, h=h, w=w)
        x = x + self.space(rearrange(x, "b t h w c -> (b t) (h w) c"), in_space).view_as(x)
        return x + self.feed_forward(x)


class RotaryTransformer(nn.Module):
    """Layers in a row, over clips of any size."""

    def __init__(self, channels: int, depth: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.layers = nn.ModuleList(
            RotaryLayer(channels, heads, head_channels) for _ in range(depth)
        )

    def forward(self, x: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t h w c"]:
        """Transform ``x``."""
        _, frames, rows, columns, _ = x.shape
        in_time = time_rotation(frames, self.head_channels, x.device)
        in_space = space_rotation(rows, columns, self.head_channels, x.device)
        for layer in self.layers:
            x = layer(x, in_time, in_space)
        return x


def _rotation(angles: Float[Tensor, "n d"]) -> Rotation:
    return Rotation(cos=angles.cos(), sin=angles.sin())
