"""A plane of clouds that boil and drift, seen in perspective: a sum of waves, not yet coloured.

Any time can be asked directly. Only the rows that a camera sees are ever made, each as fine as its
pixels, so nothing flickers towards the horizon and no supersampling is needed.

Lengths on the plane are in units of the picture's height as seen in the top row.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from longtake.noise import generator

HORIZON = 0.82
"""Where the plane of clouds would end, in heights from the top."""
SKYLINE = 0.80
"""No land is ever lower than this, in heights from the top, so no cloud is needed below it."""
NEARNESS = 0.25
"""Keeps the horizon's clouds at a finite distance, (HORIZON + NEARNESS) / NEARNESS."""
MOST_WAVES = 104
"""Along x; twice as many along z. Draws are always made for all of them."""
SPACING, WIDENING = 0.25, 0.015
"""Wave j has about SPACING (j + WIDENING j^2) cycles a unit: 64 for the last."""
LIGHT_REACH = 0.07
"""How far towards the horizon, in units, light is looked for."""
FALL = 1.75
"""Exponent by which a wave's amplitude falls with its number."""
LONGEST = 0.9
"""Cycles a unit below which waves are held back."""
FINEST = 0.25
"""Cycles a pixel of the top row above which waves are left out."""
STRETCH = 1.25
"""Clouds are longer across the view than along it by so much."""
DTYPE = torch.float64
"""Exact enough that a frame's bytes depend neither on its batch nor on the number of threads."""


@dataclass(frozen=True, kw_only=True)
class CloudPlane:
    """How a picture of one size looks at the plane: shared by all videos.

    Attributes:
        amplitude: of each wave.
        along: synthesis along z at each row, re and im stacked.
        across: synthesis along x, a matrix a row.
        lost: deviation of what is finer than a row's pixels.
        elevation: of each row above the horizon, in heights.
        row, next_row, share: between which rows, and where, lies a place towards the light.
    """

    amplitude: Float[Tensor, "x z"]
    along: Float[Tensor, "z2 n"]
    across: Float[Tensor, "rows x2 w"]
    lost: Float[Tensor, "rows"]
    elevation: Float[Tensor, "rows"]
    row: Int[Tensor, "rows"]
    next_row: Int[Tensor, "rows"]
    share: Float[Tensor, "rows"]

    def behind(self, field: Float[Tensor, "t rows w"]) -> Float[Tensor, "t rows w"]:
        """The field a little towards the horizon, from where its light is taken to come."""
        return torch.lerp(field[:, self.row], field[:, self.next_row], self.share[:, None])


@dataclass(frozen=True, kw_only=True)
class Clouds:
    """The waves of one video.

    Attributes:
        phase: of each wave at time zero, in turns.
        rate: by which it grows a frame, in turns: boiling and wind.
    """

    phase: Float[Tensor, "x z"]
    rate: Float[Tensor, "x z"]

    @classmethod
    def draw(cls, seed: int, wind: tuple[float, float], boil: float) -> "Clouds":
        """Clouds under a wind (x and z, in units a frame). ``boil``: turns a frame at one cycle."""
        x, z = _wave_numbers()
        random = generator(seed, "waves")
        shape = (len(x), len(z))
        phase = torch.rand(shape, generator=random, dtype=torch.float64)
        boiling = torch.randn(shape, generator=random) * boil * _size(x, z).sqrt()
        drift = x[:, None] * wind[0] + z * wind[1]
        return cls(phase=phase, rate=boiling.double() - drift)

    def __call__(self, plane: CloudPlane, times: Float[Tensor, "t"]) -> Float[Tensor, "t rows w"]:
        """The field at some times, in frames; of unit variance where nothing is lost."""
        n, m = plane.amplitude.shape
        turns = self.phase[:n, :m] + times[:, None, None] * self.rate[:n, :m]
        angle = (turns - turns.floor()).float() * (2 * math.pi)
        waves = torch.cat([angle.cos() * plane.amplitude, angle.sin() * plane.amplitude], -1)
        lines = (waves.to(plane.along.dtype) @ plane.along).unflatten(-1, (2, -1))
        lines = rearrange(lines, "t x part rows -> rows t (part x)")
        return rearrange(lines @ plane.across, "rows t w -> t rows w").float()


@lru_cache(maxsize=8)
def cloud_plane(height: int, width: int) -> CloudPlane:
    """The plane of clouds as a picture of one size shows it."""
    rows = math.ceil(SKYLINE * height)
    row = torch.arange(rows, dtype=torch.float64)
    elevation = HORIZON - (row + 0.5) / height
    distance = (HORIZON + NEARNESS) / (elevation + NEARNESS)
    column = (torch.arange(width, dtype=torch.float64) + 0.5 - width / 2) / height
    every_x, every_z = _wave_numbers()
    waves = max(16, int((every_x < FINEST * height).sum()))
    x, z = every_x[:waves], every_z[: 2 * waves]
    blur_x = _blur(x, distance / height)
    blur_z = _blur(z, distance**2 / (HORIZON + NEARNESS) / height)
    power = _amplitude(every_x, every_z).square()
    power = power / (power.sum() / 2)
    amplitude = power[:waves, : 2 * waves].sqrt()
    kept = (blur_x.square() @ amplitude.square() * blur_z.square()).sum(1) / 2
    at = 2 * math.pi * z[:, None] * distance
    cosine, sine = at.cos() * blur_z.T, at.sin() * blur_z.T
    at = 2 * math.pi * x[:, None] * (distance[:, None, None] * column)
    across = torch.cat([at.cos(), -at.sin()], 1) * blur_x.repeat(1, 2)[..., None]
    towards = (HORIZON + NEARNESS) / (distance + LIGHT_REACH) - NEARNESS
    towards = ((HORIZON - towards) * height - 0.5).clamp(0, rows - 1)
    return CloudPlane(
        amplitude=amplitude.float(),
        along=torch.cat([torch.cat([cosine, sine], 1), torch.cat([-sine, cosine], 1)]).to(DTYPE),
        across=across.to(DTYPE),
        lost=(1 - kept).clamp(min=0).sqrt().float(),
        elevation=elevation.float(),
        row=towards.floor().long(),
        next_row=towards.ceil().long(),
        share=towards.frac().float(),
    )


@lru_cache(maxsize=1)
def _wave_numbers() -> tuple[Float[Tensor, "x"], Float[Tensor, "z"]]:
    """Cycles a unit, unevenly spaced so that no sky repeats; along z in both signs, by size."""
    random = generator(0, "sky", "wave numbers")
    jitter = torch.rand((3, MOST_WAVES), generator=random, dtype=torch.float64)
    steps = torch.arange(MOST_WAVES) + jitter
    cycles = SPACING * (steps + WIDENING * steps**2)
    return cycles[0], torch.stack([cycles[1], -cycles[2]], 1).flatten()


def _amplitude(x: Float[Tensor, "x"], z: Float[Tensor, "z"]) -> Float[Tensor, "x z"]:
    """Falls with the wave number; the longest are held back, so that no view is all cloud.

    A wave stands for all those nearer to it than to the next, so it has their power.
    """
    size = _size(x, z)
    room = _room(x)[:, None] * _room(z)
    return room.sqrt() * size**-FALL * (1 - torch.exp(-((size / LONGEST) ** 4)))


def _room(waves: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Spacing of the waves around each: d(cycles)/d(j)."""
    return torch.sqrt(1 + 4 * WIDENING * waves.abs() / SPACING)


def _size(x: Float[Tensor, "x"], z: Float[Tensor, "z"]) -> Float[Tensor, "x z"]:
    return torch.hypot(x[:, None], z / STRETCH)


def _blur(waves: Float[Tensor, "n"], pixel: Float[Tensor, "rows"]) -> Float[Tensor, "rows n"]:
    """How much of each wave is left within a pixel of some length: a Gaussian of half its size."""
    return torch.exp(-((math.pi * waves * pixel[:, None]) ** 2) / 2)
