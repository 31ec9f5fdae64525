"""Enlarges the frames that an autoencoder decodes, each by itself, by a small network."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from einops import rearrange
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import VideoAutoencoder, in_precision_of
from longtake.autoencoders.light import FrameBlock, equal_parts
from longtake.autoencoders.redecoded import Enlarged, OtherDecoder
from longtake.config import Config
from longtake.nn import Count

PACKED = 2  # the network computes at half the height and width of the frames that it reads


class EnlargerConfig(Config):
    """Settings of an ``Enlarger``.

    Attributes:
        clip: frames, height and width, in pixels, of the clips that come out.
        factor: factor by which height and width grow.
        width: number of channels.
        blocks: number of residual blocks.

    Raises:
        ValueError: height or width of ``clip`` is not a multiple of twice ``factor``.
    """

    kind: Literal["enlarger"] = "enlarger"
    clip: tuple[Count, Count, Count]
    factor: Annotated[int, Ge(2)] = 2
    width: Count = 48
    blocks: Count = 2

    @model_validator(mode="after")
    def _fits(self) -> "EnlargerConfig":
        step = PACKED * self.factor
        if self.clip[1] % step or self.clip[2] % step:
            raise ValueError(
                f"clip={self.clip}: height and width must be multiples of {step}, "
                f"{PACKED} times factor={self.factor}"
            )
        return self

    def build(self) -> "Enlarger":
        """Build the network with initial weights, with which it repeats every pixel."""
        return Enlarger(self)


class Enlarger(OtherDecoder):
    """Enlarges each frame by itself by sub-pixel convolution (Shi et al. 2016)."""

    def __init__(self, config: EnlargerConfig) -> None:
        super().__init__()
        self.config = config
        into, out = 3 * PACKED**2, 3 * (PACKED * config.factor) ** 2
        self.conv_in = nn.Conv2d(into, config.width, 3, padding=1)
        self.blocks = nn.ModuleList(
            FrameBlock(config.width, mix=False) for _ in range(config.blocks)
        )
        self.out = nn.Conv2d(config.width, out, 3, padding=1)
        equal_parts(self.out, torch.zeros_like)

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the last layer; gradients at it set the adversarial loss's weight (VQGAN)."""
        return self.get_parameter("out.weight")

    def beside(self, autoencoder: VideoAutoencoder) -> Enlarged:
        """Return ``autoencoder`` with its decoded frames enlarged by this network.

        Raises:
            ConfigError: the config's ``clip`` is not the autoencoder's, enlarged by ``factor``.
        """
        return Enlarged(autoencoder, self)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 3 t h2 w2"]:
        """Enlarge a clip whose pixels are about in [-1, 1] by the config's ``factor``."""
        video, back = in_precision_of(self, video)
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        packed = F.pixel_unshuffle(frames, PACKED).contiguous(memory_format=torch.channels_last)
        x = self.conv_in(packed)
        for block in self.blocks:
            x = block(x, 1)
        added = F.pixel_shuffle(self.out(F.relu(x)), PACKED * self.config.factor)
        # torch repeats pixels, as this does, several times slower
        repeated = F.pixel_shuffle(
            frames.repeat_interleave(self.config.factor**2, 1), self.config.factor
        )
        return back(rearrange(repeated + added, "(b t) c h w -> b c t h w", b=len(video)))
