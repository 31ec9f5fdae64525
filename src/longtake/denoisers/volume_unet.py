"""LVDM's denoiser: a UNet over a volume, convolving in space, attending in space and in time."""

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.config import Config
from longtake.denoisers.volume_levels import Down, Middle, Up
from longtake.diffusion.condition import Condition, KnownFrames
from longtake.diffusion.process import Denoiser
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
        self.reads = frozenset(_reads(config))
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

    def forward(
        self, z: Float[Tensor, "b c f h w"], t: Float[Tensor, "b"], condition: Condition
    ) -> Float[Tensor, "b c f h w"]:
        """Predict from ``z``, known frames in place, at time ``t`` in embedding units."""
        self._check(z, condition)
        emb = F.silu(self._embed(t, condition))
        text = condition.text
        x = self.conv_in(self._input(z, condition.known))
        skips = [x]
        for level in self.down:
            x = level(x, emb, text, skips)
        x = self.middle(x, emb, text)
        for level in self.up:
            x = level(x, emb, text, skips)
        out = self.conv_out(self.norm_out(x))
        return out.permute(0, 4, 1, 2, 3).contiguous()

    def _input(self, z: Tensor, known: KnownFrames | None) -> Float[Tensor, "b f h w c"]:
        x = z.permute(0, 2, 3, 4, 1)
        if self.config.mask_channel:
            mask = x.new_zeros((*x.shape[:-1], 1))
            if known is not None:
                mask = mask + known.mask.to(x.dtype)[:, :, None, None, None]
            x = torch.cat([x, mask], dim=-1)
        return x.contiguous()

    def _embed(self, t: Tensor, condition: Condition) -> Float[Tensor, "b #f d"]:
        emb = self.time_embed(t)[:, None]
        known = condition.known
        if self.config.frame_times and known is not None:
            embed = self.known_time_embed or self.time_embed
            told = known.mask & (known.t >= 0)[:, None]
            emb = torch.where(told[..., None], embed(_steps(known.t))[:, None], emb)
        if self.noise_embed is not None and known is not None:
            emb = emb + _rows(self.noise_embed, _steps(known.t).round(), known.t >= 0)
        if self.label_embed is not None and condition.label is not None:
            emb = emb + _rows(self.label_embed, condition.label, condition.label >= 0)
        return emb

    def _check(self, z: Tensor, condition: Condition) -> None:
        factor = 2 ** (len(self.config.channel_mult) - 1)
        if z.shape[-1] % factor or z.shape[-2] % factor:
            raise ValueError(
                f"a latent of {z.shape[-2]}x{z.shape[-1]} cells must be divisible by {factor}, "
                "once for every level but the first; crop or pad it"
            )
        if "text" in self.reads and condition.text is None:
            raise ValueError(
                "this network reads text and got none; pass the states of an empty prompt, or "
                "build it with attention.context_dim=null"
            )


def _reads(config: VolumeUNetConfig) -> set[str]:
    reads = {
        "known": config.reads_known,
        "label": config.num_classes is not None,
        "text": config.attention.text_width is not None,
    }
    return {name for name, read in reads.items() if read}


def _table(rows: int | None, width: int) -> nn.Embedding | None:
    return None if rows is None else nn.Embedding(rows, width)


def _rows(table: nn.Embedding, index: Tensor, told: Tensor) -> Float[Tensor, "b 1 d"]:
    """Rows of a table; zeros where nothing is told."""
    rows = table(index.clamp_min(0).long())
    return (rows * told.to(rows.dtype)[:, None])[:, None]


def _steps(t: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """Time in [0, 1] in embedding units, as a schedule counts them."""
    return (t * 1000 - 1).clamp_min(0)
