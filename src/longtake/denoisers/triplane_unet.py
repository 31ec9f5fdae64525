"""PVDM's denoiser: a 2D UNet that three planes share, with attention across the planes.

It can read text too, which PVDM's paper and code do not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.denoisers.unet_config import UNetConfig, named_rows
from longtake.diffusion.process import Denoiser, Embedding
from longtake.diffusion.signals import named_label
from longtake.latents import LatentSpec, Triplane
from longtake.nn import Count
from longtake.nn.attention import SelfAttention, TokenAttention, head_count
from longtake.nn.embedding import TimeEmbedding
from longtake.nn.kernels.differentiation import recompute
from longtake.nn.layers import FrameConv, GroupNorm


class TriplaneUNetConfig(UNetConfig):
    """Settings of a ``TriplaneUNet``; the defaults are PVDM-L, 528 million parameters.

    PVDM-S, 132 million, is ``model_channels=128``. Weights do not depend on the sizes of the
    planes, which follow from ``latent``. Attention across the planes ends every ``Block``.
    ``UNetConfig`` describes the other fields.

    Attributes:
        bounds: least and greatest value of a latent, to which the sampler clamps its estimates of
            the clean latent; PVDM's autoencoder ends in a tanh. None: no bound.
        clip_overlap_frames: number of frames of video that each clip shares with the clip before
            it, over which the two cross-fade. In PVDM's paper and code clips share none and join
            with a jump, as each has its own decoding error.
        num_heads: number of heads of every attention layer.
        head_channels: width of a head, which is used instead of ``num_heads``; None: it follows
            from ``num_heads``.
        previous: whether the network reads the latent of the previous clip.
        plane_embed: add a learned vector per plane to the plane's features. The released networks
            do not, and so cannot distinguish the two motion planes of square frames: from pure
            noise they swap them about half of the time.
        text_width: width of the text encoder's hidden states that are read; None: no text is read.
            PVDM's paper has no text; here the mean of the hidden states is added to the time
            embedding, and attention to them follows every attention across the planes.

    Raises:
        ValueError: sizes of ``latent`` cannot be halved once per level but the first, ``groups``
            does not divide a level's width, ``bounds`` do not rise, or ``needs_text`` is false
            without ``text_width``.
    """

    kind: Literal["triplane_unet"] = "triplane_unet"
    latent: tuple[Count, Count, Count, Count] = (4, 16, 32, 32)
    bounds: tuple[float, float] | None = (-1.0, 1.0)
    clip_overlap_frames: Annotated[int, Ge(0)] = 0
    channel_mult: tuple[Count, ...] = (1, 2, 4, 4)
    num_res_blocks: Count = 2
    attention_resolutions: tuple[Count, ...] = (1, 2, 4)
    num_heads: Count = 8
    head_channels: Count | None = None
    previous: bool = True
    plane_embed: bool = False
    resblock_updown: bool = True
    text_width: Count | None = None

    def planes(self, level: int) -> Triplane:
        """Sizes of the three planes at a level of the UNet; level 0 has full resolution."""
        frames, height, width = (size // 2**level for size in self.latent[1:])
        return Triplane(frames=frames, height=height, width=width)

    def attention(self, width: int) -> SelfAttention:
        """Build a self-attention layer for features of ``width`` channels.

        Raises:
            ValueError: the number of heads does not divide ``width``.
        """
        norm = GroupNorm(width, self.groups)
        heads = head_count(width, self.num_heads, self.head_channels)
        return SelfAttention(width, heads, norm, "space", zero=self.zero_init)

    def text_attention(self, width: int) -> TokenAttention | None:
        """Build attention to text for features of ``width`` channels; None if no text is read.

        Raises:
            ValueError: the number of heads does not divide ``width``.
        """
        if self.text_width is None:
            return None
        heads = head_count(width, self.num_heads, self.head_channels)
        return TokenAttention(width, heads, context_dim=self.text_width, zero=self.zero_init)

    def step(self, level: int, channels: int) -> list[nn.Module]:
        """Build a residual block, followed by attention at ``attention_resolutions``.

        ``level`` is the level of the UNet, 0 at full resolution; ``channels`` is the number of
        input channels.

        Raises:
            ValueError: the number of heads does not divide the level's channels.
        """
        width = self.widths[level]
        layers: list[nn.Module] = [self.residual(channels, width)]
        attends = 2**level in self.attention_resolutions
        return [*layers, self.attention(width)] if attends else layers

    @model_validator(mode="after")
    def _text_fits(self) -> "TriplaneUNetConfig":
        if not self.needs_text and self.text_width is None:
            raise ValueError(
                "needs_text=false is for a network that reads text; set text_width, the width of "
                "the text encoder's states"
            )
        return self

    @model_validator(mode="after")
    def _planes_fit(self) -> "TriplaneUNetConfig":
        if any(size % self.reduction for size in self.latent[1:]):
            frames, height, width = self.latent[1:]
            raise ValueError(
                f"planes over {frames} frames of {height}x{width} positions must be divisible by "
                f"{self.reduction} on every axis, once by two for every level but the first; "
                "change latent or shorten channel_mult"
            )
        if self.bounds is not None and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"bounds={self.bounds} must rise; null leaves latents unbounded")
        return self

    def build(self) -> "TriplaneUNet":
        """Build the network with random weights.

        Raises:
            ValueError: heads or groups do not divide a layer's channels, or ``num_classes`` is
                ``auto``.
        """
        return TriplaneUNet(self)


class TriplaneUNet(Denoiser):
    """2D UNet in ADM's layout (PVDM); three planes share its weights and attend to each other."""

    def __init__(self, config: TriplaneUNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, widths = config.latent[0], config.widths
        positions = sum(config.planes(0).sizes)
        self.spec = LatentSpec(
            shape=(channels, positions),
            clip=config.clip,
            frame_axis=None,
            bounds=config.bounds,
            clip_overlap_frames=config.clip_overlap_frames,
        )
        reads = {"previous": config.previous, "label": config.num_classes is not None}
        reads |= dict.fromkeys(map(named_label, config.labels), True)
        reads["text"] = config.text_width is not None
        self.reads = frozenset(name for name, read in reads.items() if read)
        self.needs, self.text_width = config.needed(self.reads), config.text_width
        self.time_embed = TimeEmbedding(config.model_channels, config.embedding)
        self.label_embed = config.class_table()
        self.label_embeds = config.label_tables()
        self.text_embed = None
        if config.text_width is not None:
            self.text_embed = config.pooled_text(config.text_width)
        self.conv_in = FrameConv(channels * (1 + config.previous), widths[0])
        self.plane_embed = nn.Embedding(3, widths[0]) if config.plane_embed else None
        self.down = way_down(config)
        first, second = (config.residual(widths[-1], widths[-1]) for _ in range(2))
        layers = [first, config.attention(widths[-1]), second]
        self.middle = Block(config, len(widths) - 1, layers)
        self.up = way_up(config)
        self.norm_out = GroupNorm(widths[0], config.groups, silu=True)
        self.conv_out = config.output()

    def prepare(self, signals: Mapping[str, Tensor], embedding: Embedding) -> "_Prepared":
        """Convert signals, once per clip, to what ``forward`` reads, in the weights' dtype.

        ``embedding`` maps a diffusion time in [0, 1] to the value that is embedded.
        """
        previous, text = signals.get("previous"), signals.get("text")
        rows = named_rows(self.label_embeds, signals)
        if self.label_embed is not None and "label" in signals:
            rows = [(self.label_embed, signals["label"].long()), *rows]
        return _Prepared(
            embedding=embedding,
            previous=None if previous is None else previous.to(self.dtype),
            label_rows=rows,
            text=None if text is None else text.to(self.dtype),
        )

    def forward(
        self, z: Float[Tensor, "b c n"], t: Float[Tensor, "..."], prepared: "_Prepared"
    ) -> Float[Tensor, "b c n"]:
        """Predict noise, clean latent, velocity or flow, as trained, from ``z`` at time ``t``.

        ``t`` is of shape ``(b)``; ``prepared`` is what ``prepare`` returned for the clip.

        Raises:
            ValueError: ``t``, ``z`` or the previous clip has another shape than the config says.
        """
        self.check_times(z, t)
        emb = F.silu(self._embed(t, prepared))[:, None]
        planes = self.config.planes(0)
        x = on_planes(self.conv_in, self._input(z, prepared.previous), planes)
        if self.plane_embed is not None:
            parts = zip(self.plane_embed.weight, planes.sizes, strict=True)
            x = x + torch.cat([row.expand(size, -1) for row, size in parts])
        skips, text = [x], prepared.text
        for block in self.down:
            x = block(x, emb, text)
            skips.append(x)
        x = self.middle(x, emb, text)
        for block in self.up:
            x = block(torch.cat([x, skips.pop()], dim=-1), emb, text)
        out = on_planes(lambda stack: self.conv_out(self.norm_out(stack)), x, planes)
        return out.transpose(1, 2).contiguous()

    def _input(self, z: Tensor, previous: Tensor | None) -> Float[Tensor, "b n c"]:
        for name, latent in (("latent", z), ("latent of the clip before", previous)):
            if latent is not None and latent.shape[1:] != self.spec.shape:
                raise ValueError(
                    f"a {name} of shape {tuple(latent.shape[1:])} must be {self.spec.shape}: "
                    f"channels and positions of planes over {self.config.latent[1:]} frames, rows "
                    "and columns; set the config's latent to fit, on which no weight depends"
                )
        if self.config.previous:
            z = torch.cat([z, torch.zeros_like(z) if previous is None else previous], dim=1)
        return z.transpose(1, 2)

    def _embed(self, t: Tensor, prepared: "_Prepared") -> Float[Tensor, "b d"]:
        emb = self.time_embed(prepared.embedding(t))
        for table, rows in prepared.label_rows:
            emb = emb + table(rows)
        if self.text_embed is not None and prepared.text is not None:
            emb = emb + self.text_embed(prepared.text)
        return emb


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """Signals in the form and dtype that the network reads, and ``embedding`` of ``prepare``.

    A signal that is not given is None.
    """

    embedding: Embedding
    previous: Float[Tensor, "b c n"] | None
    label_rows: Sequence[tuple[nn.Module, Int[Tensor, "b"]]]  # of each label; negative for none
    text: Float[Tensor, "b n2 d"] | None


class Block(nn.Module):
    """Applies layers to each plane alone, then attention across the three planes, then to text.

    All planes share weights. ``level`` is the UNet level of the input planes, 0 at full resolution;
    a layer may resample them.
    """

    def __init__(self, config: TriplaneUNetConfig, level: int, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.planes = config.planes(level)
        self.checkpoint = config.checkpoint
        self.layers = nn.ModuleList(layers)
        self.across = config.attention(config.widths[level])
        self.to_text = config.text_attention(config.widths[level])

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        emb: Float[Tensor, "b 1 d"],
        text: Float[Tensor, "b n3 e"] | None = None,
    ) -> Float[Tensor, "b n2 c2"]:
        """Apply the layers to each plane, then attention over the positions of all planes.

        Args:
            x: positions of the three planes, end to end.
            emb: time embedding, after its activation.
            text: hidden states of the text encoder; None if no text is read.
        """
        inputs = x, emb, text
        return recompute(self._compute, *inputs) if self.checkpoint else self._compute(*inputs)

    def _compute(self, x: Tensor, emb: Tensor, text: Tensor | None) -> Tensor:
        def run(stack: Tensor) -> Tensor:
            planes = len(stack) // len(emb)
            # A view, not ``emb`` itself, so that gradients are still summed block by block.
            rows = emb.view_as(emb) if planes == 1 else emb.repeat_interleave(planes, 0)
            for layer in self.layers:
                attention = isinstance(layer, SelfAttention)
                stack = layer(stack) if attention else layer(stack, rows)
            return stack

        x = on_planes(run, x, self.planes)
        x = self.across(x[:, None, :, None])
        if self.to_text is not None and text is not None:
            x = self.to_text(x, text)
        return x[:, 0, :, 0]


def on_planes(
    layer: Callable[[Tensor], Tensor], x: Float[Tensor, "b n c"], planes: Triplane
) -> Float[Tensor, "b n2 c2"]:
    """Apply a layer to each of three concatenated planes and concatenate the results.

    ``planes`` are the sizes of the planes in ``x``. The layer gets tensors ``(m, 1, h, w, c)`` of m
    planes, which it must treat independently: neighbouring planes of equal size, such as both
    motion planes of square frames, of all b samples are one batch.
    """
    t, h, w = planes.frames, planes.height, planes.width
    stacks = [(shape, len(list(run))) for shape, run in groupby([(h, w), (t, h), (t, w)])]
    parts = x.split([count * rows * columns for (rows, columns), count in stacks], dim=1)
    out: list[Tensor] = []
    for part, ((rows, columns), count) in zip(parts, stacks, strict=True):
        stack = part.reshape(len(x) * count, 1, rows, columns, -1).contiguous()
        made = layer(stack)
        out.append(made.reshape(len(x), -1, made.shape[-1]))
    return torch.cat(out, dim=1)


def way_down(config: TriplaneUNetConfig) -> nn.ModuleList:
    """Build the blocks of the UNet's encoder half, from full resolution to the coarsest."""
    blocks = nn.ModuleList()
    for level, width in enumerate(config.widths):
        for channels in config.inputs(level, up=False):
            blocks.append(Block(config, level, config.step(level, channels)))
        if level < len(config.widths) - 1:
            blocks.append(Block(config, level, [config.resample(width, up=False)]))
    return blocks


def way_up(config: TriplaneUNetConfig) -> nn.ModuleList:
    """Build the blocks of the UNet's decoder half; each takes a skip connection.

    They run from the coarsest resolution to full resolution. The last block of a level doubles the
    size of its planes before attention across them.
    """
    blocks = nn.ModuleList()
    for level in reversed(range(len(config.widths))):
        for step, channels in enumerate(config.inputs(level, up=True)):
            layers = config.step(level, channels)
            if level and step == config.num_res_blocks:
                layers.append(config.resample(config.widths[level], up=True))
            blocks.append(Block(config, level, layers))
    return blocks
