"""LVDM's denoiser: a UNet over a volume, convolving in space, attending in space and in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.config import Config
from longtake.denoisers.volume_levels import Down, Middle, Up
from longtake.diffusion.process import Denoiser, Embedding
from longtake.diffusion.signals import CONTEXT
from longtake.latents import LatentSpec
from longtake.nn.attention import JointAttentionConfig, SpaceTimeAttentionConfig
from longtake.nn.embedding import TimeEmbedding
from longtake.nn.frame_conv import FrameConv
from longtake.nn.norm import GroupNorm
from longtake.nn.transformer import TransformerConfig

Attention = Annotated[
    SpaceTimeAttentionConfig | JointAttentionConfig | TransformerConfig, Field(discriminator="kind")
]
Count = Annotated[int, Gt(0)]


class VolumeUNetConfig(Config):
    """The defaults are the paper's unconditional 256x256 model, 549 million parameters.

    Attributes:
        latent: channels, frames, height and width of a clip's latent. Other frames, heights and
            widths can be given to a trained network.
        clip: frames, height and width of the clip in pixels.
        model_channels: width of the first level.
        channel_mult: width of each level as a multiple of the first; a level halves the frame.
        num_res_blocks: residual blocks of a level on the way down; one more on the way up.
        attention_resolutions: factors by which the frame is reduced, where attention follows every
            residual block. The middle always has it.
        attention: the attention block.
        scale_shift_norm: the embedding scales and shifts; else it is added.
        resblock_updown: halve and double frames in a residual block, not with a convolution.
        groups: of every normalisation; must divide every level's width.
        num_classes: labels; None: the network reads no label.
        mask_channel: a last input channel says which frames are given.
        noise_classes: rows of the table by which the network is told the noise on given frames, in
            steps of 1000; the released models have 251. None: no table.
        frame_times: a frame is embedded with its own time: that of the noise on it if it is
            given, the diffusion time if not.
        known_time_embed: given frames have their own time embedding, as in the official
            "time_embed" mode; needs ``frame_times``.
        zero_init: residual branches and output start at zero, as released.
        checkpoint: do not store activations of a level's blocks but compute them again backward.
    """

    kind: Literal["volume_unet"] = "volume_unet"
    latent: tuple[Count, Count, Count, Count] = (4, 4, 32, 32)
    clip: tuple[Count, Count, Count] = (16, 256, 256)
    model_channels: Count = 256
    channel_mult: tuple[Count, ...] = (1, 2, 3, 4)
    num_res_blocks: Count = 3
    attention_resolutions: tuple[Annotated[int, Ge(1)], ...] = (2, 4, 8)
    attention: Attention = SpaceTimeAttentionConfig()
    scale_shift_norm: bool = True
    resblock_updown: bool = False
    groups: Count = 32
    num_classes: Count | None = None
    mask_channel: bool = False
    noise_classes: Count | None = None
    frame_times: bool = False
    known_time_embed: bool = False
    zero_init: bool = True
    checkpoint: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.model_channels * factor for factor in self.channel_mult)

    @property
    def embedding(self) -> int:
        """Width of the time embedding."""
        return 4 * self.model_channels

    @property
    def reads_known(self) -> bool:
        """Whether given frames can be told from others."""
        return self.mask_channel or self.noise_classes is not None or self.frame_times

    @model_validator(mode="after")
    def _fits(self) -> "VolumeUNetConfig":
        if not self.channel_mult:
            raise ValueError("channel_mult is empty, must name at least one level")
        for width in self.widths:
            if width % self.groups:
                raise ValueError(f"groups={self.groups} must divide a level's {width} channels")
        if self.known_time_embed and not self.frame_times:
            raise ValueError("known_time_embed needs frame_times; set frame_times=true")
        if self.noise_classes and self.frame_times:
            raise ValueError(
                "noise_classes and frame_times both tell the noise on given frames; choose one"
            )
        return self

    def build(self) -> "VolumeUNet":
        """The network, with fresh weights."""
        return VolumeUNet(self)


class VolumeUNet(Denoiser):
    """Factorised 3D UNet (LVDM): ADM's layout, (1, 3, 3) convolutions, space-time attention."""

    def __init__(self, config: VolumeUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = LatentSpec(shape=config.latent, clip=config.clip, frame_axis=2)
        reads = {
            **dict.fromkeys(CONTEXT, config.reads_known),
            "label": config.num_classes is not None,
            "text": config.attention.text_width is not None,
        }
        self.reads = frozenset(name for name, read in reads.items() if read)
        self.needs = self.reads & {"text"}
        self.per_frame = config.frame_times
        channels, widths = config.latent[0], config.widths
        self.time_embed = TimeEmbedding(config.model_channels, config.embedding)
        self.known_time_embed = (
            TimeEmbedding(config.model_channels, config.embedding)
            if config.known_time_embed
            else None
        )
        self.label_embed = _table(config.num_classes, config.embedding)
        self.noise_embed = _table(config.noise_classes, config.embedding)
        self.conv_in = FrameConv(channels + config.mask_channel, widths[0])
        self.down = nn.ModuleList()
        skips = [widths[0]]
        for level in range(len(widths)):
            self.down.append(Down(config, level, skips))
        self.middle = Middle(config)
        self.up = nn.ModuleList()
        for level in reversed(range(len(widths))):
            self.up.append(Up(config, level, skips))
        self.norm_out = GroupNorm(widths[0], config.groups, silu=True)
        self.conv_out = FrameConv(widths[0], channels)
        if config.zero_init:
            for parameter in self.conv_out.parameters():
                nn.init.zeros_(parameter)

    def prepare(self, signals: Mapping[str, Tensor], embedding: Embedding) -> "_Prepared":
        """Signals in the precision of the weights, noise times in embedding units."""
        config, text = self.config, signals.get("text")
        mask, context_time, table_rows = None, None, []
        if "context_mask" in signals:
            mask, noise_time = signals["context_mask"], signals["context_noise"]
            absent, steps = noise_time < 0, embedding(noise_time.clamp_min(0))
            if config.frame_times:
                context_time = (mask & ~absent[:, None], steps)
            if self.noise_embed is not None:
                table_rows.append((self.noise_embed, steps.round().masked_fill(absent, -1).long()))
        if self.label_embed is not None and "label" in signals:
            table_rows.append((self.label_embed, signals["label"].long()))
        return _Prepared(
            embedding=embedding,
            text=None if text is None else text.to(self.dtype),
            mask=None if mask is None else mask.to(self.dtype)[:, :, None, None, None],
            context_time=context_time,
            table_rows=table_rows,
        )

    def forward(
        self, z: Float[Tensor, "b c f h w"], t: Float[Tensor, "..."], prepared: "_Prepared"
    ) -> Float[Tensor, "b c f h w"]:
        """Predict from ``z``, context frames in place, at time ``t``."""
        self.check_times(z, t)
        self._check(z)
        emb = F.silu(self._embed(t, prepared))
        text = prepared.text
        x = self.conv_in(self._input(z, prepared.mask))
        skips = [x]
        for level in self.down:
            x = level(x, emb, text, skips)
        x = self.middle(x, emb, text)
        for level in self.up:
            x = level(x, emb, text, skips)
        out = self.conv_out(self.norm_out(x))
        return out.permute(0, 4, 1, 2, 3).contiguous()

    def _input(self, z: Tensor, mask: Tensor | None) -> Float[Tensor, "b f h w c"]:
        x = z.permute(0, 2, 3, 4, 1)
        if self.config.mask_channel:
            channel = x.new_zeros((*x.shape[:-1], 1))
            x = torch.cat([x, channel if mask is None else channel + mask], dim=-1)
        return x.contiguous()

    def _embed(self, t: Tensor, prepared: "_Prepared") -> Float[Tensor, "b #f d"]:
        emb = self.time_embed(prepared.embedding(t))
        emb = emb if t.ndim == 2 else emb[:, None]
        if prepared.context_time is not None:
            given, time = prepared.context_time
            embed = self.known_time_embed or self.time_embed
            emb = torch.where(given[..., None], embed(time)[:, None], emb)
        for table, index in prepared.table_rows:
            emb = emb + _rows(table, index)[:, None]
        return emb

    def _check(self, z: Tensor) -> None:
        factor = 2 ** (len(self.config.channel_mult) - 1)
        if z.shape[-1] % factor or z.shape[-2] % factor:
            raise ValueError(
                f"a latent of {z.shape[-2]}x{z.shape[-1]} cells must be divisible by {factor}, "
                "once for every level but the first; crop or pad it"
            )


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """Signals as the network reads them.

    Attributes:
        embedding: the noise schedule's.
        text: token states.
        mask: 1 where a frame is a context frame.
        context_time: context frames with a time embedding of their own, and that time.
        table_rows: learned tables and the row of each sample, negative for none.
    """

    embedding: Embedding
    text: Float[Tensor, "b n d"] | None
    mask: Float[Tensor, "b f 1 1 1"] | None
    context_time: tuple[Tensor, Tensor] | None
    table_rows: Sequence[tuple[nn.Embedding, Tensor]]


def _table(rows: int | None, width: int) -> nn.Embedding | None:
    return None if rows is None else nn.Embedding(rows, width)


def _rows(table: nn.Embedding, index: Tensor) -> Float[Tensor, "b d"]:
    """Rows of a table; zeros where the index is negative."""
    found = table(index.clamp_min(0))
    return found * (index >= 0).to(found.dtype)[:, None]
