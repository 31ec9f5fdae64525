"""Blocks of the triplane UNet: layers that the planes share, then attention across the planes."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.denoisers.levels import doubling, halving, residual
from longtake.latents import Triplane
from longtake.nn.attention import SelfAttention, head_count
from longtake.nn.kernels.differentiation import recompute
from longtake.nn.norm import GroupNorm

if TYPE_CHECKING:
    from longtake.denoisers.triplane_unet import TriplaneUNetConfig


class Block(nn.Module):
    """Layers on each plane alone, then attention across the planes; all planes share weights.

    Args:
        config: config of the network.
        level: level of the planes that it is given; 0 has full resolution.
        layers: layers in order; they may halve or double the planes.
        channels: number of channels after the layers.
    """

    def __init__(
        self, config: "TriplaneUNetConfig", level: int, layers: Iterable[nn.Module], channels: int
    ) -> None:
        super().__init__()
        self.planes = config.planes(level)
        self.checkpoint = config.checkpoint
        self.layers = nn.ModuleList(layers)
        self.across = _attention(config, channels)

    def forward(
        self, x: Float[Tensor, "b n c"], emb: Float[Tensor, "b 1 d"]
    ) -> Float[Tensor, "b n2 c2"]:
        """Apply the layers to each plane, then attend over the cells of all of them."""
        return recompute(self._compute, x, emb) if self.checkpoint else self._compute(x, emb)

    def _compute(self, x: Tensor, emb: Tensor) -> Tensor:
        def run(stack: Tensor) -> Tensor:
            rows = emb.repeat_interleave(len(stack) // len(emb), 0)
            for layer in self.layers:
                attention = isinstance(layer, SelfAttention)
                stack = layer(stack) if attention else layer(stack, rows)
            return stack

        cells = on_planes(run, x, self.planes)
        return self.across(cells[:, None, :, None])[:, 0, :, 0]


def on_planes(
    layer: Callable[[Tensor], Tensor], x: Float[Tensor, "b n c"], planes: Triplane
) -> Float[Tensor, "b n2 c2"]:
    """Apply a layer to each plane.

    Planes of one shape, as the motion planes of square frames are, go through it as one batch.

    Args:
        layer: maps ``(rows, 1, h, w, c)`` to the same; it must treat every row alone.
        x: cells of the planes, end to end.
        planes: extent of the planes.
    """
    t, h, w = planes.frames, planes.height, planes.width
    stacks = [(shape, len(list(run))) for shape, run in groupby([(h, w), (t, h), (t, w)])]
    parts = x.split([count * rows * columns for (rows, columns), count in stacks], dim=1)
    out: list[Tensor] = []
    for part, ((rows, columns), count) in zip(parts, stacks, strict=True):
        stack = part.reshape(len(x) * count, 1, rows, columns, -1).contiguous()
        made = layer(stack)
        out.append(made.reshape(len(x), -1, made.shape[-1]))
    return torch.cat(out, dim=1)


def way_down(config: "TriplaneUNetConfig", skips: list[int]) -> nn.ModuleList:
    """Blocks from full resolution to the coarsest; the width of each is appended to ``skips``."""
    blocks = nn.ModuleList()
    for level, width in enumerate(config.widths):
        for _ in range(config.num_res_blocks):
            layers = _step(config, level, skips[-1], width)
            blocks.append(Block(config, level, layers, width))
            skips.append(width)
        if level < len(config.widths) - 1:
            blocks.append(Block(config, level, [halving(config, width)], width))
            skips.append(width)
    return blocks


def middle(config: "TriplaneUNetConfig") -> Block:
    """The block at the coarsest resolution."""
    width = config.widths[-1]
    first, second = (residual(config, width, width) for _ in range(2))
    layers = [first, _attention(config, width), second]
    return Block(config, len(config.widths) - 1, layers, width)


def way_up(config: "TriplaneUNetConfig", skips: list[int]) -> nn.ModuleList:
    """Blocks from the coarsest resolution to the full one; each reads the last of ``skips``.

    The last block of a level doubles its planes before it attends across them.
    """
    blocks = nn.ModuleList()
    before = config.widths[-1]
    for level in reversed(range(len(config.widths))):
        width = config.widths[level]
        for step in range(config.num_res_blocks + 1):
            layers = _step(config, level, before + skips.pop(), width)
            if level and step == config.num_res_blocks:
                layers.append(doubling(config, width))
            blocks.append(Block(config, level, layers, width))
            before = width
    return blocks


def _step(
    config: "TriplaneUNetConfig", level: int, channels: int, out_channels: int
) -> list[nn.Module]:
    layers: list[nn.Module] = [residual(config, channels, out_channels)]
    if 2**level in config.attention_resolutions:
        layers.append(_attention(config, out_channels))
    return layers


def _attention(config: "TriplaneUNetConfig", width: int) -> SelfAttention:
    heads = head_count(width, config.num_heads, config.head_channels)
    norm = GroupNorm(width, config.groups)
    return SelfAttention(width, heads, norm, "space", zero=config.zero_init)
