"""LVDM's autoencoder: a 3D convolutional network between a clip and a volume of latents."""

import math
from typing import Annotated, Literal

from annotated_types import Gt
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import (
    Posterior,
    VideoAutoencoder,
    check_divisible,
    in_precision_of,
)
from longtake.autoencoders.streaming import WindowDecoder
from longtake.autoencoders.volume_blocks import Decoder, Encoder
from longtake.config import Config
from longtake.latents import LatentSpec
from longtake.nn.same_conv import SameConv

Count = Annotated[int, Gt(0)]


class VolumeAutoencoderConfig(Config):
    """The defaults are the released model's, 19 million parameters.

    Attributes:
        clip: frames, height and width of training clips, in pixels. Any other size that the
            factors divide can be encoded too; as the normalisation takes its statistics over the
            clip, results are best at the trained length.
        factors: powers of two by which frames, height and width shrink.
        hidden: number of channels at full resolution; every level doubles them.
        z_channels: number of channels of the latent inside encoder and decoder.
        embed_dim: number of channels of the latent outside; None: ``z_channels``.
        groups: number of groups of every normalisation; must divide ``2 * hidden``.
    """

    kind: Literal["volume_autoencoder"] = "volume_autoencoder"
    clip: tuple[Count, Count, Count] = (16, 256, 256)
    factors: tuple[Count, Count, Count] = (4, 8, 8)
    hidden: Count = 32
    z_channels: Count = 4
    embed_dim: Count | None = None
    groups: Count = 32

    @property
    def channels(self) -> int:
        """Channels of the latent outside the network."""
        return self.embed_dim or self.z_channels

    @property
    def strides(self) -> tuple[tuple[int, int, int], ...]:
        """Strides of each level; an axis that reaches its factor early then has stride 1."""
        halvings = [int(math.log2(factor)) for factor in self.factors]
        t, h, w = ([1 + (level < n) for level in range(max(halvings))] for n in halvings)
        return tuple(zip(t, h, w, strict=True))

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of a clip's latent."""
        t, h, w = (size // factor for size, factor in zip(self.clip, self.factors, strict=True))
        return self.channels, t, h, w

    def check_size(self, frames: int, height: int, width: int) -> None:
        """Make sure that a video of this size can be encoded.

        Raises:
            ValueError: a factor does not divide the size.
        """
        sizes = {"frame count": frames, "height": height, "width": width}
        check_divisible(sizes, self.factors)

    @model_validator(mode="after")
    def _fits(self) -> "VolumeAutoencoderConfig":
        for factor in self.factors:
            if factor & (factor - 1):
                raise ValueError(f"factors={self.factors} must be powers of two")
        if max(self.factors) == 1:
            raise ValueError(f"factors={self.factors} leave the clip as it is; one must be over 1")
        if 2 * self.hidden % self.groups:
            raise ValueError(
                f"groups={self.groups} must divide the {2 * self.hidden} channels of the first "
                f"level, twice hidden={self.hidden}"
            )
        self.check_size(*self.clip)
        return self

    def build(self) -> "VolumeAutoencoder":
        """Build the network with random weights."""
        return VolumeAutoencoder(self)


class VolumeAutoencoder(VideoAutoencoder):
    """3D convolutional autoencoder with a Gaussian latent (LVDM)."""

    def __init__(self, config: VolumeAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = LatentSpec(shape=config.latent, clip=config.clip, frame_axis=2)
        sizes = config.hidden, config.z_channels, config.strides, config.groups
        self.encoder = Encoder(*sizes)
        self.to_moments = SameConv(2 * config.z_channels, 2 * config.channels, 1)
        self.from_latent = SameConv(config.channels, config.z_channels, 1)
        self.decoder = Decoder(*sizes)

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last convolution."""
        weight = self.decoder.conv_out.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Posterior of a clip in [-1, 1].

        Raises:
            ValueError: a factor does not divide the clip's size.
        """
        frames, height, width = video.shape[2:]
        self.config.check_size(frames, height, width)
        x, back = in_precision_of(self, video)
        mean, log_variance = back(self.to_moments(self.encoder(x))).chunk(2, dim=1)
        return Posterior(mean=mean, log_variance=log_variance.clamp(-30, 20))

    def decode(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 t h2 w2"]:
        """Clip of a latent, in [-1, 1] up to overshoot."""
        z, back = in_precision_of(self, z)
        return back(self.decoder(self.from_latent(z)))

    def stream_decoder(
        self, overlap: int = 1, mode: str = "blend", *, clip_overlap: int = 0
    ) -> WindowDecoder:
        """A fresh decoder for a long video, in windows of the trained length.

        Args:
            overlap: latent frames that neighbouring windows share.
            mode: "blend" fades from one window to the next across the overlap; "cut" switches in
                its middle.
            clip_overlap: must be 0: clips that are pushed follow each other.

        Raises:
            ValueError: the overlap is not shorter than a window, the mode does not exist, or
                ``clip_overlap`` is not 0.
        """
        self.spec.check_overlap(clip_overlap)
        return WindowDecoder(self, overlap=overlap, mode=mode)
