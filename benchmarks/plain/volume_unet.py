"""LVDM's UNet written the plain way: real 3D convolutions, every attention score in memory.

Channels first throughout, ``nn.Conv3d`` of kernel (1, 3, 3), ``nn.GroupNorm``, and attention as
products and a softmax. Modules have the official names, so official weights load as they are.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of a plain network.

    Attributes:
        checkpointed: compute activations again on the way back, as the official configs do.
        groups: of every normalisation.
        masked: an input channel says which frames are given ("concat-adm-mask").
        frame_times: the embedding of given frames is that of their own time ("time_embed").
        classes: number of classes, or None.
        official_key: the term of relative keys, transposed, as in the released models.
    """

    checkpointed: bool = False
    groups: int = 32
    masked: bool = False
    frame_times: bool = False
    classes: int | None = None
    official_key: bool = True


def frame_conv(channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels, out_channels, (1, 3, 3), (1, stride, stride), (0, 1, 1))


class ResBlock(nn.Module):
    def __init__(
        self, channels: int, out_channels: int, embedding: int, checkpointed: bool, groups: int
    ):
        super().__init__()
        self.checkpointed = checkpointed
        self.in_layers = nn.Sequential(
            nn.GroupNorm(groups, channels), nn.SiLU(), frame_conv(channels, out_channels)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, out_channels),
            nn.SiLU(),
            nn.Dropout(0.0),
            frame_conv(out_channels, out_channels),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv3d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return _maybe_checkpointed(self._compute, self.checkpointed, x, emb)

    def _compute(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.in_layers(x)
        out = self.emb_layers(emb)
        out = out[:, :, None] if out.ndim == 2 else out.transpose(1, 2)  # of a clip, or of frames
        scale, shift = out[..., None, None].chunk(2, dim=1)
        h = self.out_layers[0](h) * (1 + scale) + shift
        return self.skip_connection(x) + self.out_layers[1:](h)


class RelativePosition(nn.Module):
    def __init__(self, width: int, reach: int):
        super().__init__()
        self.reach = reach
        self.embeddings_table = nn.Parameter(torch.empty(2 * reach + 1, width))

    def forward(self, frames: int) -> Tensor:
        at = torch.arange(frames, device=self.embeddings_table.device)
        distance = (at[None] - at[:, None]).clamp(-self.reach, self.reach)
        return self.embeddings_table[distance + self.reach]


class STAttentionBlock(nn.Module):
    def __init__(self, channels: int, heads: int, reach: int, options: Options):
        super().__init__()
        self.heads, self.checkpointed = heads, options.checkpointed
        self.official_key, groups = options.official_key, options.groups
        self.norm_s = nn.GroupNorm(groups, channels)
        self.norm_t = nn.GroupNorm(groups, channels)
        self.qkv_s = nn.Conv1d(channels, 3 * channels, 1)
        self.qkv_t = nn.Conv1d(channels, 3 * channels, 1)
        self.relative_position_k = RelativePosition(channels // heads, reach)
        self.relative_position_v = RelativePosition(channels // heads, reach)
        self.proj_out_s = nn.Conv1d(channels, channels, 1)
        self.proj_out_t = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return _maybe_checkpointed(self._compute, self.checkpointed, x)

    def _compute(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        y = x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h * w)
        q, k, v = self._heads(self.qkv_s(self.norm_s(y)))
        scale = 1 / math.sqrt(math.sqrt(q.shape[1]))
        weight = torch.einsum("bct,bcs->bts", q * scale, k * scale)
        weight = weight.float().softmax(-1).type(weight.dtype)
        out = torch.einsum("bts,bcs->bct", weight, v).reshape(b * t, c, h * w)
        y = (y + self.proj_out_s(out)).reshape(b, t, c, h, w)
        y = y.permute(0, 3, 4, 2, 1).reshape(b * h * w, c, t)
        q, k, v = self._heads(self.qkv_t(self.norm_t(y)))
        weight = torch.einsum("bct,bcs->bts", q * scale, k * scale)
        if self.official_key:
            key = torch.einsum("bct,tsc->bst", q * scale, self.relative_position_k(t))
        else:
            key = torch.einsum("bct,tsc->bts", q * scale, self.relative_position_k(t)) * scale
        weight = (weight + key).float().softmax(-1).type(weight.dtype)
        out = torch.einsum("bts,bcs->bct", weight, v)
        out = out + torch.einsum("bts,tsc->bct", weight, self.relative_position_v(t))
        y = y + self.proj_out_t(out.reshape(b * h * w, c, t))
        return y.reshape(b, h, w, c, t).permute(0, 3, 4, 1, 2).contiguous()

    def _heads(self, qkv: Tensor) -> tuple[Tensor, ...]:
        parts = qkv.chunk(3, dim=1)
        return tuple(part.reshape(len(qkv) * self.heads, -1, qkv.shape[-1]) for part in parts)


class Downsample(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.op = frame_conv(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = frame_conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        _, _, t, h, w = x.shape
        return self.conv(F.interpolate(x, (t, 2 * h, 2 * w), mode="nearest"))


class Steps(nn.Sequential):
    def forward(self, input: Tensor, emb: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        for layer in self:
            input = layer(input, emb) if isinstance(layer, ResBlock) else layer(input)
        return input


class PlainVolumeUNet(nn.Module):
    """The unconditional model; by its options one that reads a class and context frames.

    Args:
        channels: of the latent.
        width: of the first level; ``mult`` times it of the others.
        mult: one factor a level.
        blocks: residual blocks of a level.
        attend: reductions of the frame at which attention follows every residual block.
        heads: of every attention.
        reach: greatest distance of frames that attention tells apart.
        options: of training, and those in which the shipped models differ from released ones.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        mult: tuple[int, ...],
        *,
        blocks: int,
        attend: tuple[int, ...],
        heads: int,
        reach: int,
        options: Options = Options(),
    ):
        super().__init__()
        self.width, self.options = width, options
        emb = 4 * width
        self.time_embed = nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))
        if options.classes:
            self.label_emb = nn.Embedding(options.classes, emb)

        def residual(before: int, after: int) -> ResBlock:
            return ResBlock(before, after, emb, options.checkpointed, options.groups)

        def attend_all(at: int) -> STAttentionBlock:
            return STAttentionBlock(at, heads, reach, options)

        def attention(at: int, level: int) -> list[nn.Module]:
            return [attend_all(at)] if level in attend else []

        self.input_blocks = nn.ModuleList([Steps(frame_conv(channels + options.masked, width))])
        now, skips = width, [width]
        for level, factor in enumerate(mult):
            for _ in range(blocks):
                block = residual(now, factor * width)
                now = factor * width
                self.input_blocks.append(Steps(block, *attention(now, 2**level)))
                skips.append(now)
            if level < len(mult) - 1:
                self.input_blocks.append(Steps(Downsample(now)))
                skips.append(now)
        self.middle_block = Steps(residual(now, now), attend_all(now), residual(now, now))
        self.output_blocks = nn.ModuleList()
        for level, factor in reversed(list(enumerate(mult))):
            for index in range(blocks + 1):
                block = residual(now + skips.pop(), factor * width)
                now = factor * width
                up = [Upsample(now)] if level and index == blocks else []
                self.output_blocks.append(Steps(block, *attention(now, 2**level), *up))
        self.out = nn.Sequential(
            nn.GroupNorm(options.groups, now), nn.SiLU(), frame_conv(now, channels)
        )

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        mask: Tensor | None = None,
        given_t: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """``mask`` (b, 1, f, h, w) is 1 on given frames, whose noise has timestep ``given_t``."""
        emb = self._embed(t, x.dtype)
        if self.options.frame_times and mask is not None and given_t is not None:
            given = mask[:, 0, :, 0, 0, None]
            emb = emb[:, None] * (1 - given) + self._embed(given_t, x.dtype)[:, None] * given
        if label is not None:
            row = self.label_emb(label)
            emb = emb + (row if emb.ndim == 2 else row[:, None])
        if self.options.masked:
            x = torch.cat([x, torch.zeros_like(x[:, :1]) if mask is None else mask], dim=1)
        skips = []
        for block in self.input_blocks:
            x = block(x, emb)
            skips.append(x)
        x = self.middle_block(x, emb)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), emb)
        return self.out(x)

    def _embed(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        half = self.width // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = t[:, None].float() * rates.to(t.device)[None]
        return self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=-1).type(dtype))


def _maybe_checkpointed(compute, wanted: bool, *inputs: Tensor) -> Tensor:
    if wanted and torch.is_grad_enabled():
        return checkpoint(compute, *inputs, use_reentrant=False)  # pyright: ignore[reportReturnType]
    return compute(*inputs)
