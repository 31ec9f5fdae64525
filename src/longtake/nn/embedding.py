"""Embeddings of timesteps, of distances between frames, and of positions by rotation."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def sinusoids(
    x: Float[Tensor, "*b"], width: int, period: float = 10_000.0
) -> Float[Tensor, "*b {width}"]:
    """Cosines, then sines, of ``x`` times ``width // 2`` frequencies.

    These fall geometrically from 1 towards 1 / period, which would be the next one, as in ADM's
    code. An odd ``width`` has a zero last. Computed in float32, or in float64 if ``x`` is float64.
    """
    x = x if x.dtype == torch.float64 else x.float()
    half = width // 2
    steps = torch.arange(half, device=x.device, dtype=torch.float32)
    angles = x[..., None] * torch.exp(-math.log(period) / half * steps)
    parts = [angles.cos(), angles.sin(), angles.new_zeros((*x.shape, width % 2))]
    return torch.cat(parts, dim=-1)


class TimeEmbedding(nn.Sequential):
    """Timestep embedding: ``width`` sinusoids, then a linear layer, SiLU and linear layer.

    The linear layers have ``out`` outputs each.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))
        self.width = width

    def forward(self, input: Float[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        """Embed timesteps, such as 0 to 999, that ``NoiseSchedule.embedding`` returns."""
        dtype = next(self.parameters()).dtype
        input = input.to(torch.promote_types(dtype, torch.float32))
        return super().forward(sinusoids(input, self.width).to(dtype))


class RelativePosition(nn.Module):
    """Learned vectors for the distance between two frames, for attention (Shaw et al. 2018).

    Two tables, for keys and for values, hold a vector for every distance from ``-max_distance`` to
    ``max_distance``; greater distances share the last. All heads, each of ``width`` channels, share
    the tables. For ``official_key`` see ``longtake.nn.formulas.relative_attention``.
    """

    def __init__(self, max_distance: int, width: int, *, official_key: bool = False) -> None:
        super().__init__()
        self.max_distance, self.official_key = max_distance, official_key
        tables = (torch.empty(2 * max_distance + 1, width) for _ in range(2))
        self.key, self.value = (nn.Parameter(nn.init.xavier_uniform_(table)) for table in tables)

    def forward(self, frames: int) -> tuple[Float[Tensor, "f f d"], Float[Tensor, "f f d"]]:
        """Vectors to add to keys and to values, for each pair (query, key) of frames."""
        rows = _rows_of_distances(frames, self.max_distance, self.key.device)
        return self.key[rows], self.value[rows]


_ROWS: dict[tuple[int, int, torch.device], Tensor] = {}


def _rows_of_distances(frames: int, max_distance: int, device: torch.device) -> Int[Tensor, "f f"]:
    """Row of a table for each pair (query, key) of frames, cached: each layer asks at each step."""
    key = frames, max_distance, device
    if (found := _ROWS.get(key)) is not None and not torch.compiler.is_compiling():
        return found
    with torch.inference_mode(False):
        at = torch.arange(frames, device=device)
        rows = (at[None, :] - at[:, None]).clamp(-max_distance, max_distance) + max_distance
    if type(rows) is Tensor and not torch.compiler.is_compiling():
        _ROWS[key] = rows  # not the tensors of a tracer
    return rows


class Rotation:
    """Rotary position embedding: rotates each pair of neighbouring channels of a token (PVDM).

    ``angles``, in radians, holds an angle for each token of a sequence and each channel.
    """

    def __init__(self, angles: Float[Tensor, "n d"]) -> None:
        self.cos, self.sin = angles.cos(), angles.sin()

    def __call__(self, x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
        """Rotate queries or keys ``x``, computed in float32 at least."""
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([-odd, even], -1).flatten(-2)
        return (x * self.cos + turned * self.sin).to(x.dtype)


def time_rotation(frames: int, width: int, device: torch.device | None = None) -> Rotation:
    """Rotary embedding of the index of a frame, for heads of ``width`` channels (PVDM).

    As in the official code, and needed by released weights, the two channels of a pair are rotated
    by different angles: the list of frequencies is repeated end to end, not each frequency twice
    side by side. ``device`` is None for torch's default.
    """
    index = torch.arange(frames, device=device, dtype=torch.float32)
    angles = index[:, None] * time_frequencies(width, device)
    return Rotation(torch.cat([angles, angles], -1))


def space_rotation(
    rows: int, columns: int, width: int, device: torch.device | None = None
) -> Rotation:
    """Rotary embedding of a token's row, in half of a head's channels, and column in the others.

    A frame has ``rows`` times ``columns`` tokens, row after row; a head has ``width`` channels, a
    multiple of 4. ``device`` is None for torch's default.
    """
    frequencies = math.pi * space_scales(width, device)
    across, down = (
        torch.linspace(-1, 1, count, device=device)[:, None] * frequencies
        for count in (columns, rows)
    )
    shape = (rows, columns, width // 4)
    angles = torch.cat([down[:, None].expand(shape), across[None].expand(shape)], -1)
    return Rotation(angles.flatten(0, 1).repeat_interleave(2, -1))


def time_frequencies(
    width: int, device: torch.device | None = None, period: float = 10_000.0
) -> Float[Tensor, "d"]:
    """Rotary frequencies along an axis, in radians a step, of the ``width / 2`` pairs of channels.

    They fall geometrically from 1 towards 1 / period. ``width`` is the number of channels of a head
    that turn with the axis; ``device`` is None for torch's default.
    """
    exponents = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    return 1 / period**exponents


def space_scales(width: int, device: torch.device | None = None) -> Float[Tensor, "d"]:
    """Rotary frequencies over height or width, 1 to 5 half turns from a frame's middle to its edge.

    They rise geometrically; ``width // 4`` of them, for a head of ``width`` channels. ``device`` is
    None for torch's default.
    """
    return torch.logspace(0, math.log2(5), width // 4, base=2, device=device)
