"""Decoders of few operations, whose frames depend on few neighbouring latents.

They have no normalisation over a clip, so that a long video decoded in windows equals the same
video decoded whole, and their frames may be larger than those that the autoencoder was trained on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import StreamDecoder, VideoAutoencoder, in_precision_of
from longtake.autoencoders.redecoded import OtherDecoder, Redecoded
from longtake.autoencoders.streaming import ClipDecoder, WindowDecoder
from longtake.config import Config, plural
from longtake.latents import Triplane
from longtake.nn import Count

SHIFTED = 4  # a quarter of the channels comes from the frame before, a quarter from the next one


class LightDecoderConfig(Config, ABC):
    """Settings that all light decoders share.

    Attributes:
        clip: frames, height and width, in pixels, of the clip that a latent is decoded to.
        latent_width: number of channels at the resolution of the latent.
        latent_blocks: number of residual blocks there.
        frame_width: number of channels of each frame at the latent's height and width.
        frame_blocks: number of residual blocks there, which mix neighbouring frames.
        fine_width: number of channels of each frame at twice the latent's height and width.
        fine_blocks: number of residual blocks there, which mix neighbouring frames.

    Raises:
        ValueError: ``clip`` is not the latent's size times a whole number of frames and one even
            factor of height and width.
    """

    clip: tuple[Count, Count, Count]
    latent_width: Count = 64
    latent_blocks: int = 2
    frame_width: Count = 48
    frame_blocks: int = 1
    fine_width: Count = 16
    fine_blocks: int = 1

    @property
    @abstractmethod
    def latent(self) -> tuple[int, ...]:
        """Shape of the latent of a clip, without the batch axis."""

    @property
    @abstractmethod
    def grid(self) -> tuple[int, int, int]:
        """Number of frames, rows and columns of the latent, where decoding begins."""

    @property
    def factors(self) -> tuple[int, int]:
        """Factors by which decoding multiplies frames, and height and width, of the latent."""
        return self.clip[0] // self.grid[0], self.clip[1] // self.grid[1]

    @model_validator(mode="after")
    def _fits(self) -> "LightDecoderConfig":
        times, scale = self.factors
        clip = tuple(size * n for size, n in zip(self.grid, (times, scale, scale), strict=True))
        if clip != self.clip or not times or not scale or scale % 2:
            raise ValueError(
                f"clip={self.clip} (frames, height, width) must be the latent's {self.grid}, "
                "frames times a whole number, height and width times one even number"
            )
        return self


class LightVolumeDecoderConfig(LightDecoderConfig):
    """Settings of a light decoder of volumes, the latents of a ``VolumeAutoencoder``.

    ``LightDecoderConfig`` describes the other fields.

    Attributes:
        volume: channels, frames, height and width of the latent of a clip.
        window: number of latent frames that are decoded at once where a long video is decoded; a
            ValueError unless it is more than twice ``reach``.
    """

    kind: Literal["light_volume_decoder"] = "light_volume_decoder"
    volume: tuple[Count, Count, Count, Count]
    window: Count = 16

    @property
    def latent(self) -> tuple[int, ...]:
        return self.volume

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.volume[1:]

    @property
    def reach(self) -> int:
        """Number of latent frames before, and after, each one that its decoded frames depend on."""
        mixed = 2 * (self.frame_blocks + self.fine_blocks)
        return 1 + -(-mixed // self.factors[0])

    @model_validator(mode="after")
    def _window_fits(self) -> "LightVolumeDecoderConfig":
        if self.window <= 2 * self.reach:
            raise ValueError(
                f"window={self.window} must be more than {2 * self.reach} latent frames, as the "
                f"frames of {plural(self.reach, 'latent frame')} at each end of a window depend on "
                "latents outside it"
            )
        return self

    def build(self) -> "LightVolumeDecoder":
        """Build the network with random weights."""
        return LightVolumeDecoder(self)


class LightTriplaneDecoderConfig(LightDecoderConfig):
    """Settings of a light decoder of three planes, the latents of a ``TriplaneAutoencoder``.

    ``LightDecoderConfig`` describes the other fields.

    Attributes:
        channels: number of channels of the latent.
        planes: frames, rows and columns of the tokens that the three planes are pooled from.
    """

    kind: Literal["light_triplane_decoder"] = "light_triplane_decoder"
    channels: Count
    planes: tuple[Count, Count, Count]
    latent_width: Count = 32
    latent_blocks: int = 0

    @property
    def latent(self) -> tuple[int, ...]:
        return self.channels, sum(self.triplane.sizes)

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.planes

    @property
    def triplane(self) -> Triplane:
        """Sizes of the content plane and of the two motion planes, in positions."""
        frames, height, width = self.planes
        return Triplane(frames=frames, height=height, width=width)

    def build(self) -> "LightTriplaneDecoder":
        """Build the network with random weights."""
        return LightTriplaneDecoder(self)


class LightDecoder(OtherDecoder):
    """Decodes latents by convolutions of frames, most of which also read neighbouring frames.

    A convolution sees other frames because a part of its input channels is taken from them
    (temporal shift module, Lin et al. 2019), which costs no multiplication. Height and width grow
    by sub-pixel convolution (Shi et al. 2016).
    """

    def __init__(self, config: LightDecoderConfig) -> None:
        super().__init__()
        width, frame, fine = config.latent_width, config.frame_width, config.fine_width
        times, scale = config.factors
        self.config, self._times, self._scale = config, times, scale
        self.latent_blocks = _blocks(config.latent_blocks, width, mix=False)
        self.to_frames = nn.Conv2d(width, times * frame, 1)
        self.frame_blocks = _blocks(config.frame_blocks, frame, mix=True)
        self.to_fine = nn.Conv2d(frame, 4 * fine, 1)
        self.fine_blocks = _blocks(config.fine_blocks, fine, mix=True)
        self.out = nn.Conv2d(fine, 3 * (scale // 2) ** 2, 3, padding=1)
        # what becomes neighbouring frames or pixels begins equal (Aitken et al. 2017): otherwise
        # the first weights flicker, and a loss of flicker is least where nothing is decoded at all
        equal_parts(self.to_frames, lambda x: x[:frame].repeat(times, *[1] * (x.ndim - 1)))
        equal_parts(self.to_fine, lambda x: x[:fine].repeat_interleave(4, 0))
        equal_parts(self.out, lambda x: x[:3].repeat_interleave((scale // 2) ** 2, 0))

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the last layer; gradients at it set the adversarial loss's weight (VQGAN)."""
        return self.get_parameter("out.weight")

    def beside(self, autoencoder: VideoAutoencoder) -> Redecoded:
        """Return ``autoencoder`` with this network in place of its own decoder.

        Raises:
            ConfigError: the decoder reads latents of another shape, or makes clips whose size is
                not a multiple of the autoencoder's.
        """
        return Redecoded(autoencoder, self)

    @abstractmethod
    def stream_decoder(self, autoencoder: VideoAutoencoder, clip_overlap: int) -> StreamDecoder:
        """A new decoder of one long video by ``autoencoder``, which decodes with this network.

        ``clip_overlap`` is the number of frames that clips share; 0 for latents with a time axis. A
        ValueError if clips cannot share that number.
        """

    @abstractmethod
    def _features(self, z: Tensor) -> tuple[Float[Tensor, "rows d h w"], int]:
        """First features of each latent frame, a row each, and the number of rows of a clip."""

    def forward(self, z: Float[Tensor, "b c ..."]) -> Float[Tensor, "b 3 t h w"]:
        """Pixels of the clip that a latent encodes, about in [-1, 1]; not clamped."""
        z, back = in_precision_of(self, z)
        x, rows = self._features(z)
        frames = rows * self._times
        x = self.to_frames(F.relu(_through(self.latent_blocks, x, rows)))
        x = x.reshape(-1, self.config.frame_width, *x.shape[2:])
        x = self.to_fine(F.relu(_through(self.frame_blocks, x, frames)))
        x = _through(self.fine_blocks, F.pixel_shuffle(x, 2), frames)
        pixels = F.pixel_shuffle(self.out(F.relu(x)), self._scale // 2)
        return back(rearrange(pixels, "(b t) c h w -> b c t h w", t=frames))


class LightVolumeDecoder(LightDecoder):
    """A light decoder of volumes of any number of latent frames, height and width."""

    config: LightVolumeDecoderConfig

    def __init__(self, config: LightVolumeDecoderConfig) -> None:
        super().__init__(config)
        self.conv_in = nn.Conv2d(3 * config.volume[0], config.latent_width, 3, padding=1)

    def stream_decoder(self, autoencoder: VideoAutoencoder, clip_overlap: int) -> WindowDecoder:
        """A new decoder in windows whose joined frames equal those of the latents decoded whole.

        ``autoencoder`` is one that decodes with this network.

        Raises:
            ValueError: ``clip_overlap`` is not 0.
        """
        autoencoder.spec.check_overlap(clip_overlap)
        window, overlap = self.config.window, 2 * self.config.reach
        return WindowDecoder(autoencoder, overlap=overlap, mode="cut", window=window)

    def _features(self, z: Float[Tensor, "b c f h w"]) -> tuple[Float[Tensor, "rows d h w"], int]:
        frames = z.shape[2]
        rows = rearrange(z, "b c f h w -> b f c h w")
        padded = F.pad(rows, (*6 * (0,), 1, 1))
        near = torch.cat([padded[:, :-2], rows, padded[:, 2:]], 2)
        near = rearrange(near, "b f c h w -> (b f) c h w")
        return self.conv_in(near.contiguous(memory_format=torch.channels_last)), frames


class LightTriplaneDecoder(LightDecoder):
    """A light decoder of triplanes; features of a position are a sum over the three planes."""

    config: LightTriplaneDecoderConfig

    def __init__(self, config: LightTriplaneDecoderConfig) -> None:
        super().__init__(config)
        self.content, self.motion_h, self.motion_w = (
            nn.Conv2d(config.channels, config.latent_width, 3, padding=1) for _ in range(3)
        )

    def stream_decoder(self, autoencoder: VideoAutoencoder, clip_overlap: int) -> ClipDecoder:
        """A new decoder clip by clip that cross-fades the ``clip_overlap`` frames clips share.

        ``autoencoder`` is one that decodes with this network. A ValueError if clips cannot share
        that number of frames.
        """
        return ClipDecoder(autoencoder, clip_overlap)

    def _features(self, z: Float[Tensor, "b c n"]) -> tuple[Float[Tensor, "rows d h w"], int]:
        content, motion_h, motion_w = self.config.triplane.split(z)
        x = rearrange(self.content(content), "b d h w -> b 1 h w d")
        x = x + rearrange(self.motion_h(motion_h), "b d t h -> b t h 1 d")
        x = x + rearrange(self.motion_w(motion_w), "b d t w -> b t 1 w d")
        return rearrange(x, "b t h w d -> (b t) d h w"), self.config.planes[0]


class FrameBlock(nn.Module):
    """A residual block of two 3x3 convolutions of frames of ``width`` channels.

    With ``mix`` each convolution also reads the frames before and after.
    """

    def __init__(self, width: int, *, mix: bool) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(width, width, 3, padding=1)
        self.conv_out = nn.Conv2d(width, width, 3, padding=1)
        self._mix = mix

    def forward(self, x: Float[Tensor, "n c h w"], frames: int) -> Float[Tensor, "n c h w"]:
        """Apply to ``n`` frames: those of clips of ``frames`` frames each, clip after clip."""
        h = self.conv_in(self._near(F.relu(x), frames))
        return x + self.conv_out(self._near(F.relu(h), frames))

    def _near(self, x: Tensor, frames: int) -> Tensor:
        return shift_in_time(x, frames) if self._mix else x


def shift_in_time(x: Float[Tensor, "n c h w"], frames: int) -> Float[Tensor, "n c h w"]:
    """Take a quarter of each frame's channels from the frame before, a quarter from the next.

    ``x`` are the frames of clips of ``frames`` frames each, clip after clip; beyond a clip's ends
    all values are 0. The other half of the channels is unchanged.
    """
    clips = x.unflatten(0, (-1, frames))
    part = x.shape[1] // SHIFTED
    before, after, own = clips.split([part, part, x.shape[1] - 2 * part], 2)
    before = F.pad(before[:, :-1], (*6 * (0,), 1, 0))
    after = F.pad(after[:, 1:], (*6 * (0,), 0, 1))
    return torch.cat([before, after, own], 2).flatten(0, 1)


@torch.no_grad()
def equal_parts(conv: nn.Conv2d, change: Callable[[Tensor], Tensor]) -> None:
    """Set weight and bias of ``conv`` each to ``change`` of it, such as copies of its first part.

    On the meta device, where they have no values, nothing is done: torch would import ``sympy``.
    """
    for parameter in conv.parameters():
        if not parameter.is_meta:
            parameter.copy_(change(parameter))


def _blocks(count: int, width: int, *, mix: bool) -> nn.ModuleList:
    return nn.ModuleList(FrameBlock(width, mix=mix) for _ in range(count))


def _through(blocks: Iterable[nn.Module], x: Tensor, frames: int) -> Tensor:
    for block in blocks:
        x = block(x, frames)
    return x
