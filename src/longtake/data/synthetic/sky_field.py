"""Density of a plane of clouds that boil and drift, seen in perspective: a sum of waves.

Any time can be computed directly. Only visible rows are computed, each band-limited to its pixels,
so nothing flickers towards the horizon and no supersampling is needed.

Projection, with lengths on the picture in picture heights: a row at elevation e above the horizon
sees the plane at distance d = (H + N) / (e + N), H = HORIZON and N = NEARNESS; a column c to the
right of the middle sees x = c d there. The unit of the plane is thus the picture's height as seen
at e = H, the top. A pixel of size p covers p d of the plane across the view, and along it
p |dd/de| = p d^2 / (H + N).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from longtake.noise import generator

HORIZON = 0.82  # row of the horizon, in heights from the top
SKYLINE = 0.80  # all land reaches higher than this, so clouds are never visible below it
NEARNESS = 0.25  # keeps the horizon's clouds at a finite distance, (HORIZON + NEARNESS) / NEARNESS
MOST_WAVES = 104  # along x; twice as many along z; random numbers are drawn for all of them
SPACING, WIDENING = 0.25, 0.015  # wave j has about SPACING (j + WIDENING j^2) cycles a unit
LIGHT_REACH = 0.07  # distance towards the horizon of the point that shades a cloud
FALL = 1.75  # amplitudes fall as the wave number to this power
LONGEST = 0.9  # cycles a unit below which waves are attenuated
FINEST = 0.25  # cycles per pixel of the top row above which waves are left out
STRETCH = 1.25  # clouds are longer across the view than along it by this factor
DTYPE = torch.float64  # exact enough that bytes depend on neither batch size nor thread count


@dataclass(frozen=True, kw_only=True)
class CloudPlane:
    """Matrices that turn waves into the field of clouds, for one frame size.

    The field is a sum of waves on a plane with axes x (across the view) and z (along it), seen in
    perspective. The matrices are the same for all videos.

    Attributes:
        amplitude: amplitude of each wave.
        along: sum of waves along z for each row of the frame, real and imaginary parts stacked.
        across: sum of waves along x, one matrix per row.
        lost: standard deviation of the waves that are finer than a row's pixels and left out.
        elevation: elevation of each row above the horizon, in frame heights.
        row: for each row, the row just above the point that shades it.
        next_row: for each row, the row just below the point that shades it.
        share: position of that point between ``row`` and ``next_row``, in [0, 1].
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
        """Sample ``field`` slightly nearer the horizon from each point, where clouds shade it."""
        return torch.lerp(field[:, self.row], field[:, self.next_row], self.share[:, None])


@dataclass(frozen=True, kw_only=True)
class Clouds:
    """The waves whose sum is the field of clouds of one video.

    It is called with a ``CloudPlane`` and times in frames, and returns the field at these times.

    Attributes:
        phase: phase of each wave at time zero, in turns.
        rate: change of the phase of each wave, in turns per frame.
    """

    phase: Float[Tensor, "x z"]
    rate: Float[Tensor, "x z"]

    @classmethod
    def draw(cls, seed: int, wind: tuple[float, float], boil: float) -> "Clouds":
        """Draw random waves.

        Args:
            seed: seed of the phases.
            wind: speed (x, z) of all waves per frame, in units of the plane, which are frame
                heights as seen in the top row.
            boil: standard deviation of the random part of the rates, in turns per frame for a wave
                of one cycle per unit of the plane.
        """
        x, z = _wave_numbers()
        random = generator(seed, "waves")
        shape = (len(x), len(z))
        phase = torch.rand(shape, generator=random, dtype=torch.float64)
        boiling = torch.randn(shape, generator=random) * boil * _size(x, z).sqrt()
        drift = x[:, None] * wind[0] + z * wind[1]
        return cls(phase=phase, rate=boiling.double() - drift)

    def __call__(self, plane: CloudPlane, times: Float[Tensor, "t"]) -> Float[Tensor, "t rows w"]:
        """Field of clouds at ``times``, in frames; its variance is 1 - ``plane.lost`` squared."""
        n, m = plane.amplitude.shape
        turns = self.phase[:n, :m] + times[:, None, None] * self.rate[:n, :m]
        angle = (turns - turns.floor()).float() * (2 * math.pi)
        waves = torch.cat([angle.cos() * plane.amplitude, angle.sin() * plane.amplitude], -1)
        lines = (waves.to(plane.along.dtype) @ plane.along).unflatten(-1, (2, -1))
        lines = rearrange(lines, "t x part rows -> rows t (part x)")
        return rearrange(lines @ plane.across, "rows t w -> t rows w").float()


@lru_cache(maxsize=8)
def cloud_plane(height: int, width: int) -> CloudPlane:
    """Compute the matrices for one frame size; the module's docstring has the projection.

    The field at row r and column w is Re sum_x across[r, x, w] sum_z along[z, r] amplitude[x, z]
    e^(i angle[x, z]), each wave attenuated by a Gaussian of its pixel's size. Real and imaginary
    parts are stacked with the signs of a complex product, so both sums are real matrix products.
    """
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
    """Wave numbers along x and z in cycles per unit length; those along z have both signs.

    They are unevenly spaced, so that no sky repeats.
    """
    random = generator(0, "sky", "wave numbers")
    jitter = torch.rand((3, MOST_WAVES), generator=random, dtype=torch.float64)
    steps = torch.arange(MOST_WAVES) + jitter
    cycles = SPACING * (steps + WIDENING * steps**2)
    return cycles[0], torch.stack([cycles[1], -cycles[2]], 1).flatten()


def _amplitude(x: Float[Tensor, "x"], z: Float[Tensor, "z"]) -> Float[Tensor, "x z"]:
    """Amplitude of each wave: falls with its wave number, times the root of the spacing around it.

    The longest waves are attenuated so that no view is all cloud.
    """
    size = _size(x, z)
    spacing = _spacing(x)[:, None] * _spacing(z)
    return spacing.sqrt() * size**-FALL * (1 - torch.exp(-((size / LONGEST) ** 4)))


def _spacing(waves: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Distance between neighbouring wave numbers near each one, relative to that near 0."""
    return torch.sqrt(1 + 4 * WIDENING * waves.abs() / SPACING)


def _size(x: Float[Tensor, "x"], z: Float[Tensor, "z"]) -> Float[Tensor, "x z"]:
    return torch.hypot(x[:, None], z / STRETCH)


def _blur(waves: Float[Tensor, "n"], pixel: Float[Tensor, "rows"]) -> Float[Tensor, "rows n"]:
    """Attenuation of each wave by a Gaussian blur with a std of half a pixel.

    ``waves`` are wave numbers in cycles per unit length, ``pixel`` is a pixel's size in each row.
    """
    return torch.exp(-((math.pi * waves * pixel[:, None]) ** 2) / 2)
