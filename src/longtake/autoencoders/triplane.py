"""PVDM's autoencoder: a transformer between a clip and three planes of latents."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt, MultipleOf
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import (
    Posterior,
    VideoAutoencoder,
    check_divisible,
    in_precision_of,
)
from longtake.autoencoders.streaming import ClipDecoder
from longtake.autoencoders.triplane_blocks import AxisPool, TriplaneDecoder, TriplaneEncoder
from longtake.config import Config
from longtake.latents import LatentSpec, Triplane
from longtake.nn.transformer import RotaryTransformer

Count = Annotated[int, Gt(0)]


class TriplaneAutoencoderConfig(Config):
    """The defaults are the released models', 62 million parameters.

    Attributes:
        clip: frames, height and width of clips, in pixels. Unlike the official code, which takes
            squares of one size, any size is possible that the patch divides; but one autoencoder
            has one size, since planes laid end to end do not contain theirs.
        patch: side of the square of pixels that makes a cell; each frame has its own cells.
        width: number of channels of a cell.
        depth: number of layers of the encoder's and of the decoder's transformer.
        heads: number of heads of these transformers.
        head_channels: width of these heads; need not divide ``width``.
        embed_dim: number of channels of the latent.
        pool_depth: number of layers of the three transformers that pool the cells along an axis.
        pool_heads: number of heads of the pooling transformers.
        pool_head_channels: width of these heads; an eighth of ``width`` in the official code.
        pool_hidden: width of the feed-forward layers of the pooling transformers.
        std: standard deviation of the posterior, the same everywhere. The paper has no
            posterior, which is 0; more than 0, with a ``kl_weight`` in the loss, keeps ``tanh``
            from saturating into latents of nearly two values, which are hard to diffuse.
    """

    renamed: ClassVar[Mapping[str, str]] = {"deviation": "std"}

    kind: Literal["triplane_autoencoder"] = "triplane_autoencoder"
    clip: tuple[Count, Count, Count] = (16, 256, 256)
    patch: Count = 8
    width: Count = 384
    depth: Count = 8
    heads: Count = 8
    head_channels: Annotated[int, Gt(0), MultipleOf(4)] = 64
    embed_dim: Count = 4
    pool_depth: Count = 4
    pool_heads: Count = 4
    pool_head_channels: Count = 48
    pool_hidden: Count = 512
    std: Annotated[float, Ge(0), Lt(1)] = 0.0

    @property
    def planes(self) -> Triplane:
        """Extent of a clip's planes."""
        frames, height, width = self.clip
        return Triplane(frames=frames, height=height // self.patch, width=width // self.patch)

    @property
    def latent(self) -> tuple[int, int]:
        """Channels and cells of a clip's latent."""
        return self.embed_dim, sum(self.planes.cells)

    @model_validator(mode="after")
    def _fits(self) -> "TriplaneAutoencoderConfig":
        sizes: dict[str, int] = dict(zip(("height", "width"), self.clip[1:], strict=True))
        note = ", and any frame count will do"
        check_divisible(sizes, (self.patch, self.patch), "patch=", note)
        return self

    def build(self) -> "TriplaneAutoencoder":
        """Build the network with random weights."""
        return TriplaneAutoencoder(self)


class TriplaneAutoencoder(VideoAutoencoder):
    """Transformer autoencoder whose latent is three planes, laid end to end (PVDM).

    The plane of content has the clip's rows and columns, that of motion along the height its frames
    and rows, that of motion along the width its frames and columns. The official code calls them
    ``xy``, ``xt`` and ``yt``, and lays the third before the second.
    """

    def __init__(self, config: TriplaneAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = LatentSpec(
            shape=config.latent, clip=config.clip, frame_axis=None, bounds=(-1.0, 1.0)
        )
        patch, width, embed_dim = config.patch, config.width, config.embed_dim
        transformer = partial(
            RotaryTransformer, width, config.depth, config.heads, config.head_channels
        )
        heads = config.pool_heads, config.pool_head_channels
        pool = partial(AxisPool, width, embed_dim, config.pool_depth, *heads, config.pool_hidden)
        self.encoder = TriplaneEncoder(config.planes, patch, width, transformer, pool)
        self.decoder = TriplaneDecoder(patch, width, embed_dim, transformer)
        self._log_variance = 2 * math.log(max(config.std, math.exp(-15)))

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the layer that makes pixels."""
        weight = self.decoder.to_pixel.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Latent of a clip in [-1, 1].

        PVDM has no posterior: unless the config sets ``std``, the log-variance is at its minimum,
        and a sample is the mean to the precision of float32.

        Raises:
            ValueError: the clip has another size than the config's.
        """
        if video.shape[2:] != self.config.clip:
            raise ValueError(
                f"a clip of {_size(video.shape[2:])} (frames, height, width) cannot be encoded; "
                f"this autoencoder takes {_size(self.config.clip)} alone, so cut and resize to that"
            )
        x, back = in_precision_of(self, video)
        content, motion_h, motion_w = self.encoder(x)
        mean = back(self.config.planes.join(content=content, motion_h=motion_h, motion_w=motion_w))
        return Posterior(mean=mean, log_variance=torch.full_like(mean, self._log_variance))

    def decode(self, z: Float[Tensor, "b c n"]) -> Float[Tensor, "b 3 t h w"]:
        """Clip of a latent, in (-1, 1).

        Raises:
            ValueError: the latent has another shape than ``spec`` says.
        """
        if z.shape[1:] != self.spec.shape:
            raise ValueError(
                f"a latent of shape {tuple(z.shape[1:])} cannot be decoded; this autoencoder's "
                f"have shape {self.spec.shape} and stand for {_size(self.config.clip)}"
            )
        z, back = in_precision_of(self, z)
        return back(self.decoder(*self.config.planes.split(z)))

    def stream_decoder(self, *, clip_overlap: int = 0) -> ClipDecoder:
        """A fresh decoder for a long video, clip after clip.

        Args:
            clip_overlap: frames that each clip shares with the clip before.

        Raises:
            ValueError: ``clip_overlap`` is not shorter than a clip.
        """
        return ClipDecoder(self, clip_overlap)


def _size(axes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in axes)
