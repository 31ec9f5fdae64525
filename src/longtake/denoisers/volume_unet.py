"""LVDM's denoiser: a UNet over a volume, convolving in space, attending in space and in time."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.denoisers.unet_config import UNetConfig, named_rows
from longtake.denoisers.volume_conditions import VolumeConditions
from longtake.diffusion.process import Denoiser, Embedding
from longtake.diffusion.signals import CONTEXT, named_label
from longtake.latents import LatentSpec
from longtake.nn import Count, Volume
from longtake.nn.attention import JointAttentionConfig, SpaceTimeAttentionConfig
from longtake.nn.embedding import TimeEmbedding
from longtake.nn.kernels.differentiation import recompute
from longtake.nn.layers import FrameConv, FrameEmbedding, GroupNorm
from longtake.nn.transformer import TransformerConfig

Attention = Annotated[
    SpaceTimeAttentionConfig | JointAttentionConfig | TransformerConfig, Field(discriminator="kind")
]
"""Settings of the attention of a ``VolumeUNet``."""

WIDTH = "set attention.context_dim, the width of the text encoder's states"


class VolumeUNetConfig(UNetConfig):
    """Settings of a ``VolumeUNet``; defaults: LVDM's unconditional 256x256 model, 549 M weights.

    A trained network also takes latents of other frame counts, heights and widths than ``latent``.
    ``UNetConfig`` describes the other fields.

    Attributes:
        attention: kind and options of the attention layers.
        norm_each_frame: GroupNorm takes its statistics over each frame alone; the official code
            takes them over all frames of a clip. A network that starts from an image model's
            weights then computes the same at first.
        mask_channel: add an input channel that is 1 on context frames and 0 elsewhere.
        noise_classes: number of entries of the embedding table for the noise level of context
            frames, an integer in thousandths of the diffusion time; the released models have 251.
            None: no table.
        frame_times: embed a time per frame: for a context frame the time of its noise level, for
            the others the diffusion time.
        known_time_embed: a separate time embedding for context frames, as in the official
            "time_embed" mode; needs ``frame_times``.
        pool_text: add the mean of a text's hidden states to the time embedding, besides attention
            to them, as Stable Diffusion XL does with a pooled state; LVDM has attention alone.

    Raises:
        ValueError: ``groups`` does not divide a level's width, or a field is set without another
            that it needs, or together with one that it excludes.
    """

    kind: Literal["volume_unet"] = "volume_unet"
    latent: tuple[Count, Count, Count, Count] = (4, 4, 32, 32)
    channel_mult: tuple[Count, ...] = (1, 2, 3, 4)
    num_res_blocks: Count = 3
    attention_resolutions: tuple[Count, ...] = (2, 4, 8)
    attention: Attention = SpaceTimeAttentionConfig()
    resblock_updown: bool = False
    norm_each_frame: bool = False
    mask_channel: bool = False
    noise_classes: Count | None = None
    frame_times: bool = False
    known_time_embed: bool = False
    pool_text: bool = Field(default=False, exclude_if=lambda pooled: not pooled)

    @model_validator(mode="after")
    def _context_fits(self) -> "VolumeUNetConfig":
        if self.pool_text and self.attention.text_width is None:
            raise ValueError(f"pool_text needs attention to text; {WIDTH}")
        if not self.needs_text and self.attention.text_width is None:
            raise ValueError(f"needs_text=false is for a network that reads text; {WIDTH}")
        if not self.needs_text and not isinstance(self.attention, SpaceTimeAttentionConfig):
            raise ValueError(
                f"needs_text=false needs attention.kind=st_attention, got {self.attention.kind}"
            )
        if self.known_time_embed and not self.frame_times:
            raise ValueError("known_time_embed needs frame_times; set frame_times=true")
        if self.noise_classes and self.frame_times:
            raise ValueError(
                "noise_classes and frame_times both embed the noise on context frames; choose one"
            )
        return self

    def build(self) -> "VolumeUNet":
        """Build the network with random weights.

        Raises:
            ValueError: heads or groups do not divide a layer's channels, or ``num_classes`` is
                ``auto``.
        """
        return VolumeUNet(self)


class VolumeUNet(Denoiser):
    """3D UNet in ADM's layout (LVDM), with (1, 3, 3) convolutions and space-time attention."""

    def __init__(self, config: VolumeUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = LatentSpec(shape=config.latent, clip=config.clip, frame_axis=2)
        reads_context = config.mask_channel or config.noise_classes or config.frame_times
        reads = dict.fromkeys(CONTEXT, reads_context) | {
            "label": config.num_classes is not None,
            "text": config.attention.text_width is not None,
            **dict.fromkeys(map(named_label, config.labels), True),
        }
        self.reads = frozenset(name for name, read in reads.items() if read)
        self.needs = config.needed(self.reads)
        self.text_width = config.attention.text_width
        self.per_frame = config.frame_times
        channels, widths = config.latent[0], config.widths
        time_embed = partial(TimeEmbedding, config.model_channels, config.embedding)
        self.time_embed = time_embed()
        self.known_time_embed = time_embed() if config.known_time_embed else None
        self.label_embed = config.class_table()
        self.noise_embed = config.table(config.noise_classes)
        self.text_embed = None
        if config.pool_text and self.text_width is not None:
            self.text_embed = config.pooled_text(self.text_width)
        self.label_embeds = config.label_tables()
        self.conv_in = FrameConv(channels + config.mask_channel, widths[0])
        levels, last = range(len(widths)), widths[-1]
        self.down = nn.ModuleList(Level(config, level, up=False) for level in levels)
        first, second = (Step(config, last, last, attend=attend) for attend in (True, False))
        self.middle = nn.ModuleDict({"first": first, "second": second})
        self.up = nn.ModuleList(Level(config, level, up=True) for level in reversed(levels))
        self.norm_out = GroupNorm(widths[0], config.groups, silu=True)
        self.conv_out = config.output()
        for module in self.modules():
            if isinstance(module, GroupNorm):
                module.each_frame = config.norm_each_frame

    def prepare(self, signals: Mapping[str, Tensor], embedding: Embedding) -> VolumeConditions:
        """Convert signals, once per clip, to what ``forward`` reads, in the weights' dtype.

        ``embedding`` maps a diffusion time in [0, 1] to the value that is embedded.
        """
        config, text = self.config, signals.get("text")
        mask, context_time = None, None
        table_rows: list[tuple[nn.Module, Tensor]] = []
        if "context_mask" in signals:
            mask, noise_time = signals["context_mask"], signals["context_noise"]
            absent, steps = noise_time < 0, embedding(noise_time.clamp_min(0))
            if config.frame_times:
                context_time = (mask & ~absent[:, None], steps)
            if self.noise_embed is not None:
                table_rows.append((self.noise_embed, steps.round().masked_fill(absent, -1).long()))
        if self.label_embed is not None and "label" in signals:
            table_rows.append((self.label_embed, signals["label"].long()))
        table_rows += named_rows(self.label_embeds, signals)
        return VolumeConditions(
            embedding=embedding,
            text=None if text is None else text.to(self.dtype),
            mask=None if mask is None else mask.to(self.dtype)[:, :, None, None, None],
            context_time=context_time,
            table_rows=table_rows,
        )

    def forward(
        self, z: Float[Tensor, "b c f h w"], t: Float[Tensor, "..."], prepared: VolumeConditions
    ) -> Float[Tensor, "b c f h w"]:
        """Predict noise, clean latent, velocity or flow, as trained, from ``z`` at time ``t``.

        ``t`` is of shape ``(b)`` or, with ``frame_times`` in the config, ``(b, f)``. Context frames
        are in their places in ``z`` already. ``prepared`` is what ``prepare`` returned for the
        clip.

        Raises:
            ValueError: ``t`` has another shape, or the levels cannot halve height or width of
                ``z``.
        """
        self.check_times(z, t)
        x = self.conv_in(self._input(z, prepared.mask))
        emb = prepared.frame_embedding(t, self.time_embed, self.text_embed, self.known_time_embed)
        emb, text, skips = F.silu(emb), prepared.text, [x]
        for level in self.down:
            assert isinstance(level, Level)
            for step in level.steps:
                x = step(x, emb, text)
                skips.append(x)
            if level.resample is not None:
                x = level.resample(x, emb)
                skips.append(x)
        for step in self.middle.values():
            x = step(x, emb, text)
        for level in self.up:
            assert isinstance(level, Level)
            for step in level.steps:
                x = step(torch.cat([x, skips.pop()], dim=-1), emb, text)
            x = x if level.resample is None else level.resample(x, emb)
        out = self.conv_out(self.norm_out(x))
        return out.permute(0, 4, 1, 2, 3).contiguous()

    def _input(self, z: Tensor, mask: Tensor | None) -> Volume:
        """The network's input, channels last; with the mask's channel if the config has one."""
        factor = self.config.reduction
        if z.shape[-1] % factor or z.shape[-2] % factor:
            raise ValueError(
                f"a latent of {z.shape[-2]}x{z.shape[-1]} positions must be divisible by {factor}, "
                "once by 2 for every level but the first; crop or pad it"
            )
        x = z.permute(0, 2, 3, 4, 1)
        if self.config.mask_channel:
            channel = x.new_zeros((*x.shape[:-1], 1))
            x = torch.cat([x, channel if mask is None else channel + mask], dim=-1)
        return x.contiguous()


class Step(nn.Module):
    """A residual block of a ``VolumeUNet``, followed by attention if ``attend``.

    It leads from ``channels`` to ``out_channels`` channels.
    """

    def __init__(
        self, config: VolumeUNetConfig, channels: int, out_channels: int, *, attend: bool
    ) -> None:
        super().__init__()
        self.checkpoint = config.checkpoint
        self.reads_text = config.attention.text_width is not None
        self.residual = config.residual(channels, out_channels)
        build = config.attention.build
        self.attention = build(out_channels, config.groups, config.zero_init) if attend else None

    def forward(
        self, x: Volume, emb: FrameEmbedding, text: Float[Tensor, "b n e"] | None
    ) -> Float[Tensor, "b f h w c2"]:
        inputs = x, emb, text
        return recompute(self._compute, *inputs) if self.checkpoint else self._compute(*inputs)

    def _compute(self, x: Tensor, emb: Tensor, text: Tensor | None) -> Tensor:
        x = self.residual(x, emb)
        if self.attention is None:
            return x
        return self.attention(x, text) if self.reads_text else self.attention(x)


class Level(nn.Module):
    """One resolution of a ``VolumeUNet``'s encoder half or (``up``) decoder half.

    It holds the level's ``Step`` modules and the layer that resamples to the next level.
    """

    def __init__(self, config: VolumeUNetConfig, level: int, *, up: bool) -> None:
        super().__init__()
        width, attend = config.widths[level], 2**level in config.attention_resolutions
        self.steps = nn.ModuleList(
            Step(config, channels, width, attend=attend) for channels in config.inputs(level, up=up)
        )
        ends = level == (0 if up else len(config.widths) - 1)
        self.resample = None if ends else config.resample(width, up=up)
