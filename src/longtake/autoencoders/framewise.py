"""Stable Diffusion's image autoencoder on each frame by itself (LVDM, text to video).

The network is diffusers' own, unlike all others of longtake: its weights are those of any Stable
Diffusion model, with ``coder.`` before each name.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, VideoAutoencoder, check_divisible, in_precision_of
from longtake.autoencoders.streaming import FrameDecoder
from longtake.config import Config
from longtake.latents import LatentSpec
from longtake.nn import Count
from longtake.nn.attention import attend


class FramewiseAutoencoderConfig(Config):
    """Settings of a ``FramewiseAutoencoder``; the defaults are Stable Diffusion 1's, 84 M weights.

    Attributes:
        clip: frames, height and width of a denoiser's clips, in pixels. Clips of any number of
            frames, and of any height and width that ``factor`` divides, can be encoded too.
        channels: number of channels of the latent.
        width: number of channels of the first level.
        channel_mult: width of each level as a multiple of the first; every level but the first
            halves height and width.
        num_res_blocks: residual blocks of each encoder level; a decoder level has one more.
        groups: number of groups of every GroupNorm; must divide every level's width.
        frames_at_once: number of frames that are encoded or decoded together. It bounds the memory;
            with 1, a frame's result does not depend on other frames to the last bit.

    Raises:
        ValueError: ``channel_mult`` is empty, ``groups`` does not divide a level's width, or
            ``factor`` does not divide height or width of ``clip``.
    """

    kind: Literal["framewise_autoencoder"] = "framewise_autoencoder"
    clip: tuple[Count, Count, Count] = (16, 256, 256)
    channels: Count = 4
    width: Count = 128
    channel_mult: tuple[Count, ...] = (1, 2, 4, 4)
    num_res_blocks: Count = 2
    groups: Count = 32
    frames_at_once: Count = 1

    @property
    def factor(self) -> int:
        """Factor by which the encoder shrinks height and width."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of channels of each level, from full resolution down."""
        return tuple(self.width * multiple for multiple in self.channel_mult)

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of the latent of a clip of size ``clip``."""
        frames, height, width = self.clip
        return self.channels, frames, height // self.factor, width // self.factor

    def check_size(self, height: int, width: int) -> None:
        """Raise a ValueError if ``factor`` does not divide the height and width of frames."""
        check_divisible({"height": height, "width": width}, (self.factor, self.factor))

    @model_validator(mode="after")
    def _fits(self) -> "FramewiseAutoencoderConfig":
        if not self.channel_mult:
            raise ValueError(
                "channel_mult is empty; give a factor for each level, such as [1, 2, 4]"
            )
        for width in self.widths:
            if width % self.groups:
                raise ValueError(
                    f"groups={self.groups} must divide a level's {width} channels; change groups, "
                    "width or channel_mult"
                )
        self.check_size(*self.clip[1:])
        return self

    def build(self) -> "FramewiseAutoencoder":
        """Build the network with random weights."""
        return FramewiseAutoencoder(self)


class FramewiseAutoencoder(VideoAutoencoder):
    """An image autoencoder with a Gaussian latent, applied to each frame."""

    def __init__(self, config: FramewiseAutoencoderConfig) -> None:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # takes seconds

        super().__init__()
        self.config = config
        self.spec = LatentSpec(shape=config.latent, clip=config.clip, frame_axis=2)
        levels = len(config.widths)
        network: Any = AutoencoderKL  # whose annotations say tuples of one
        self.coder = network(
            latent_channels=config.channels,
            block_out_channels=config.widths,
            layers_per_block=config.num_res_blocks,
            norm_num_groups=config.groups,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
        )
        self.coder.set_attn_processor(_attend)

    @property
    def encoding_modules(self) -> Sequence[nn.Module]:
        return self.coder.encoder, self.coder.quant_conv

    @property
    def last_layer(self) -> nn.Parameter:
        return self.get_parameter("coder.decoder.conv_out.weight")

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Posterior over the latent of a clip whose pixels are in [-1, 1].

        Raises:
            ValueError: the config's ``factor`` does not divide the clip's height or width.
        """
        self.config.check_size(*video.shape[3:])
        x, back = in_precision_of(self, video)
        mean, log_variance = back(self._each(self._moments, x)).chunk(2, dim=1)
        return Posterior(mean=mean, log_variance=log_variance)

    def decode(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 f h2 w2"]:
        x, back = in_precision_of(self, z)
        return back(self._each(lambda part: self.coder.decode(part, return_dict=False)[0], x))

    def stream_decoder(self, *, clip_overlap: int = 0) -> FrameDecoder:
        """A new decoder of a long video, frame by frame.

        Raises:
            ValueError: ``clip_overlap`` is not 0.
        """
        self.spec.check_overlap(clip_overlap)
        return FrameDecoder(self)

    def _moments(self, frames: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h2 w2"]:
        found = self.coder.encode(frames, return_dict=False)[0]
        return torch.cat([found.mean, found.logvar], dim=1)

    def _each(self, network: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
        """Apply a network to all frames of clips, ``frames_at_once`` at a time."""
        frames = rearrange(clips, "b c t h w -> (b t) c h w").split(self.config.frames_at_once)
        made = torch.cat([network(part) for part in frames])
        return rearrange(made, "(b t) c h w -> b c t h w", t=clips.shape[2])


def _attend(
    layer: Any, x: Float[Tensor, "n c h w"], temb: None = None, **_: object
) -> Float[Tensor, "n c h w"]:
    """Attention processor for diffusers' autoencoder that is differentiable to any order.

    ``temb`` and further arguments, which diffusers may pass, are not used.
    """
    tokens = layer.group_norm(x.flatten(2)).transpose(1, 2)
    parts = layer.to_q(tokens), layer.to_k(tokens), layer.to_v(tokens)
    q, k, v = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in parts)
    out = layer.to_out[0](attend(q, k, v).transpose(1, 2).flatten(2))
    return out.transpose(1, 2).reshape(x.shape) + x
