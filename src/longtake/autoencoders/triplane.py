"""PVDM's autoencoder: a transformer between a clip and three planes of latents."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt, MultipleOf
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, StreamDecoder, VideoAutoencoder
from longtake.autoencoders.streaming import crossfade
from longtake.autoencoders.triplane_decoder import TriplaneDecoder
from longtake.autoencoders.triplane_encoder import TriplaneEncoder
from longtake.config import Config
from longtake.latents import LatentSpec, Triplane

Count = Annotated[int, Gt(0)]


class TriplaneAutoencoderConfig(Config):
    """The defaults are the released models', 62 million parameters.

    Attributes:
        clip: frames, height and width of its clips, in pixels. Unlike the official code, which
            knows squares of one size, any size goes that the patch divides; but one autoencoder
            has one size, since planes laid end to end do not tell theirs.
        patch: side of the square of pixels that makes a cell; each frame has its own cells.
        width: channels of a cell.
        depth: layers of the encoder and of the decoder.
        heads: of every attention in them.
        head_channels: width of such a head, free of ``width``.
        embed_dim: channels of the latent.
        pool_depth: layers of the three transformers that pool the cells along an axis.
        pool_heads: of every attention in them.
        pool_head_channels: width of such a head; an eighth of ``width`` in the official code.
        pool_hidden: width of their feed-forward layers.
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
        for axis, size in zip(("height", "width"), self.clip[1:], strict=True):
            if size % self.patch:
                below = size // self.patch * self.patch
                above = below + self.patch
                nearest = f"{axis}s are {below} and {above}" if below else f"{axis} is {above}"
                raise ValueError(
                    f"{axis} {size} is not divisible by patch={self.patch}; the nearest valid "
                    f"{nearest}, and any frame count will do"
                )
        return self

    def build(self) -> "TriplaneAutoencoder":
        """The network, with fresh weights."""
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
        self.encoder = TriplaneEncoder(config)
        self.decoder = TriplaneDecoder(config)
        self._log_variance = 2 * math.log(max(config.std, math.exp(-15)))

    @property
    def last_layer(self) -> nn.Parameter:
        """Weight of the layer that makes pixels, where adversarial gradients are weighed."""
        weight = self.decoder.to_pixel.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Latent of a clip in [-1, 1].

        PVDM knows no posterior: unless the config sets ``std``, it is one so narrow, the
        log-variance at its minimum, that a sample is the mean to the precision of float32.

        Raises:
            ValueError: the clip has another size than the config's.
        """
        if video.shape[2:] != self.config.clip:
            raise ValueError(
                f"a clip of {_size(video.shape[2:])} (frames, height, width) cannot be encoded; "
                f"this autoencoder takes {_size(self.config.clip)} alone, so cut and resize to that"
            )
        content, motion_h, motion_w = self.encoder(video)
        mean = self.config.planes.join(content=content, motion_h=motion_h, motion_w=motion_w)
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
        return self.decoder(*self.config.planes.split(z))

    def stream_decoder(self, *, clip_overlap: int = 0) -> "ClipDecoder":
        """A fresh decoder for a long video, clip after clip.

        Args:
            clip_overlap: frames that each clip shares with the clip before.

        Raises:
            ValueError: they are no fewer than a clip's.
        """
        return ClipDecoder(self, clip_overlap)


class ClipDecoder(StreamDecoder):
    """Decodes each clip by itself (PVDM), and fades from clip to clip where they overlap.

    Paper and official code have no overlap. But each clip is decoded with an error of its own, and
    where the error changes at once the video jumps; so clips can share frames, which are faded.

    Args:
        autoencoder: one whose latent has no time axis.
        overlap: frames that each clip shares with the clip before; 0 holds nothing back.

    Raises:
        ValueError: the overlap is no shorter than a clip, or the latent has a time axis.
    """

    def __init__(self, autoencoder: VideoAutoencoder, overlap: int = 0) -> None:
        autoencoder.spec.check_overlap(overlap)
        self._autoencoder = autoencoder
        self._cells = autoencoder.spec.shape[-1]
        self._overlap = overlap
        self._held: Tensor | None = None  # the last clip's frames that the next one shares

    @torch.no_grad()
    def push(self, z: Float[Tensor, "b c n"]) -> Float[Tensor, "b 3 t h w"]:
        """Take the latent of a clip, or of some laid end to end; return the frames now final."""
        return torch.cat([self._decode(part) for part in z.split(self._cells, 2)], 2)

    def flush(self) -> Float[Tensor, "b 3 t h w"] | None:
        """The last clip's frames that were held back; what is pushed next begins another stream."""
        held, self._held = self._held, None
        return held

    def state(self) -> dict[str, Tensor]:
        """The frames held back; nothing where clips do not overlap, or before the first."""
        return {} if self._held is None else {"held": self._held}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where ``state`` was taken, by a decoder of the same settings."""
        device = next(self._autoencoder.parameters()).device
        self._held = state["held"].to(device) if "held" in state else None

    def _decode(self, z: Tensor) -> Tensor:
        """Decode a clip; hold back what the next one shares with it."""
        frames = self._autoencoder.decode(z)
        if not self._overlap:
            return frames
        if self._held is not None:
            joined = crossfade(self._held, frames[:, :, : self._overlap])
            frames = torch.cat([joined, frames[:, :, self._overlap :]], 2)
        self._held = frames[:, :, -self._overlap :].contiguous()
        return frames[:, :, : -self._overlap]


def _size(axes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in axes)
