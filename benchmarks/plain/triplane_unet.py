"""PVDM's UNet written the plain way: one plane at a time, every attention score in memory.

Channels first throughout, ``nn.Conv2d``, ``nn.GroupNorm`` in float32, attention as products and a
softmax in float32. Modules have the official names, so official weights load as they are.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Planes = list[Tensor]
"""Content, then motion along the height and along the width, rows of which are frames."""


def conv(channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, padding=1)


class GroupNorm32(nn.GroupNorm):
    def __init__(self, channels: int, groups: int = 32):
        super().__init__(groups, channels)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float()).type(input.dtype)


class ResBlock(nn.Module):
    """``resample`` is "down", "up" or "": average or nearest, on both paths."""

    def __init__(
        self, channels: int, out_channels: int, embedding: int, resample: str = "", groups: int = 32
    ):
        super().__init__()
        self.resample = resample
        self.in_layers = nn.Sequential(
            GroupNorm32(channels, groups), nn.SiLU(), conv(channels, out_channels)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out_channels))
        self.out_layers = nn.Sequential(
            GroupNorm32(out_channels, groups),
            nn.SiLU(),
            nn.Dropout(0.0),
            conv(out_channels, out_channels),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.in_layers[:2](x)
        if self.resample == "down":
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        elif self.resample == "up":
            h, x = (F.interpolate(y, scale_factor=2, mode="nearest") for y in (h, x))
        h = self.in_layers[2](h)
        scale, shift = self.emb_layers(emb)[:, :, None, None].chunk(2, dim=1)
        h = self.out_layers[0](h) * (1 + scale) + shift
        return self.skip_connection(x) + self.out_layers[1:](h)


class AttentionBlock(nn.Module):
    """Over all positions after the first two axes; computed again on the way back, as official."""

    def __init__(self, channels: int, heads: int, groups: int = 32):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm32(channels, groups)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return checkpoint(self._compute, x, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._compute(x)

    def _compute(self, x: Tensor) -> Tensor:
        cells = x.flatten(2)
        qkv = self.qkv(self.norm(cells)).reshape(len(x) * self.heads, -1, cells.shape[-1])
        q, k, v = qkv.chunk(3, dim=1)
        scale = 1 / math.sqrt(math.sqrt(q.shape[1]))
        weight = torch.einsum("bct,bcs->bts", q * scale, k * scale)
        weight = weight.float().softmax(-1).type(weight.dtype)
        out = torch.einsum("bts,bcs->bct", weight, v).reshape(cells.shape)
        return (cells + self.proj_out(out)).reshape(x.shape)


class Steps(nn.Sequential):
    def forward(self, input: Tensor, emb: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        for layer in self:
            input = layer(input, emb) if isinstance(layer, ResBlock) else layer(input)
        return input


@dataclass(frozen=True, kw_only=True)
class Options:
    """In which a plain network may differ from the official one.

    Attributes:
        groups: of every normalisation.
        classes: number of classes, or None.
        plane_embed: a learned vector for each plane.
    """

    groups: int = 32
    classes: int | None = None
    plane_embed: bool = False


class PlainTriplaneUNet(nn.Module):
    """The model that reads the latent of the clip before; zeros stand for none.

    Args:
        latent: channels, frames, height and width.
        width: of the first level; ``mult`` times it of the others.
        mult: one factor a level.
        blocks: residual blocks of a level.
        attend: reductions of the planes at which attention follows every residual block.
        heads: of every attention.
        options: in which the shipped models differ from released ones.
    """

    zeros: Tensor

    def __init__(
        self,
        latent: tuple[int, int, int, int],
        width: int,
        mult: tuple[int, ...],
        *,
        blocks: int,
        attend: tuple[int, ...],
        heads: int,
        options: Options = Options(),
    ):
        super().__init__()
        groups = options.groups
        channels, self.frames, self.rows, self.columns = latent
        self.width = width
        emb = 4 * width
        self.time_embed = nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))
        cells = self.rows * self.columns + self.frames * (self.rows + self.columns)
        self.register_buffer("zeros", torch.zeros(1, channels, cells))
        self.label_emb = nn.Embedding(options.classes, emb) if options.classes else None
        self.plane_emb = nn.Embedding(3, width) if options.plane_embed else None

        def residual(before: int, after: int, resample: str = "") -> ResBlock:
            return ResBlock(before, after, emb, resample, groups)

        def attention(at: int, level: int) -> list[nn.Module]:
            return [AttentionBlock(at, heads, groups)] if level in attend else []

        self.input_blocks = nn.ModuleList([Steps(conv(2 * channels, width))])
        self.input_attns = nn.ModuleList([nn.Identity()])
        now, skips = width, [width]

        def add_input(*layers: nn.Module) -> None:
            self.input_blocks.append(Steps(*layers))
            self.input_attns.append(AttentionBlock(now, heads, groups))
            skips.append(now)

        for level, factor in enumerate(mult):
            for _ in range(blocks):
                before, now = now, factor * width
                add_input(residual(before, now), *attention(now, 2**level))
            if level < len(mult) - 1:
                add_input(residual(now, now, "down"))
        middle = AttentionBlock(now, heads, groups)
        self.middle_block = Steps(residual(now, now), middle, residual(now, now))
        self.mid_attn = AttentionBlock(now, heads, groups)
        self.output_blocks, self.output_attns = nn.ModuleList(), nn.ModuleList()
        for level, factor in reversed(list(enumerate(mult))):
            for index in range(blocks + 1):
                block = residual(now + skips.pop(), factor * width)
                now = factor * width
                up = [residual(now, now, "up")] if level and index == blocks else []
                self.output_blocks.append(Steps(block, *attention(now, 2**level), *up))
                self.output_attns.append(AttentionBlock(now, heads, groups))
        self.out = nn.Sequential(GroupNorm32(now, groups), nn.SiLU(), conv(now, channels))

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        previous: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        half = self.width // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = t[:, None].float() * rates.to(t.device)[None]
        emb = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=-1).type(x.dtype))
        if self.label_emb is not None and label is not None:
            emb = emb + self.label_emb(label)
        x = torch.cat([x, self.zeros.expand_as(x) if previous is None else previous], dim=1)
        planes = self._planes(x)
        skips: list[Planes] = []
        for block, across in zip(self.input_blocks, self.input_attns, strict=True):
            planes = [block(plane, emb) for plane in planes]
            if not isinstance(across, nn.Identity):
                planes = _together(across, planes)
            elif self.plane_emb is not None:
                rows = self.plane_emb.weight[:, :, None, None]
                planes = [plane + row for plane, row in zip(planes, rows, strict=True)]
            skips.append(planes)
        planes = _together(self.mid_attn, [self.middle_block(plane, emb) for plane in planes])
        for block, across in zip(self.output_blocks, self.output_attns, strict=True):
            pairs = zip(planes, skips.pop(), strict=True)
            planes = [block(torch.cat(pair, dim=1), emb) for pair in pairs]
            planes = _together(across, planes)
        return torch.cat([self.out(plane).flatten(2) for plane in planes], dim=-1)

    def _planes(self, x: Tensor) -> Planes:
        shapes = [(self.rows, self.columns), (self.frames, self.rows), (self.frames, self.columns)]
        parts = x.split([math.prod(shape) for shape in shapes], dim=-1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True)]


def _together(attention: nn.Module, planes: Planes) -> Planes:
    """Attention over the positions of all planes."""
    cells = attention(torch.cat([plane.flatten(2) for plane in planes], dim=-1))
    parts = cells.split([plane[0, 0].numel() for plane in planes], dim=-1)
    return [part.reshape(plane.shape) for part, plane in zip(parts, planes, strict=True)]
