"""Embeddings of timesteps, of distances between frames, and of positions by rotation."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoids(
    x: Float[Tensor, "*b"], width: int, period: float = 10_000.0
) -> Float[Tensor, "*b {width}"]:
    """Cosines, then sines, of ``width // 2`` frequencies from 1 to 1 / period; odd: a zero last.

    They are computed in float32, or in float64 if ``x`` is.
    """
    x = x if x.dtype == torch.float64 else x.float()
    half = width // 2
    steps = torch.arange(half, device=x.device, dtype=torch.float32)
    angles = x[..., None] * torch.exp(-math.log(period) / half * steps)
    parts = [angles.cos(), angles.sin(), angles.new_zeros((*x.shape, width % 2))]
    return torch.cat(parts, dim=-1)


class TimeEmbedding(nn.Sequential):
    """Sinusoids of a timestep through two linear layers."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))
        self.width = width

    def forward(self, input: Float[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        """Embed timesteps, in the units that the schedule gives to networks."""
        dtype = next(self.parameters()).dtype
        input = input.to(torch.promote_types(dtype, torch.float32))
        return super().forward(sinusoids(input, self.width).to(dtype))


class RelativePosition(nn.Module):
    """Learned vectors of the distance between frames, for attention (Shaw et al. 2018).

    Two tables, for keys and for values, hold a vector for every distance from ``-max_distance`` to
    ``max_distance``; greater distances share the last. All heads, of ``width`` channels, share the
    tables. For ``official_key`` see ``longtake.nn.formulas.relative_attention``.
    """

    def __init__(self, max_distance: int, width: int, *, official_key: bool = False) -> None:
        super().__init__()
        self.max_distance, self.official_key = max_distance, official_key
        tables = (torch.empty(2 * max_distance + 1, width) for _ in range(2))
        self.key, self.value = (nn.Parameter(nn.init.xavier_uniform_(table)) for table in tables)

    def forward(self, frames: int) -> tuple[Float[Tensor, "f f d"], Float[Tensor, "f f d"]]:
        """Key and value vectors of each pair (from, to) of frames."""
        at = torch.arange(frames, device=self.key.device)
        distance = (at[None, :] - at[:, None]).clamp(-self.max_distance, self.max_distance)
        return self.key[distance + self.max_distance], self.value[distance + self.max_distance]


class Rotation:
    """Rotary embedding: rotates pairs of neighbouring channels by angles of their position (PVDM).

    ``angles``, in radians, are those of each position and channel.
    """

    def __init__(self, angles: Float[Tensor, "n d"]) -> None:
        self.cos, self.sin = angles.cos(), angles.sin()

    def __call__(self, x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
        """Rotate ``x``, computed in float32 at least."""
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([-odd, even], -1).flatten(-2)
        return (x * self.cos + turned * self.sin).to(x.dtype)


def time_rotation(frames: int, width: int, device: torch.device | None = None) -> Rotation:
    """Rotation by the index of a frame, for heads of ``width`` channels.

    Released weights need a quirk of the official code: the two channels of a pair are rotated by
    different angles, for the frequencies lie end to end, not each twice side by side.
    """
    index = torch.arange(frames, device=device, dtype=torch.float32)
    angles = index[:, None] * time_frequencies(width, device)
    return Rotation(torch.cat([angles, angles], -1))


def space_rotation(
    rows: int, columns: int, width: int, device: torch.device | None = None
) -> Rotation:
    """Rotation by a cell's row, in one half of a head's channels, and column, in the other.

    The cells of a frame are in order, row after row.
    """
    frequencies = math.pi * space_scales(width, device)
    across, down = (
        torch.linspace(-1, 1, count, device=device)[:, None] * frequencies
        for count in (columns, rows)
    )
    shape = (rows, columns, width // 4)
    angles = torch.cat([down[:, None].expand(shape), across[None].expand(shape)], -1)
    return Rotation(angles.flatten(0, 1).repeat_interleave(2, -1))


def time_frequencies(width: int, device: torch.device | None = None) -> Float[Tensor, "d"]:
    """Radians per frame of the channel pairs."""
    exponents = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    return 1 / 10000**exponents


def space_scales(width: int, device: torch.device | None = None) -> Float[Tensor, "d"]:
    """Half turns from a frame's middle to its edge, 1 to 5, of the channel pairs of one axis."""
    return torch.logspace(0, math.log2(5), width // 4, base=2, device=device)
