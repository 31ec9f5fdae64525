"""PVDM's autoencoder: a transformer between a clip and three planes of latents."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt, MultipleOf
from einops import rearrange
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, VideoAutoencoder, check_divisible, in_precision_of
from longtake.autoencoders.streaming import ClipDecoder
from longtake.config import Config
from longtake.latents import LatentSpec, Triplane
from longtake.nn import Count
from longtake.nn.attention import SelfAttention
from longtake.nn.transformer import RotaryTransformer


class TriplaneAutoencoderConfig(Config):
    """Settings of a ``TriplaneAutoencoder``; defaults: the released models', 62 million parameters.

    Attributes:
        clip: frames, height and width of clips, in pixels. Height and width may be any multiples of
            ``patch`` (the official code takes squares of one size), but one autoencoder takes one
            size only, since the sizes of concatenated planes cannot be recovered from their total
            length.
        patch: height and width, in pixels, of the square of one frame that becomes one token.
        width: number of channels of a token.
        depth: number of layers of the encoder's and of the decoder's transformer.
        heads: number of heads of the encoder's and of the decoder's transformer.
        head_channels: width of each of these heads; need not divide ``width``.
        embed_dim: number of channels of the latent.
        pool_depth: number of layers of the three transformers that pool the tokens, one along each
            axis of the clip.
        pool_heads: number of heads of the pooling transformers.
        pool_head_channels: width of each of these heads; an eighth of ``width`` in the official
            code.
        pool_hidden: width of the feed-forward layers of the pooling transformers.
        std: standard deviation of the posterior, the same for every value. 0 as in the paper, which
            has no posterior; more than 0, with a ``kl_weight`` in the loss, keeps ``tanh`` from
            saturating into latents of nearly two values, which are hard to diffuse.

    Raises:
        ValueError: ``patch`` does not divide height or width of ``clip``.
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
        """Sizes of the three planes of a clip."""
        frames, height, width = self.clip
        return Triplane(frames=frames, height=height // self.patch, width=width // self.patch)

    @property
    def latent(self) -> tuple[int, int]:
        """Shape of a clip's latent: its channels and the positions of all three planes."""
        return self.embed_dim, sum(self.planes.sizes)

    @model_validator(mode="after")
    def _fits(self) -> "TriplaneAutoencoderConfig":
        sizes = {"height": self.clip[1], "width": self.clip[2]}
        note = ", and any frame count will do"
        check_divisible(sizes, (self.patch, self.patch), "patch=", note)
        return self

    def transformer(self) -> RotaryTransformer:
        """Build the transformer over all tokens of a clip, of the encoder or of the decoder."""
        return RotaryTransformer(self.width, self.depth, self.heads, self.head_channels)

    def build(self) -> "TriplaneAutoencoder":
        """Build the network with random weights."""
        return TriplaneAutoencoder(self)


class TriplaneAutoencoder(VideoAutoencoder):
    """Transformer autoencoder whose latent is three planes, laid end to end (PVDM).

    The content plane has the clip's rows and columns, the plane of motion along the height its
    frames and rows, the plane of motion along the width its frames and columns. The official code
    calls them ``xy``, ``xt`` and ``yt``, and lays the third before the second.
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
    def encoding_modules(self) -> Sequence[nn.Module]:
        return (self.encoder,)

    @property
    def last_layer(self) -> nn.Parameter:
        return self.get_parameter("decoder.to_pixel.weight")

    def resized(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return ``weights``, of such an autoencoder for another clip size, in this one's shapes.

        The embeddings of positions along the axis that a plane lacks are interpolated linearly
        along it, as those of images are in vision transformers (Dosovitskiy et al., 2021, section
        3.2); the embedding of the learned token after the last position stays. Rotary embeddings
        need no change, as they span -1 to 1 at any size.
        """
        own = {f"encoder.{name}.position" for name in ("content", "motion_h", "motion_w")}
        lengths = {name: self.get_parameter(name).shape[1] for name in own & weights.keys()}
        return {**weights, **{name: _at_length(weights[name], n) for name, n in lengths.items()}}

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Posterior over the latent of a clip whose pixels are in [-1, 1].

        PVDM has no posterior: unless the config sets ``std``, the log-variance is at its minimum,
        and a sample is the mean to the precision of float32.

        Raises:
            ValueError: the clip's size is not the config's ``clip``.
        """
        if video.shape[2:] != self.config.clip:
            raise ValueError(
                f"a clip of {_size(video.shape[2:])} (frames, height, width) cannot be encoded; "
                f"this autoencoder takes {_size(self.config.clip)} alone, so cut and resize to that"
            )
        x, back = in_precision_of(self, video)
        mean = back(self.config.planes.join(*self.encoder(x)))
        return Posterior(mean=mean, log_variance=torch.full_like(mean, self._log_variance))

    def decode(self, z: Float[Tensor, "b c n"]) -> Float[Tensor, "b 3 t h w"]:
        """Pixels, in (-1, 1), of the clip that a latent encodes.

        Raises:
            ValueError: the latent's shape is not that of ``spec``.
        """
        if z.shape[1:] != self.spec.shape:
            raise ValueError(
                f"a latent of shape {tuple(z.shape[1:])} cannot be decoded; this autoencoder's "
                f"have shape {self.spec.shape}, of clips of {_size(self.config.clip)} (frames, "
                "height, width)"
            )
        z, back = in_precision_of(self, z)
        return back(self.decoder(*self.config.planes.split(z)))

    def stream_decoder(self, *, clip_overlap: int = 0) -> ClipDecoder:
        """A new decoder of clips that each share ``clip_overlap`` frames with the clip before.

        A ValueError if ``clip_overlap`` is not from 0 to a clip's frames minus 1.
        """
        return ClipDecoder(self, clip_overlap)


class TriplaneEncoder(nn.Module):
    """Maps a clip to three planes: a transformer over its patches, then pooling along each axis."""

    def __init__(self, config: TriplaneAutoencoderConfig) -> None:
        super().__init__()
        self.patch, planes = config.patch, config.planes
        self.embed = nn.Linear(3 * config.patch**2, config.width)
        self.transformer = config.transformer()
        self.content = AxisPool(config, planes.frames)
        self.motion_h = AxisPool(config, planes.width)
        self.motion_w = AxisPool(config, planes.height)

    def forward(
        self, video: Float[Tensor, "b 3 t h2 w2"]
    ) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b d t h"], Float[Tensor, "b d t w"]]:
        """Encode pixels in [-1, 1] to the planes of content, motion along height, and along width.

        Values of the planes are in (-1, 1).
        """
        patches = rearrange(
            video, "b c t (h i) (w j) -> b t h w (i j c)", i=self.patch, j=self.patch
        )
        x = self.transformer(self.embed(patches))
        content = self.content(rearrange(x, "b t h w c -> b h w t c"))
        motion_w = self.motion_w(rearrange(x, "b t h w c -> b t w h c"))
        return content, self.motion_h(x), motion_w


class AxisPool(nn.Module):
    """A transformer that reduces the ``length`` tokens along one axis of a clip to one vector.

    As in the official code, a learned token is appended to these tokens, yet the result is the
    output at the first of them, not at the learned one.
    """

    def __init__(self, config: TriplaneAutoencoderConfig, length: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, config.width))
        self.position = nn.Parameter(torch.randn(1, length + 1, config.width))
        self.layers = nn.ModuleList(PoolLayer(config) for _ in range(config.pool_depth))
        self.project = nn.Linear(config.width, config.embed_dim)

    def forward(self, x: Float[Tensor, "b i j n c"]) -> Float[Tensor, "b d i j"]:
        """Pool tokens along axis ``n`` into vectors in (-1, 1)."""
        lines = x.flatten(0, 2)
        lines = torch.cat([lines, self.token.to(x.dtype).expand(len(lines), -1, -1)], 1)
        lines = lines + self.position
        for layer in self.layers:
            lines = layer(lines)
        plane = self.project(lines[:, 0]).unflatten(0, x.shape[:3])
        return rearrange(plane, "b i j d -> b d i j").tanh()


class PoolLayer(nn.Module):
    """A pre-norm transformer layer: self-attention and a two-layer MLP, both residual."""

    def __init__(self, config: TriplaneAutoencoderConfig) -> None:
        super().__init__()
        width, hidden, head_channels = config.width, config.pool_hidden, config.pool_head_channels
        norm, heads = nn.LayerNorm(width), config.pool_heads
        self.attention = SelfAttention(
            width, heads, norm, "space", head_channels=head_channels, bias=False
        )
        into, out = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.mlp = nn.Sequential(
            OrderedDict(norm=nn.LayerNorm(width), hidden=into, gelu=nn.GELU(), out=out)
        )

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        x = self.attention(x[:, None, None])[:, 0, 0]
        return x + self.mlp(x)


class TriplaneDecoder(nn.Module):
    """Maps three planes to a clip in (-1, 1) by a transformer over the clip's patches.

    A patch's token is the sum of linear projections of its three positions, one on each plane.
    """

    def __init__(self, config: TriplaneAutoencoderConfig) -> None:
        super().__init__()
        self.content, self.motion_h, self.motion_w = (
            nn.Linear(config.embed_dim, config.width) for _ in range(3)
        )
        self.transformer = config.transformer()
        self.to_pixel = nn.ConvTranspose2d(config.width, 3, config.patch, config.patch)

    def forward(
        self,
        content: Float[Tensor, "b d h w"],
        motion_h: Float[Tensor, "b d t h"],
        motion_w: Float[Tensor, "b d t w"],
    ) -> Float[Tensor, "b 3 t h2 w2"]:
        x = self.content(rearrange(content, "b d h w -> b 1 h w d"))
        x = x + self.motion_h(rearrange(motion_h, "b d t h -> b t h 1 d"))
        x = x + self.motion_w(rearrange(motion_w, "b d t w -> b t 1 w d"))
        x = rearrange(self.transformer(x), "b t h w c -> (b t) c h w")
        logits = rearrange(self.to_pixel(x), "(b t) c h w -> b c t h w", b=len(content))
        return 2 * logits.sigmoid() - 1


def _at_length(position: Float[Tensor, "1 n c"], length: int) -> Float[Tensor, "1 m c"]:
    """Embeddings of the positions of a line, interpolated to ``length``, the learned token last."""
    if position.shape[1] == length:
        return position
    along = F.interpolate(position[:, :-1].mT.float(), size=length - 1, mode="linear").mT
    return torch.cat([along.to(position.dtype), position[:, -1:]], 1)


def _size(axes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in axes)
