"""Rotary position embeddings of frames and of the cells of a frame (PVDM)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Rotates each pair of neighbouring channels of queries and keys by angles of their position.

    Attributes:
        cos: cosines of the angles of each position and channel.
        sin: sines of the angles.
    """

    cos: Float[Tensor, "n d"]
    sin: Float[Tensor, "n d"]

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
    return _rotation(torch.cat([angles, angles], -1))


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
    return _rotation(angles.flatten(0, 1).repeat_interleave(2, -1))


def time_frequencies(width: int, device: torch.device | None = None) -> Float[Tensor, "d"]:
    """Radians per frame of the channel pairs."""
    exponents = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    return 1 / 10000**exponents


def space_scales(width: int, device: torch.device | None = None) -> Float[Tensor, "d"]:
    """Half turns from a frame's middle to its edge, 1 to 5, of the channel pairs of one axis."""
    return torch.logspace(0, math.log2(5), width // 4, base=2, device=device)


def _rotation(angles: Float[Tensor, "n d"]) -> Rotation:
    return Rotation(cos=angles.cos(), sin=angles.sin())
