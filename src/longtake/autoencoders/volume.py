"""LVDM's autoencoder: a 3D convolutional network between a clip and a volume of latents."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, VideoAutoencoder, check_divisible, in_precision_of
from longtake.autoencoders.streaming import WindowDecoder
from longtake.config import Config
from longtake.latents import LatentSpec
from longtake.nn import Count, formulas
from longtake.nn.kernels import compute

EPS = 1e-6
Stride = tuple[int, int, int]


class VolumeAutoencoderConfig(Config):
    """Settings of a ``VolumeAutoencoder``; the defaults are LVDM's released model, 19 M parameters.

    Attributes:
        clip: frames, height and width of training clips, in pixels. Clips of any other size that
            ``factors`` divide can be encoded too; but GroupNorm takes its statistics over all
            frames of a clip, so results are best at the trained number of frames.
        factors: powers of two by which the encoder shrinks frames, height and width.
        hidden: number of channels at full resolution; every level of the encoder doubles them.
        z_channels: number of channels of the decoder's input; the encoder's output has twice as
            many.
        embed_dim: number of channels of the latent, which 1x1x1 convolutions map from and to
            ``z_channels``; None: ``z_channels``.
        groups: number of groups of every GroupNorm; must divide ``2 * hidden``.

    Raises:
        ValueError: ``factors`` are not powers of two, are all 1 or do not divide ``clip``, or
            ``groups`` does not divide ``2 * hidden``.
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
        """Number of channels of the latent: ``embed_dim``, or ``z_channels`` if that is None."""
        return self.embed_dim or self.z_channels

    @property
    def strides(self) -> tuple[Stride, ...]:
        """Strides of each level (t, h, w): 2 until an axis has reached its factor, then 1."""
        halvings = [factor.bit_length() - 1 for factor in self.factors]
        t, h, w = ([1 + (level < n) for level in range(max(halvings))] for n in halvings)
        return tuple(zip(t, h, w, strict=True))

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of the latent of a clip of size ``clip``."""
        t, h, w = (size // factor for size, factor in zip(self.clip, self.factors, strict=True))
        return self.channels, t, h, w

    def check_size(self, frames: int, height: int, width: int) -> None:
        """Raise a ValueError if ``factors`` do not divide frames, height and width of a clip."""
        sizes = {"frame count": frames, "height": height, "width": width}
        check_divisible(sizes, self.factors)

    @model_validator(mode="after")
    def _fits(self) -> "VolumeAutoencoderConfig":
        for factor in self.factors:
            if factor & (factor - 1):
                raise ValueError(f"factors={self.factors} must be powers of two, such as (4, 8, 8)")
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
        self.encoder = encoder(config)
        self.to_moments = SameConv(2 * config.z_channels, 2 * config.channels, 1)
        self.from_latent = SameConv(config.channels, config.z_channels, 1)
        self.decoder = decoder(config)

    @property
    def encoding_modules(self) -> Sequence[nn.Module]:
        return self.encoder, self.to_moments

    @property
    def last_layer(self) -> nn.Parameter:
        return self.get_parameter("decoder.conv_out.weight")

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Posterior over the latent of a clip whose pixels are in [-1, 1].

        Raises:
            ValueError: the config's ``factors`` do not divide the clip's size.
        """
        self.config.check_size(*video.shape[2:])
        x, back = in_precision_of(self, video)
        mean, log_variance = back(self.to_moments(self.encoder(x))).chunk(2, dim=1)
        # FSDP warns of a view, here of both halves, on which an in-place operation would be wrong
        return Posterior(mean=mean.clone(), log_variance=log_variance.clamp(-30, 20))

    def decode(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 t h2 w2"]:
        z, back = in_precision_of(self, z)
        return back(self.decoder(self.from_latent(z)))

    def stream_decoder(
        self, overlap: int = 1, mode: str = "blend", *, clip_overlap: int = 0
    ) -> WindowDecoder:
        """A new decoder for one long video, in windows of the trained number of frames.

        Args:
            overlap: number of latent frames that neighbouring windows share.
            mode: "blend" cross-fades two windows over their overlap; "cut" switches in its middle.
            clip_overlap: must be 0: clips of a long video share no frames, only windows overlap.

        Raises:
            ValueError: the overlap is not shorter than a window, the mode does not exist, or
                ``clip_overlap`` is not 0.
        """
        self.spec.check_overlap(clip_overlap)
        return WindowDecoder(self, overlap=overlap, mode=mode)


def encoder(config: VolumeAutoencoderConfig) -> nn.Sequential:
    """Build the layers from a video to mean and log-variance of its latent, concatenated.

    Every level downsamples and doubles the channels, then has a residual block. The autoencoder
    applies a 1x1x1 convolution, ``to_moments``, to the result.
    """

    def level(channels: int, stride: Stride) -> nn.Sequential:
        down = SameConv(channels, 2 * channels, 4, stride)
        return nn.Sequential(OrderedDict(down=down, residual=Residual(2 * channels, groups)))

    hidden, strides, groups = config.hidden, config.strides, config.groups
    width = hidden * 2 ** len(strides)
    return nn.Sequential(
        OrderedDict(
            conv_in=SameConv(3, hidden, 3),
            levels=nn.Sequential(*(level(hidden * 2**n, step) for n, step in enumerate(strides))),
            norm_out=nn.GroupNorm(groups, width, eps=EPS),
            silu=nn.SiLU(),
            conv_out=SameConv(width, 2 * config.z_channels, 3),
        )
    )


def decoder(config: VolumeAutoencoderConfig) -> nn.Sequential:
    """Build the layers from a latent to pixels; the output is unbounded, as in the official code.

    Every level upsamples and changes the number of channels, then has two residual blocks. Levels
    upsample along the axes of the encoder's strides in the encoder's order, not reversed, so that
    the first level doubles every axis that is doubled at all.
    """

    def level(channels: int, out_channels: int, stride: Stride) -> nn.Sequential:
        up = SameConvTranspose(channels, out_channels, 4, stride)
        first, second = (Residual(out_channels, config.groups) for _ in range(2))
        return nn.Sequential(OrderedDict(up=up, first=first, second=second))

    widths = [config.hidden * 2**n for n in range(len(config.strides), 0, -1)]
    steps = zip([config.z_channels, *widths], widths, config.strides, strict=False)
    levels = nn.Sequential(*(level(*step) for step in steps))
    return nn.Sequential(OrderedDict(levels=levels, conv_out=SameConv(widths[-1], 3, 3)))


class Residual(nn.Module):
    """A pre-activation residual block: twice GroupNorm, SiLU and 3x3x3 convolution, plus input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(groups, channels, eps=EPS)
        self.conv_in = SameConv(channels, channels, 3)
        self.norm_out = nn.GroupNorm(groups, channels, eps=EPS)
        self.conv_out = SameConv(channels, channels, 3)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        h = self.conv_in(F.silu(self.norm_in(x)))
        return x + self.conv_out(F.silu(self.norm_out(h)))


class SameConv(nn.Conv3d):
    """A 3D convolution whose input is padded by replicating its border.

    The output's size is the input's divided by ``stride``, which must divide it. An axis is padded
    by ``kernel - stride`` values in all; where that number is odd, as with a kernel of 4 and a
    stride of 1, the additional value comes first.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: Stride = (1, 1, 1)
    ) -> None:
        super().__init__(channels, out_channels, kernel, stride)
        self.border = _border(kernel, stride)

    def forward(self, input: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        x = compute(formulas.repeat_border, input, self.border)
        return compute(formulas.volume_conv, x, self.weight, self.bias, self.stride)


class SameConvTranspose(nn.ConvTranspose3d):
    """A transposed 3D convolution whose input is padded by replicating its border.

    The output's size is the input's times ``stride`` on an axis whose stride is 1 or
    ``kernel - 2``, as in LVDM, whose kernel is 4 and whose strides are 1 and 2.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: Stride) -> None:
        super().__init__(channels, out_channels, kernel, stride, padding=kernel - 1)
        self.border = _border(kernel, stride)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input: Float[Tensor, "b c t h w"]
    ) -> Float[Tensor, "b c2 t2 h2 w2"]:
        return super().forward(compute(formulas.repeat_border, input, self.border))


def _border(kernel: int, stride: Stride) -> tuple[int, ...]:
    """Positions to pad before and after each axis, the last axis first, as ``F.pad`` takes them."""
    totals = [kernel - step for step in reversed(stride)]
    return tuple(added for total in totals for added in (total - total // 2, total // 2))
