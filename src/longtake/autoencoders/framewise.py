"""Stable Diffusion's image autoencoder on each frame by itself (LVDM, text to video).

The network is diffusers' own, the only one here that is: its weights are those of any Stable
Diffusion model, with ``coder.`` before each name.
"""

from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt
from einops import rearrange
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, StreamDecoder, VideoAutoencoder
from longtake.config import Config
from longtake.latents import LatentSpec

Count = Annotated[int, Gt(0)]


class FramewiseAutoencoderConfig(Config):
    """The defaults are Stable Diffusion 1's, 84 million parameters.

    Attributes:
        clip: frames, height and width of the clips that denoisers see, in pixels. Any number of
            frames, and any size that ``factor`` divides, can be encoded too.
        channels: of the latent.
        width: channels of the first level.
        channel_mult: width of each level as a multiple of the first; every level but the first
            halves height and width.
        num_res_blocks: residual blocks of a level on the way down; one more on the way up.
        groups: of every normalisation; must divide every level's width.
        frames_at_once: frames that are coded together. It bounds the memory; with 1, a frame's
            bits do not depend on what it is coded with.
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
        """By which height and width shrink."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.width * multiple for multiple in self.channel_mult)

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of a clip's latent."""
        frames, height, width = self.clip
        return self.channels, frames, height // self.factor, width // self.factor

    def check_size(self, height: int, width: int) -> None:
        """Whether frames can be encoded.

        Raises:
            ValueError: ``factor`` does not divide their size.
        """
        for axis, size in (("height", height), ("width", width)):
            if size % self.factor:
                below, above = size // self.factor * self.factor, -(-size // self.factor)
                near = f"s are {below} and" if below else " is"
                raise ValueError(
                    f"{axis} {size} is not divisible by {self.factor}; the nearest valid "
                    f"{axis}{near} {above * self.factor}"
                )

    @model_validator(mode="after")
    def _fits(self) -> "FramewiseAutoencoderConfig":
        if not self.channel_mult:
            raise ValueError("channel_mult is empty, must name at least one level")
        for width in self.widths:
            if width % self.groups:
                raise ValueError(f"groups={self.groups} must divide a level's {width} channels")
        self.check_size(*self.clip[1:])
        return self

    def build(self) -> "FramewiseAutoencoder":
        """The network, with fresh weights."""
        return FramewiseAutoencoder(self)


class FramewiseAutoencoder(VideoAutoencoder):
    """An image autoencoder with a Gaussian latent, which knows nothing of time."""

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

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last convolution, where adversarial gradients are weighed."""
        weight = self.coder.decoder.conv_out.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Posterior of a clip in [-1, 1].

        Raises:
            ValueError: ``factor`` does not divide the clip's height or width.
        """
        self.config.check_size(*video.shape[3:])
        found = [self.coder.encode(part, return_dict=False)[0] for part in self._parts(video)]
        frames = video.shape[2]
        return Posterior(
            mean=_clips([part.mean for part in found], frames),
            log_variance=_clips([part.logvar for part in found], frames),
        )

    def decode(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 f h2 w2"]:
        """Clip of a latent, in [-1, 1] up to overshoot."""
        found = [self.coder.decode(part, return_dict=False)[0] for part in self._parts(z)]
        return _clips(found, z.shape[2])

    def stream_decoder(self, *, clip_overlap: int = 0) -> "FrameDecoder":
        """A fresh decoder for a long video, frame after frame.

        Raises:
            ValueError: there is an overlap, which these latents do not need.
        """
        self.spec.check_overlap(clip_overlap)
        return FrameDecoder(self)

    def _parts(self, clips: Float[Tensor, "b c t h w"]) -> tuple[Float[Tensor, "n c h w"], ...]:
        """All frames, a few at a time."""
        frames = rearrange(clips, "b c t h w -> (b t) c h w")
        return frames.split(self.config.frames_at_once)


class FrameDecoder(StreamDecoder):
    """Decodes frames by themselves, so that nothing is held back.

    Args:
        autoencoder: one that codes frame by frame.
    """

    def __init__(self, autoencoder: FramewiseAutoencoder) -> None:
        self._autoencoder = autoencoder

    @torch.no_grad()
    def push(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 f h2 w2"]:
        """Take any number of latent frames; return the frames they stand for."""
        return self._autoencoder.decode(z)

    def flush(self) -> None:
        """Nothing, as nothing is held back."""

    def state(self) -> dict[str, Tensor]:
        """Nothing, as frames do not depend on each other."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on: whatever has passed, the next frame is decoded by itself."""


def _clips(parts: list[Tensor], frames: int) -> Float[Tensor, "b c t h w"]:
    """Frames, a few at a time, as clips."""
    return rearrange(torch.cat(parts), "(b t) c h w -> b c t h w", t=frames)
