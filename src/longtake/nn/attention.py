"""Attention over a volume: within frames, then across frames (LVDM), or over all cells at once."""

from abc import ABC
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.config import Config
from longtake.nn import Count, Volume, formulas
from longtake.nn.embedding import RelativePosition, Rotation, sinusoids
from longtake.nn.formulas import Keys, Queries
from longtake.nn.kernels import compute
from longtake.nn.layers import GroupNorm, set_to_zero

Axis = Literal["space", "time", "clip"]

AXES: dict[Axis, tuple[str, str]] = {
    "space": ("(b f)", "(h w)"),
    "time": ("(b h w)", "f"),
    "clip": ("b", "(f h w)"),
}
"""Einops axes of rows and their tokens: a row is a frame, one cell in all frames, or a clip."""


def attend(
    q: Queries, k: Keys, v: Keys, position: RelativePosition | None = None, *, long: bool = False
) -> Queries:
    """Scaled dot-product attention, with relative positions if given.

    ``long`` chooses the kernels for rows of many tokens.
    """
    if position is None:
        formula = formulas.long_attention if long else formulas.attention
        return compute(formula, q, k, v, q.shape[-1] ** -0.5)
    keys, values = (table.to(q.dtype) for table in position(q.shape[2]))
    return compute(formulas.relative_attention, q, k, v, keys, values, position.official_key)


def to_tokens(x: Volume, axis: Axis) -> Float[Tensor, "n t c"]:
    """Rows of tokens that attend to each other."""
    rows, tokens = AXES[axis]
    return rearrange(x, f"b f h w c -> {rows} {tokens} c")


def from_tokens(
    x: Float[Tensor, "n t *c"], axis: Axis, like: Float[Tensor, "b f h w _"]
) -> Float[Tensor, "b f h w *c"]:
    """The inverse of ``to_tokens``: a volume of the size of ``like``."""
    rows, tokens = AXES[axis]
    b, f, h, w, _ = like.shape
    return rearrange(x, f"{rows} {tokens} ... -> b f h w ...", b=b, f=f, h=h, w=w)


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
    """Learned relative positions of attention across frames.

    Attributes:
        max_distance: greatest distance with its own vector; the official ``temporal_length``.
        official_key: compute the key term as the official code does, transposed and scaled by the
            fourth root of a head's width only. Official weights need it.
    """

    renamed: ClassVar[Mapping[str, str]] = {"reach": "max_distance"}

    max_distance: Count = 4
    official_key: bool = True


class AttentionConfig(Config, ABC):
    """An attention block of a UNet's levels.

    Attributes:
        num_heads: number of heads at every level.
        head_channels: width of a head; if given, ``num_heads`` is not used.
    """

    num_heads: Count = 4
    head_channels: Count | None = None

    def heads(self, channels: int) -> int:
        """Number of heads for a number of channels."""
        return head_count(channels, self.num_heads, self.head_channels)


class SpaceTimeAttentionConfig(AttentionConfig):
    """Attention within each frame, then across the frames of each cell (LVDM).

    Attributes:
        relative_position: None leaves attention blind to the order of frames.
    """

    text_width: ClassVar[None] = None

    kind: Literal["st_attention"] = "st_attention"
    relative_position: RelativePositionConfig | None = RelativePositionConfig()

    def build(self, channels: int, groups: int, zero: bool) -> nn.Sequential:
        """The block for a number of channels."""
        heads, norm = self.heads(channels), partial(GroupNorm, channels, groups)
        spatial = SelfAttention(channels, heads, norm(), "space", zero=zero)
        temporal = SelfAttention(
            channels, heads, norm(), "time", zero=zero, position=self.relative_position
        )
        return nn.Sequential(OrderedDict(spatial=spatial, temporal=temporal))


class JointAttentionConfig(AttentionConfig):
    """Attention over all cells of all frames at once: the costly choice that LVDM compares with."""

    text_width: ClassVar[None] = None

    kind: Literal["joint"] = "joint"

    def build(self, channels: int, groups: int, zero: bool) -> "SelfAttention":
        """The block for a number of channels."""
        norm = GroupNorm(channels, groups)
        return SelfAttention(channels, self.heads(channels), norm, "clip", zero=zero)


class SelfAttention(nn.Module):
    """Multi-head attention of a volume's tokens to each other, added to the volume.

    Args:
        channels: number of channels of the volume.
        heads: number of heads.
        norm: normalisation of the tokens.
        axis: which cells make a row of tokens. Over a clip, sinusoids of the frame's index are
            added to the tokens: with convolutions that see one frame only, the network could not
            tell the order of frames otherwise.
        head_channels: width of a head; None: ``channels / heads``, which may be small.
        bias: add biases to queries, keys and values.
        zero: initialise the last layer to zero, so that nothing is added.
        position: learned relative positions of frames.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        norm: nn.Module,
        axis: Axis,
        *,
        head_channels: int | None = None,
        bias: bool = True,
        zero: bool = False,
        position: RelativePositionConfig | None = None,
    ) -> None:
        super().__init__()
        width = head_channels or channels // heads
        self.long = axis != "time" and head_channels is None
        self.axis: Axis = axis
        self.heads, self.norm = heads, norm
        self.qkv = nn.Linear(channels, 3 * heads * width, bias=bias)
        self.proj = nn.Linear(heads * width, channels)
        if zero:
            set_to_zero(self.proj)
        self.position = position and RelativePosition(
            position.max_distance, width, official_key=position.official_key
        )

    def forward(self, x: Volume, rotation: Rotation | None = None) -> Volume:
        """Attend and add; ``rotation`` turns queries and keys by their position."""
        h = self.norm(to_tokens(x, self.axis))
        if self.axis == "clip":
            frame = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
            place = sinusoids(frame, x.shape[-1]).to(x.dtype)
            h = h + place.repeat_interleave(x.shape[2] * x.shape[3], 0)
        q, k, v = self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        out = attend(q, k, v, self.position, long=self.long).transpose(1, 2).flatten(2)
        return x + from_tokens(self.proj(out), self.axis, x)
