"""Group normalisation on a CUDA device: two kernels of Triton, which reads ``x`` twice.

The first takes mean and squared deviations of parts of a sample, the second combines them,
normalises, modulates and applies SiLU. PyTorch's own operator wants the channels before the
positions, so that a channels-last network would copy twice, and it has no SiLU and no modulation.

Triton is imported here alone; it comes with PyTorch for CUDA.
"""

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

TILE = 4096  # values that a program holds at a time
PROGRAMS = 512  # a few for each multiprocessor
MOST_PARTS = 64  # of a sample


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
    1, c) or None. Returns the result, and mean and reciprocal standard deviation of each group.
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
    mean, rstd = (torch.empty(rows, groups, device=x.device, dtype=torch.float32) for _ in range(2))
    sizes = {"WIDTH": width, "GROUPS_2": groups_2, "WIDTH_2": width_2, "BLOCK": block}
    total = parts * positions
    _moments[(rows, split)](x, partial, total, count, split, rows, groups, **sizes)
    tiles = -(-positions // block)
    each = max(1, rows * parts * tiles // (4 * PROGRAMS))
    modulated = scale is not None
    _normalise[(rows, parts, -(-tiles // each))](
        *(x, y, partial, mean, rstd, weight, bias),
        *((scale, shift) if modulated else (weight, bias)),
        *_strides(weight),
        *(_strides(scale) if scale is not None else (0, 0)),
        *(_strides(shift) if shift is not None else (0, 0)),
        *(total, count, split, rows, groups, parts, positions, each, eps),
        **sizes,
        SPLIT_2=triton.next_power_of_2(split),
        SILU=silu,
        MODULATED=modulated,
    )
    return y, mean, rstd


def _strides(x: Tensor) -> tuple[int, int]:
    """Strides of rows and of parts, 0 where all share one."""
    if x.ndim == 1:
        return 0, 0
    return tuple(x.stride(axis) if x.shape[axis] > 1 else 0 for axis in (0, 1))  # pyright: ignore[reportReturnType]


@triton.jit
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
    """Mean and sum of squared deviations of ``count`` positions of a row, of each group."""
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
        deviation = tl.where(here, values - mean[None, :, None], 0.0)
        squares += tl.sum(tl.sum(deviation * deviation, 2), 0)
    group = tl.arange(0, GROUPS_2)
    out = partial + (row * split + part) * groups + group
    tl.store(out, mean, mask=group < groups)
    tl.store(out + rows * split * groups, squares, mask=group < groups)


@triton.jit
def _normalise(  # noqa: PLR0913, PLR0915
    x,
    y,
    partial,
    mean_out,
    rstd_out,
    weight,
    bias,
    scale,
    shift,
    weight_row,
    weight_part,
    scale_row,
    scale_part,
    shift_row,
    shift_part,
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
):
    """Combine the parts' moments, and normalise ``each`` tiles of a part of a row."""
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    s, group = tl.arange(0, SPLIT_2)[:, None], tl.arange(0, GROUPS_2)
    there = (s < split) & (group[None, :] < groups)
    moments = partial + (row * split + s) * groups + group[None, :]
    means = tl.load(moments, mask=there, other=0.0)
    squares = tl.load(moments + rows * split * groups, mask=there, other=0.0)
    numbers = tl.where(s < split, tl.minimum(total - s * count, count), 0) * 1.0
    mean = tl.sum(means * numbers, 0) / total
    apart = tl.where(there, means - mean[None, :], 0.0)
    variance = (tl.sum(squares, 0) / WIDTH + tl.sum(apart * apart * numbers, 0)) / total
    rstd = 1.0 / tl.sqrt(variance + eps)
    if (part == 0) & (tl.program_id(2) == 0):
        tl.store(mean_out + row * groups + group, mean, mask=group < groups)
        tl.store(rstd_out + row * groups + group, rstd, mask=group < groups)
    g, d = group[:, None], tl.arange(0, WIDTH_2)[None, :]
    inside, channel = (g < groups) & (d < WIDTH), g * WIDTH + d
    own = row * weight_row + part * weight_part + channel
    factor = tl.load(weight + own, mask=inside, other=0.0).to(tl.float32)
    added = tl.load(bias + own, mask=inside, other=0.0).to(tl.float32)
    if MODULATED:
        at_scale = scale + row * scale_row + part * scale_part + channel
        at_shift = shift + row * shift_row + part * shift_part + channel
        larger = 1.0 + tl.load(at_scale, mask=inside, other=0.0).to(tl.float32)
        factor = factor * larger
        added = added * larger + tl.load(at_shift, mask=inside, other=0.0).to(tl.float32)
    factor = factor * rstd[:, None]
    channels = groups * WIDTH
    start = (row * total + part * positions) * channels
    for tile in range(each):
        p = (tl.program_id(2) * each + tile) * BLOCK + tl.arange(0, BLOCK)[:, None, None]
        at = start + p * channels + channel[None, :, :]
        here = inside[None, :, :] & (p < positions)
        values = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
        out = (values - mean[None, :, None]) * factor[None, :, :] + added[None, :, :]
        if SILU:
            out = out * tl.sigmoid(out)
        tl.store(y + at, out.to(y.dtype.element_ty), mask=here)
