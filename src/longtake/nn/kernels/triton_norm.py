"""Group normalisation on a CUDA device: two kernels of Triton, which reads ``x`` twice.

The first takes mean and squared differences from it of parts of a sample, the second combines them,
normalises, modulates and applies SiLU. PyTorch's own operator wants the channels before the
positions, so that a channels-last network would copy twice, and it has no SiLU and no modulation.

Triton is imported here alone; it comes with PyTorch for CUDA.
"""

from typing import Any, cast

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

TILE = 4096  # values that a program holds at a time
PROGRAMS = 512  # a few for each multiprocessor
MOST_PARTS = 64  # of a sample
_jit = cast(Any, triton.jit)


def group_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    groups: int,
    eps: float,
    silu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise contiguous ``x`` of shape (rows, m, n, c); see ``longtake.nn.formulas``.

    ``weight`` and ``bias`` are of shape (c) or (rows, m, 1, c), ``scale`` and ``shift`` (rows, m,
    1, c), or None for no modulation. Returns the result, and mean and reciprocal std of each group.
    """
    rows, parts, positions, channels = x.shape
    width = channels // groups
    groups_2, width_2 = triton.next_power_of_2(groups), triton.next_power_of_2(width)
    block = max(1, TILE // (groups_2 * width_2))
    split = min(MOST_PARTS, -(-PROGRAMS // rows), -(-parts * positions // block))
    count = -(-parts * positions // split)
    split = -(-parts * positions // count)
    y = torch.empty_like(x)
    partial = torch.empty(2, rows, split, groups, device=x.device, dtype=torch.float32)
    moments = torch.empty(2, rows, groups, device=x.device, dtype=torch.float32)
    sizes = {"WIDTH": width, "GROUPS_2": groups_2, "WIDTH_2": width_2, "BLOCK": block}
    total = parts * positions
    _moments[(rows, split)](x, partial, total, count, split, rows, groups, **sizes)
    tiles = -(-positions // block)
    each = max(1, rows * parts * tiles // (4 * PROGRAMS))
    if scale is None or shift is None:
        scale, shift = weight, bias  # not read
    elif scale.stride() != shift.stride():
        scale, shift = scale.contiguous(), shift.contiguous()
    scale_row, scale_part = _strides(scale)
    _normalise[(rows, parts, -(-tiles // each))](
        *(x, y, partial, moments, weight.contiguous(), bias.contiguous(), scale, shift),
        *(scale_row, scale_part, total, count, split, rows, groups, parts, positions, each, eps),
        **sizes,
        SPLIT_2=triton.next_power_of_2(split),
        SILU=silu,
        MODULATED=scale is not weight,
        LEARNED=weight.ndim == 1,
    )
    mean, rstd = moments
    return y, mean, rstd


def _strides(x: Tensor) -> tuple[int, int]:
    """Strides of the axes rows and m of a weight or bias; 0 where all entries share one."""
    if x.ndim == 1:
        return 0, 0
    return tuple(x.stride(axis) if x.shape[axis] > 1 else 0 for axis in (0, 1))  # pyright: ignore[reportReturnType]


@_jit
def _moments(  # noqa: PLR0913
    x,
    partial,
    total,
    count,
    split,
    rows,
    groups,
    WIDTH: tl.constexpr,  # noqa: N803
    GROUPS_2: tl.constexpr,  # noqa: N803
    WIDTH_2: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    """Mean, and sum of squared differences from it, of each group in ``count`` positions."""
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    g, d = tl.arange(0, GROUPS_2)[None, :, None], tl.arange(0, WIDTH_2)[None, None, :]
    inside = (g < groups) & (d < WIDTH)
    first, channels = part * count, groups * WIDTH
    last = tl.minimum(first + count, total)
    start = x + row * total * channels + g * WIDTH + d
    number = (last - first) * WIDTH
    mean = tl.zeros([GROUPS_2], tl.float32)
    for at in range(first, last, BLOCK):
        p = at + tl.arange(0, BLOCK)[:, None, None]
        values = tl.load(start + p * channels, mask=inside & (p < last), other=0.0).to(tl.float32)
        mean += tl.sum(tl.sum(values, 2), 0)
    mean = mean / number
    squares = tl.zeros([GROUPS_2], tl.float32)
    for at in range(first, last, BLOCK):
        p = at + tl.arange(0, BLOCK)[:, None, None]
        here = inside & (p < last)
        values = tl.load(start + p * channels, mask=here, other=0.0).to(tl.float32)
        apart = tl.where(here, values - mean[None, :, None], 0.0)
        squares += tl.sum(tl.sum(apart * apart, 2), 0)
    group = tl.arange(0, GROUPS_2)
    out = partial + (row * split + part) * groups + group
    tl.store(out, mean, mask=group < groups)
    tl.store(out + rows * split * groups, squares, mask=group < groups)


@_jit
def _combined(  # noqa: PLR0913
    moments,
    squares_at,
    total,
    count,
    split,
    groups,
    WIDTH: tl.constexpr,  # noqa: N803
    GROUPS_2: tl.constexpr,  # noqa: N803
    SPLIT_2: tl.constexpr,  # noqa: N803
):
    """Mean and variance of each group of a row, from those of its parts (Chan et al. 1979)."""
    s, group = tl.arange(0, SPLIT_2)[:, None], tl.arange(0, GROUPS_2)[None, :]
    there = (s < split) & (group < groups)
    at = moments + s * groups + group
    means = tl.load(at, mask=there, other=0.0)
    squares = tl.load(at + squares_at, mask=there, other=0.0)
    numbers = tl.where(s < split, tl.minimum(total - s * count, count), 0) * 1.0
    mean = tl.sum(means * numbers, 0) / total
    apart = tl.where(there, means - mean[None, :], 0.0)
    between = tl.sum(apart * apart * numbers, 0)
    return mean, (tl.sum(squares, 0) / WIDTH + between) / total


@_jit
def _loaded(first, second, inside):
    one = tl.load(first, mask=inside, other=0.0).to(tl.float32)
    return one, tl.load(second, mask=inside, other=0.0).to(tl.float32)


@_jit
def _normalise(  # noqa: PLR0913
    x,
    y,
    partial,
    moments,
    weight,
    bias,
    scale,
    shift,
    scale_row,
    scale_part,
    total,
    count,
    split,
    rows,
    groups,
    parts,
    positions,
    each,
    eps,
    WIDTH: tl.constexpr,  # noqa: N803
    GROUPS_2: tl.constexpr,  # noqa: N803
    WIDTH_2: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
    SPLIT_2: tl.constexpr,  # noqa: N803
    SILU: tl.constexpr,  # noqa: N803
    MODULATED: tl.constexpr,  # noqa: N803
    LEARNED: tl.constexpr,  # noqa: N803  # weights are the same for all rows and parts
):
    """Combine the parts' moments, and normalise ``each`` tiles of a part of a row."""
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    own, apart, group = (
        partial + row * split * groups,
        rows * split * groups,
        tl.arange(0, GROUPS_2),
    )
    mean, variance = _combined(own, apart, total, count, split, groups, WIDTH, GROUPS_2, SPLIT_2)
    rstd = 1.0 / tl.sqrt(variance + eps)
    group = tl.arange(0, GROUPS_2)
    if (part == 0) & (tl.program_id(2) == 0):
        tl.store(moments + row * groups + group, mean, mask=group < groups)
        tl.store(moments + (rows + row) * groups + group, rstd, mask=group < groups)
    g, d = group[:, None], tl.arange(0, WIDTH_2)[None, :]
    inside, channel = (g < groups) & (d < WIDTH), g * WIDTH + d
    learned = channel if LEARNED else (row * parts + part) * groups * WIDTH + channel
    factor, added = _loaded(weight + learned, bias + learned, inside)
    if MODULATED:
        own = row * scale_row + part * scale_part + channel
        larger, moved = _loaded(scale + own, shift + own, inside)
        factor, added = factor * (1.0 + larger), added * (1.0 + larger) + moved
    factor = factor * rstd[:, None]
    for tile in range(each):
        p = (tl.program_id(2) * each + tile) * BLOCK + tl.arange(0, BLOCK)[:, None, None]
        at = (row * total + part * positions + p) * groups * WIDTH + channel[None, :, :]
        here = inside[None, :, :] & (p < positions)
        values = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
        out = (values - mean[None, :, None]) * factor[None, :, :] + added[None, :, :]
        if SILU:
            out = out * tl.sigmoid(out)
        tl.store(y + at, out.to(y.dtype.element_ty), mask=here)
