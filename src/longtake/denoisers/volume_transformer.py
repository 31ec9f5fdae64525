"""A transformer over the patches of a whole clip (DiT; Peebles and Xie 2023, in space and time)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.config import Config
from longtake.denoisers.unet_config import LabelName, PooledText, Table, class_count, named_rows
from longtake.denoisers.volume_conditions import VolumeConditions
from longtake.diffusion.process import Denoiser, Embedding
from longtake.diffusion.signals import CONTEXT, named_label
from longtake.latents import LatentSpec
from longtake.nn import Count
from longtake.nn.attention import attend
from longtake.nn.embedding import Rotation, TimeEmbedding, sinusoids, time_frequencies
from longtake.nn.layers import set_to_zero


class VolumeTransformerConfig(Config):
    """Settings of a ``VolumeTransformer``.

    A trained network also takes latents of other frame counts, heights and widths than ``latent``.

    Attributes:
        latent: channels, frames, height and width of a clip's latent.
        clip: frames, height and width of the clip in pixels.
        patch: height and width of the square of a latent frame that becomes one token.
        width: number of channels of a token; a multiple of ``8 * num_heads``.
        depth: number of transformer blocks.
        num_heads: number of heads of every attention.
        num_classes: number of classes that the network can be conditioned on; None: it reads no
            class; ``auto``, only in the config of a run: the number of classes of the run's data.
        labels: number of values of each named label that the network reads, each of which can be
            set alone, such as ``{time: 4, cover: 3, wind: 2}``.
        text_width: width of the text encoder's states that the network attends to, and whose mean
            is added to the time embedding; None: it reads no text.
        needs_text: whether a network that reads text must be given a text.
        mask_channel: read which frames are given, as a channel that is 1 on these, and embed the
            time of the noise on them.
        zero_init: the gates of the blocks and the output start at zero, as in DiT.

    Raises:
        ValueError: ``width`` is not a multiple of ``8 * num_heads``, ``patch`` does not divide the
            latent's height and width, or ``needs_text`` is false without text.
    """

    kind: Literal["volume_transformer"] = "volume_transformer"
    latent: tuple[Count, Count, Count, Count]
    clip: tuple[Count, Count, Count] = (16, 256, 256)
    patch: Count = 2
    width: Count = 384
    depth: Count = 12
    num_heads: Count = 6
    num_classes: Count | Literal["auto"] | None = None
    labels: dict[LabelName, Count] = Field(default={}, exclude_if=lambda labels: not labels)
    text_width: Count | None = None
    needs_text: bool = Field(default=True, exclude_if=bool)
    mask_channel: bool = False
    zero_init: bool = True

    @model_validator(mode="after")
    def _sizes_fit(self) -> "VolumeTransformerConfig":
        if self.width % (8 * self.num_heads):
            raise ValueError(
                f"width={self.width} must be a multiple of 8 * num_heads = {8 * self.num_heads}"
            )
        if self.latent[2] % self.patch or self.latent[3] % self.patch:
            raise ValueError(
                f"patch={self.patch} must divide the latent's height and width, "
                f"{self.latent[2]} and {self.latent[3]}"
            )
        if not self.needs_text and self.text_width is None:
            raise ValueError(
                "needs_text=false is for a network that reads text; set text_width, the width of "
                "the text encoder's states"
            )
        return self

    def build(self) -> "VolumeTransformer":
        """Build the network with random weights.

        Raises:
            ValueError: ``num_classes`` is ``auto``, which only the config of a run may have.
        """
        return VolumeTransformer(self)


class VolumeTransformer(Denoiser):
    """Attention among all patches of a clip, with rotary positions in time, rows and columns.

    Time, classes and the mean of a text shift, scale and gate each block, by one layer for all
    blocks and a table for each (adaLN-Zero, Peebles and Xie 2023, section 3.2; adaLN-single, Chen
    et al. 2023, "PixArt-alpha"). Every block also attends to the text's states, whose keys and
    values stand beside those of the clip's patches. LVDM and PVDM have UNets instead.
    """

    per_frame = True

    def __init__(self, config: VolumeTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = LatentSpec(shape=config.latent, clip=config.clip, frame_axis=2)
        reads = dict.fromkeys(CONTEXT, config.mask_channel) | {
            "label": config.num_classes is not None,
            "text": config.text_width is not None,
            **dict.fromkeys(map(named_label, config.labels), True),
        }
        self.reads = frozenset(name for name, read in reads.items() if read)
        self.needs = self.reads & {"text"} if config.needs_text else frozenset()
        self.text_width = config.text_width
        width, values = config.width, config.latent[0] * config.patch**2
        self.time_embed = TimeEmbedding(width, width)
        classes = class_count(config.num_classes)
        self.label_embed = None if classes is None else Table(classes, width)
        self.label_embeds = nn.ModuleDict(
            {n: Table(rows, width) for n, rows in config.labels.items()}
        )
        self.text_embed = None
        if config.text_width is not None:
            self.text_embed = PooledText(config.text_width, width, zero=config.zero_init)
        self.patch_in = nn.Linear(values + config.mask_channel, width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.modulation = nn.Linear(width, 6 * width)
        self.norm_out = nn.Linear(width, 2 * width)
        self.patch_out = nn.Linear(width, values)
        if config.zero_init:
            set_to_zero(self.modulation, self.norm_out, self.patch_out)

    def prepare(self, signals: Mapping[str, Tensor], embedding: Embedding) -> VolumeConditions:
        """Convert signals, once per clip, to what ``forward`` reads, in the weights' dtype.

        ``embedding`` maps a diffusion time in [0, 1] to the value that is embedded.
        """
        text, mask, context_time = signals.get("text"), None, None
        if "context_mask" in signals:
            mask, noise_time = signals["context_mask"], signals["context_noise"]
            known = mask & (noise_time >= 0)[:, None]
            context_time = known, embedding(noise_time.clamp_min(0))
        rows: list[tuple[nn.Module, Tensor]] = []
        if self.label_embed is not None and "label" in signals:
            rows.append((self.label_embed, signals["label"].long()))
        return VolumeConditions(
            embedding=embedding,
            text=None if text is None else text.to(self.dtype),
            mask=None if mask is None else mask.to(self.dtype)[:, :, None, None, None],
            context_time=context_time,
            table_rows=rows + named_rows(self.label_embeds, signals),
        )

    def forward(
        self, z: Float[Tensor, "b c f h w"], t: Float[Tensor, "..."], prepared: VolumeConditions
    ) -> Float[Tensor, "b c f h w"]:
        """Predict noise, clean latent, velocity or flow, as trained, from ``z`` at time ``t``.

        ``t`` is of shape ``(b)`` or ``(b, f)``. Context frames are in their places in ``z``
        already. ``prepared`` is what ``prepare`` returned for the clip.

        Raises:
            ValueError: ``t`` has another shape, or patches do not fill the latent.
        """
        self.check_times(z, t)
        config, frames = self.config, z.shape[2]
        x, rows = self._tokens(z, prepared.mask)
        columns = x.shape[2] // rows
        x = self.patch_in(x) + places(rows, columns, config.width, x)
        emb = F.silu(prepared.frame_embedding(t, self.time_embed, self.text_embed))
        head = config.width // config.num_heads
        rotation = clip_rotation(frames, rows, columns, head, x.device)
        parts = self.modulation(emb)[:, :, None].chunk(6, dim=-1)
        for block in self.blocks:
            x = block(x, parts, prepared.text, rotation)
        shift, scale = self.norm_out(emb)[:, :, None].chunk(2, dim=-1)
        x, patch = self.patch_out(modulated(x, shift, scale)), config.patch
        return rearrange(
            x, "b f (h w) (c p q) -> b c f (h p) (w q)", p=patch, q=patch, h=rows
        ).contiguous()

    def _tokens(self, z: Tensor, mask: Tensor | None) -> tuple[Float[Tensor, "b f n v"], int]:
        """Values of each patch, with the mask's channel if the config has one; rows of patches."""
        patch, (height, width) = self.config.patch, z.shape[3:]
        if height % patch or width % patch:
            raise ValueError(
                f"a latent of {height}x{width} positions must be divisible by patch={patch}; "
                "crop or pad it"
            )
        x = rearrange(z, "b c f (h p) (w q) -> b f (h w) (c p q)", p=patch, q=patch)
        if self.config.mask_channel:
            channel = x.new_zeros((*x.shape[:-1], 1))
            x = torch.cat([x, channel if mask is None else channel + mask[..., 0]], -1)
        return x, height // patch


class Block(nn.Module):
    """Attention of all patches to each other and to the text, then a feed-forward layer."""

    def __init__(self, config: VolumeTransformerConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.num_heads
        self.table = nn.Parameter(torch.zeros(6, width))
        self.qkv = nn.Linear(width, 3 * width)
        self.to_text = (
            None if config.text_width is None else nn.Linear(config.text_width, 2 * width)
        )
        self.out = nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self,
        x: Float[Tensor, "b f n c"],
        parts: Sequence[Float[Tensor, "b _ 1 c"]],  # of each frame, or one for all
        text: Float[Tensor, "b t e"] | None,
        rotation: Rotation,
    ) -> Float[Tensor, "b f n c"]:
        shift, scale, gate, shift2, scale2, gate2 = (
            part + own for part, own in zip(parts, self.table, strict=True)
        )
        x = x + gate * self._attend(modulated(x, shift, scale), text, rotation)
        h = self.outer(F.gelu(self.inner(modulated(x, shift2, scale2)), approximate="tanh"))
        return x + gate2 * h

    def _attend(self, x: Tensor, text: Tensor | None, rotation: Rotation) -> Tensor:
        frames = x.shape[1]
        q, k, v = rearrange(self.qkv(x), "b f n (k h c) -> k b h (f n) c", k=3, h=self.heads)
        q, k = rotation(q), rotation(k)
        if self.to_text is not None and text is not None:
            named = rearrange(self.to_text(text), "b n (k h c) -> k b h n c", k=2, h=self.heads)
            k, v = (torch.cat(pair, dim=2) for pair in zip((k, v), named, strict=True))
        found = attend(q, k, v, long=True)
        return self.out(rearrange(found, "b h (f n) c -> b f n (h c)", f=frames))


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer-normalised ``x`` of last axis c, scaled by ``1 + scale`` and shifted by ``shift``."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)


def places(rows: int, columns: int, width: int, like: Tensor) -> Float[Tensor, "n c"]:
    """Sinusoids of a patch's row in half of ``width`` channels, and of its column in the others."""
    parts = [
        sinusoids(axis.float(), width // 2) for axis in positions((rows, columns), like.device)
    ]
    return torch.cat(parts, -1).to(like.dtype)


def clip_rotation(
    frames: int, rows: int, columns: int, width: int, device: torch.device
) -> Rotation:
    """Rotary embedding of a patch's frame in half of a head's channels, row and column in quarters.

    A head has ``width`` channels, a multiple of 8.
    """
    widths = (width // 2, width // 4, width // 4)
    angles = [
        axis[:, None] * time_frequencies(channels, device, period=100.0)
        for axis, channels in zip(positions((frames, rows, columns), device), widths, strict=True)
    ]
    return Rotation(torch.cat(angles, -1).repeat_interleave(2, -1))


def positions(sizes: Sequence[int], device: torch.device) -> list[Int[Tensor, "n"]]:
    """Index along each axis of all cells of a grid of ``sizes``; the last changes fastest."""
    axes = torch.meshgrid(*(torch.arange(n, device=device) for n in sizes), indexing="ij")
    return [axis.flatten() for axis in axes]
