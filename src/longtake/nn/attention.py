"""Attention over a volume: within frames, then across frames (LVDM), or over a whole clip."""

from abc import ABC
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
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
"""Axes of a volume, as einops writes them, of sequences and of a sequence's tokens: a sequence is a
frame (``space``), one position in all frames (``time``), or a ``clip``."""


def attend(
    q: Queries, k: Keys, v: Keys, position: RelativePosition | None = None, *, long: bool = False
) -> Queries:
    """Scaled dot-product attention of each sequence of tokens.

    Args:
        q: queries, one set per head.
        k: keys.
        v: values.
        position: learned relative positions, added to keys and values; None for none.
        long: without ``position``, use the kernels that are fast on sequences of many tokens; the
            result is the same up to rounding.
    """
    if position is None:
        formula = formulas.long_attention if long else formulas.attention
        return compute(formula, q, k, v, q.shape[-1] ** -0.5)
    keys, values = (table.to(q.dtype) for table in position(q.shape[2]))
    return compute(formulas.relative_attention, q, k, v, keys, values, position.official_key)


def to_tokens(x: Volume, axis: Axis) -> Float[Tensor, "n t c"]:
    """Reshape a volume to ``n`` sequences of ``t`` tokens that attend to each other.

    Args:
        x: volume.
        axis: ``space``: a sequence is a frame; ``time``: it is one position in all frames;
            ``clip``: it is a whole clip.
    """
    rows, tokens = AXES[axis]
    return rearrange(x, f"b f h w c -> {rows} {tokens} c")


def from_tokens(
    x: Float[Tensor, "n t *c"], axis: Axis, like: Float[Tensor, "b f h w _"]
) -> Float[Tensor, "b f h w *c"]:
    """Reshape sequences of tokens to a volume of the size of ``like``; inverse of ``to_tokens``.

    ``axis`` is that of ``to_tokens``: a sequence is a frame, a position in time, or a clip.
    """
    rows, tokens = AXES[axis]
    b, f, h, w, _ = like.shape
    return rearrange(x, f"{rows} {tokens} ... -> b f h w ...", b=b, f=f, h=h, w=w)


def head_count(channels: int, num_heads: int, head_channels: int | None) -> int:
    """Number of attention heads of a layer: ``channels / head_channels``, or ``num_heads``.

    It is ``num_heads`` if ``head_channels`` is None. A ValueError if that number or
    ``head_channels`` does not divide ``channels``.
    """
    heads = num_heads if head_channels is None else channels // head_channels
    if heads == 0 or channels % heads or (head_channels and heads * head_channels != channels):
        raise ValueError(
            f"num_heads={num_heads}, head_channels={head_channels} do not divide the {channels} "
            "channels of a level with attention; choose a divisor"
        )
    return heads


class RelativePositionConfig(Config):
    """Settings of learned relative positions in attention across frames.

    Attributes:
        max_distance: greatest distance between frames that has its own vector; greater distances
            share the last; the official ``temporal_length``.
        official_key: compute the key term as the official LVDM code does, transposed and scaled by
            the fourth root of a head's width only. Official weights need it.
    """

    renamed: ClassVar[Mapping[str, str]] = {"reach": "max_distance"}

    max_distance: Count = 4
    official_key: bool = True


class AttentionConfig(Config, ABC):
    """Settings of the attention at a UNet's levels.

    Attributes:
        num_heads: number of heads at every level.
        head_channels: width of a head, by which ``num_heads`` is not used; None: it follows from
            ``num_heads``.
    """

    num_heads: Count = 4
    head_channels: Count | None = None

    def heads(self, channels: int) -> int:
        """Number of heads of a layer of ``channels`` channels.

        Raises:
            ValueError: the number of heads does not divide ``channels``.
        """
        return head_count(channels, self.num_heads, self.head_channels)


class SpaceTimeAttentionConfig(AttentionConfig):
    """Attention within each frame, then across frames at each position (LVDM), then to text if any.

    ``AttentionConfig`` describes the other fields.

    Attributes:
        relative_position: learned relative positions of frames; with None, attention across frames
            does not depend on their order.
        context_dim: width of the text encoder's hidden states; None: no text is read, as in LVDM's
            models of this kind. A network that was trained without text can then learn to read it:
            the attention to text starts at zero.
    """

    kind: Literal["st_attention"] = "st_attention"
    relative_position: RelativePositionConfig | None = RelativePositionConfig()
    context_dim: Count | None = Field(default=None, exclude_if=lambda width: width is None)

    @property
    def text_width(self) -> int | None:
        """Width of the text encoder's hidden states that are read; None if no text is read."""
        return self.context_dim

    def build(self, channels: int, groups: int, zero: bool) -> nn.Sequential:
        """Build the attention of a level that has ``channels`` channels.

        ``groups`` is the number of groups of its GroupNorms; with ``zero`` its output starts at
        zero.

        Raises:
            ValueError: the number of heads or groups does not divide ``channels``.
        """
        heads, norm = self.heads(channels), partial(GroupNorm, channels, groups)
        spatial = SelfAttention(channels, heads, norm(), "space", zero=zero)
        temporal = SelfAttention(
            channels, heads, norm(), "time", zero=zero, position=self.relative_position
        )
        layers = OrderedDict[str, nn.Module](spatial=spatial, temporal=temporal)
        if self.context_dim is None:
            return nn.Sequential(layers)
        layers["cross"] = TokenAttention(channels, heads, context_dim=self.context_dim, zero=zero)
        return WithText(layers)


class WithText(nn.Sequential):
    """Layers over a volume, the last of which attends to text and is left out without text."""

    def forward(self, input: Volume, text: Float[Tensor, "b n e"] | None = None) -> Volume:
        *layers, last = self
        x = input
        for layer in layers:
            x = layer(x)
        return x if text is None else last(x, text)


class JointAttentionConfig(AttentionConfig):
    """Attention over all positions of all frames at once, a costlier variant that LVDM compares.

    ``AttentionConfig`` describes the fields.
    """

    text_width: ClassVar[None] = None

    kind: Literal["joint"] = "joint"

    def build(self, channels: int, groups: int, zero: bool) -> "SelfAttention":
        """Build the attention of a level that has ``channels`` channels.

        ``groups`` is the number of groups of its GroupNorm; with ``zero`` its output starts at
        zero.

        Raises:
            ValueError: the number of heads or groups does not divide ``channels``.
        """
        norm = GroupNorm(channels, groups)
        return SelfAttention(channels, self.heads(channels), norm, "clip", zero=zero)


class SelfAttention(nn.Module):
    """Residual multi-head self-attention over the tokens of a volume.

    Args:
        channels: number of channels of the volume.
        heads: number of heads.
        norm: normalisation of the tokens.
        axis: which positions attend to each other: those of a frame (``space``), one position in
            all frames (``time``), or all of a clip (``clip``). With ``clip``, sinusoids of the
            frame's index are added to the tokens; otherwise the network could not tell the order of
            frames, as its convolutions see one frame only.
        head_channels: width of a head; None: ``channels / heads``, which may be small.
        bias: add biases to queries, keys and values.
        zero: initialise the last layer to zero, so that the module starts as the identity.
        position: learned relative positions of frames; None for none.
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
        """Return ``x`` plus its attention; ``rotation``, unless None, rotates queries and keys."""
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


class TokenAttention(nn.Module):
    """Residual attention of a volume's tokens to each other, or to text.

    Args:
        channels: number of channels of the volume.
        heads: number of heads.
        axis: which positions attend to each other: those of a frame (``space``), one position in
            all frames (``time``), or all of a clip (``clip``).
        context_dim: width of the text encoder's hidden states; None: text is not read.
        max_distance: greatest distance between frames that has its own learned relative position;
            None for no relative positions.
        zero: start at zero what does in the official code: all projections if there are relative
            positions, else only the last projection.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        axis: Axis = "space",
        *,
        context_dim: int | None = None,
        max_distance: int | None = None,
        zero: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.axis: Axis = axis
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_dim or channels, channels, bias=False)
        self.to_v = nn.Linear(context_dim or channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.position = RelativePosition(max_distance, channels // heads) if max_distance else None
        if zero:
            # the values of positions keep the gradients from vanishing where all else is zero
            first = [self.to_q, self.to_k, self.to_v] if max_distance else []
            set_to_zero(*first, self.to_out)

    def forward(self, x: Volume, text: Float[Tensor, "b n e"] | None = None) -> Volume:
        """Return ``x`` plus its attention to tokens along ``axis`` or, if not None, to ``text``."""
        axis = self.axis if text is None else "clip"
        tokens = to_tokens(self.norm(x), axis)
        source = tokens if text is None else text
        parts = self.to_q(tokens), self.to_k(source), self.to_v(source)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        out = from_tokens(attend(q, k, v, self.position).transpose(1, 2), axis, x)
        return x + self.to_out(out.flatten(-2))
