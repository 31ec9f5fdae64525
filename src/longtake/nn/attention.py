"""Attention over a volume: within frames, then across frames (LVDM), or over all cells at once."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Gt
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.config import Config
from longtake.nn.embedding import RelativePosition, sinusoids
from longtake.nn.norm import GroupNorm

Count = Annotated[int, Gt(0)]

NARROW = 16
"""PyTorch's attention on a CPU takes half again as long for heads of fewer channels."""


def head_count(channels: int, num_heads: int, head_channels: int | None) -> int:
    """Heads at a width; ``head_channels`` fixes the width of a head instead of their number."""
    heads = num_heads if head_channels is None else channels // head_channels
    if heads == 0 or channels % heads or (head_channels and heads * head_channels != channels):
        raise ValueError(
            f"num_heads={num_heads}, head_channels={head_channels} do not divide the {channels} "
            "channels of a level with attention; choose a divisor"
        )
    return heads


class RelativePositionConfig(Config):
    """How attention across frames learns their distance.

    Attributes:
        reach: greatest distance told apart; the official ``temporal_length``.
        official_key: the key term as released: added transposed, and scaled by the fourth root of a
            head's width only. Official weights need it; False is the textbook form.
    """

    reach: Count = 4
    official_key: bool = True


class SpaceTimeAttentionConfig(Config):
    """Attention within each frame, then across the frames of each cell (LVDM).

    Attributes:
        num_heads: at every level.
        head_channels: width of a head; where given, ``num_heads`` is not used.
        relative_position: None leaves attention blind to the order of frames.
    """

    kind: Literal["st_attention"] = "st_attention"
    num_heads: Count = 4
    head_channels: Count | None = None
    relative_position: RelativePositionConfig | None = RelativePositionConfig()

    @property
    def text_width(self) -> int | None:
        """This block reads no text."""
        return None

    def build(self, channels: int, groups: int, zero: bool) -> "SpaceTimeAttention":
        """The block at a width."""
        return SpaceTimeAttention(self, channels, groups, zero)


class JointAttentionConfig(Config):
    """Attention over all cells of all frames at once: the costly choice that LVDM compares with.

    Attributes:
        num_heads: at every level.
        head_channels: width of a head; where given, ``num_heads`` is not used.
    """

    kind: Literal["joint"] = "joint"
    num_heads: Count = 4
    head_channels: Count | None = None

    @property
    def text_width(self) -> int | None:
        """This block reads no text."""
        return None

    def build(self, channels: int, groups: int, zero: bool) -> "JointAttention":
        """The block at a width."""
        return JointAttention(self, channels, groups, zero)


class SpaceTimeAttention(nn.Module):
    """Attention within each frame, then across frames; both residual."""

    def __init__(
        self, config: SpaceTimeAttentionConfig, channels: int, groups: int, zero: bool
    ) -> None:
        super().__init__()
        heads = head_count(channels, config.num_heads, config.head_channels)
        self.spatial = SpatialAttention(channels, heads, groups, zero)
        self.temporal = TemporalAttention(
            channels, heads, groups, zero, position=config.relative_position
        )

    def forward(
        self, x: Float[Tensor, "b f h w c"], text: Float[Tensor, "b n d"] | None = None
    ) -> Float[Tensor, "b f h w c"]:
        """Attend; ``text`` belongs to the interface and is not read."""
        return self.temporal(self.spatial(x))


class SpatialAttention(nn.Module):
    """Every cell attends to the cells of its own frame."""

    def __init__(self, channels: int, heads: int, groups: int, zero: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels, groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = _projection(channels, zero)

    def forward(self, x: Float[Tensor, "b f h w c"]) -> Float[Tensor, "b f h w c"]:
        """Attend and add."""
        frames = rearrange(x, "b f h w c -> (b f) (h w) c")
        qkv = self.qkv(self.norm(frames)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out = attend(q, k, v)
        return x + self.proj(out.transpose(1, 2).flatten(2)).view_as(x)


class TemporalAttention(nn.Module):
    """Every cell attends to the same cell of the other frames."""

    def __init__(
        self,
        channels: int,
        heads: int,
        groups: int,
        zero: bool,
        *,
        position: RelativePositionConfig | None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels, groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = _projection(channels, zero)
        self.position = position and RelativePosition(position.reach, channels // heads)
        self.official_key = position is not None and position.official_key

    def forward(self, x: Float[Tensor, "b f h w c"]) -> Float[Tensor, "b f h w c"]:
        """Attend and add."""
        b, _, h, w, _ = x.shape
        cells = rearrange(x, "b f h w c -> (b h w) f c")
        qkv = self.qkv(self.norm(cells)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.position is None:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = positioned_attention(q, k, v, self.position, official_key=self.official_key)
        out = self.proj(out.transpose(1, 2).flatten(2))
        return x + rearrange(out, "(b h w) f c -> b f h w c", b=b, h=h, w=w)


class JointAttention(nn.Module):
    """Every cell attends to every cell of the clip; residual.

    Sinusoids of the frame's index are added to what is attended with: without them, and with
    convolutions that see one frame only, the network could not tell the order of frames.
    """

    def __init__(
        self, config: JointAttentionConfig, channels: int, groups: int, zero: bool
    ) -> None:
        super().__init__()
        self.heads = head_count(channels, config.num_heads, config.head_channels)
        self.norm = GroupNorm(channels, groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = _projection(channels, zero)

    def forward(
        self, x: Float[Tensor, "b f h w c"], text: Float[Tensor, "b n d"] | None = None
    ) -> Float[Tensor, "b f h w c"]:
        """Attend; ``text`` belongs to the interface and is not read."""
        frame = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        place = sinusoids(frame, x.shape[-1])[:, None, None].to(x.dtype)
        split = "b f h w (three heads d) -> three b heads (f h w) d"
        q, k, v = rearrange(self.qkv(self.norm(x) + place), split, three=3, heads=self.heads)
        out = attend(q, k, v)
        return x + self.proj(rearrange(out, "b heads n d -> b n (heads d)")).view_as(x)


def attend(
    q: Float[Tensor, "n heads t d"],
    k: Float[Tensor, "n heads s d"],
    v: Float[Tensor, "n heads s d"],
) -> Float[Tensor, "n heads t d"]:
    """Attention without a bias; on a CPU, narrow heads are padded to the width that is fast."""
    width = q.shape[-1]
    if not q.is_cpu or width >= NARROW:
        return F.scaled_dot_product_attention(q, k, v)
    q, k, v = (F.pad(x, (0, NARROW - width)) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, scale=width**-0.5)[..., :width]


def positioned_attention(
    q: Float[Tensor, "n heads f d"],
    k: Float[Tensor, "n heads f d"],
    v: Float[Tensor, "n heads f d"],
    position: RelativePosition,
    *,
    official_key: bool,
) -> Float[Tensor, "n heads f d"]:
    """Attention across a few frames, with relative position in keys and values.

    Args:
        q: queries of ``n`` cells.
        k: keys.
        v: values.
        position: the tables.
        official_key: add the key term transposed and scaled by ``d ** -0.25``, as released.
    """
    scale = q.shape[-1] ** -0.5
    keys, values = (table.to(q.dtype) for table in position(q.shape[2]))
    near = torch.einsum("nhid,ijd->nhij", q, keys)
    if official_key:
        near = near.mT * scale**-0.5
    weights = ((q @ k.mT + near).float() * scale).softmax(-1).to(v.dtype)
    return weights @ v + torch.einsum("nhij,ijd->nhid", weights, values)


def _projection(channels: int, zero: bool) -> nn.Linear:
    layer = nn.Linear(channels, channels)
    if zero:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer
