"""PVDM's denoiser: a 2D UNet that three planes share, with attention across the planes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.denoisers.triplane_levels import middle, on_planes, way_down, way_up
from longtake.denoisers.unet_config import Count, UNetConfig, rows
from longtake.diffusion.process import Denoiser, Embedding
from longtake.latents import LatentSpec, Triplane
from longtake.nn.embedding import TimeEmbedding
from longtake.nn.frame_conv import FrameConv
from longtake.nn.norm import GroupNorm


class TriplaneUNetConfig(UNetConfig):
    """The defaults are the paper's PVDM-L, 528 million parameters.

    PVDM-S, 132 million, is ``model_channels=128``. Weights do not depend on the extent of the
    planes, which ``latent`` gives. Attention across the planes follows every block.

    Attributes:
        bounds: least and greatest value of a latent, to which estimates are clamped in sampling;
            PVDM's autoencoder ends in a tanh. None: no bound.
        clip_overlap_frames: frames of video that each clip shares with the clip before it. Neither
            PVDM's paper nor its code has any, and their clips join with a jump, as each has
            its own decoding error.
        num_heads: heads of every attention.
        head_channels: width of a head; where given, ``num_heads`` is not used.
        previous: the network reads the latent of the clip before.
        plane_embed: add a learned vector per plane to its features. The released networks have
            none and cannot distinguish the two motion planes of square frames: from
            pure noise they swap them about half of the time.
    """

    kind: Literal["triplane_unet"] = "triplane_unet"
    latent: tuple[Count, Count, Count, Count] = (4, 16, 32, 32)
    bounds: tuple[float, float] | None = (-1.0, 1.0)
    clip_overlap_frames: Annotated[int, Ge(0)] = 0
    channel_mult: tuple[Count, ...] = (1, 2, 4, 4)
    num_res_blocks: Count = 2
    attention_resolutions: tuple[Annotated[int, Ge(1)], ...] = (1, 2, 4)
    num_heads: Count = 8
    head_channels: Count | None = None
    previous: bool = True
    plane_embed: bool = False
    resblock_updown: bool = True

    def planes(self, level: int) -> Triplane:
        """Extent of the planes at a level; 0 has full resolution."""
        frames, height, width = (size // 2**level for size in self.latent[1:])
        return Triplane(frames=frames, height=height, width=width)

    @model_validator(mode="after")
    def _planes_fit(self) -> "TriplaneUNetConfig":
        if any(size % self.reduction for size in self.latent[1:]):
            frames, height, width = self.latent[1:]
            raise ValueError(
                f"planes over {frames} frames of {height}x{width} cells must be divisible by "
                f"{self.reduction} on every axis, once by two for every level but the first; "
                "change the clip's size or shorten channel_mult"
            )
        if self.bounds is not None and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"bounds={self.bounds} must rise; null leaves latents unbounded")
        return self

    def build(self) -> "TriplaneUNet":
        """Build the network with random weights."""
        return TriplaneUNet(self)


class TriplaneUNet(Denoiser):
    """2D UNet (PVDM): ADM's layout, shared by three planes, which see each other."""

    def __init__(self, config: TriplaneUNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, widths = config.latent[0], config.widths
        cells = sum(config.planes(0).cells)
        self.spec = LatentSpec(
            shape=(channels, cells),
            clip=config.clip,
            frame_axis=None,
            bounds=config.bounds,
            clip_overlap_frames=config.clip_overlap_frames,
        )
        reads = {"previous": config.previous, "label": config.num_classes is not None}
        self.reads = frozenset(name for name, read in reads.items() if read)
        self.time_embed = TimeEmbedding(config.model_channels, config.embedding)
        self.label_embed = config.table(config.num_classes)
        self.conv_in = FrameConv(channels * (1 + config.previous), widths[0])
        self.plane_embed = nn.Embedding(3, widths[0]) if config.plane_embed else None
        skips = [widths[0]]
        self.down = way_down(config, skips)
        self.middle = middle(config)
        self.up = way_up(config, skips)
        self.norm_out = GroupNorm(widths[0], config.groups, silu=True)
        self.conv_out = config.output()

    def prepare(self, signals: Mapping[str, Tensor], embedding: Embedding) -> "_Prepared":
        """Signals in the precision of the weights."""
        previous, label = signals.get("previous"), signals.get("label")
        return _Prepared(
            embedding=embedding,
            previous=None if previous is None else previous.to(self.dtype),
            label=None if label is None else label.long(),
        )

    def forward(
        self, z: Float[Tensor, "b c n"], t: Float[Tensor, "..."], prepared: "_Prepared"
    ) -> Float[Tensor, "b c n"]:
        """Predict from ``z`` at time ``t``."""
        self.check_times(z, t)
        emb = F.silu(self._embed(t, prepared))[:, None]
        planes = self.config.planes(0)
        x = on_planes(self.conv_in, self._input(z, prepared.previous), planes)
        if self.plane_embed is not None:
            parts = zip(self.plane_embed.weight, planes.cells, strict=True)
            x = x + torch.cat([row.expand(cells, -1) for row, cells in parts])
        skips = [x]
        for block in self.down:
            x = block(x, emb)
            skips.append(x)
        x = self.middle(x, emb)
        for block in self.up:
            x = block(torch.cat([x, skips.pop()], dim=-1), emb)
        out = on_planes(lambda stack: self.conv_out(self.norm_out(stack)), x, planes)
        return out.transpose(1, 2).contiguous()

    def _input(self, z: Tensor, previous: Tensor | None) -> Float[Tensor, "b n c"]:
        for name, latent in (("latent", z), ("latent of the clip before", previous)):
            if latent is not None and latent.shape[1:] != self.spec.shape:
                raise ValueError(
                    f"a {name} of shape {tuple(latent.shape[1:])} must be {self.spec.shape}: "
                    f"channels and the cells of planes over {self.config.latent[1:]}; build the "
                    "network with the latent's extent, which its weights do not depend on"
                )
        if self.config.previous:
            z = torch.cat([z, torch.zeros_like(z) if previous is None else previous], dim=1)
        return z.transpose(1, 2)

    def _embed(self, t: Tensor, prepared: "_Prepared") -> Float[Tensor, "b d"]:
        emb = self.time_embed(prepared.embedding(t))
        if self.label_embed is not None and prepared.label is not None:
            emb = emb + rows(self.label_embed, prepared.label)
        return emb


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """Signals as the network reads them, and the embedding of the noise schedule."""

    embedding: Embedding
    previous: Float[Tensor, "b c n"] | None
    label: Int[Tensor, "b"] | None
