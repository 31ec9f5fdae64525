"""What a video shows of the sky world, read off its pixels: to judge a model without a network.

Every measure is held to videos of the world itself; none knows how a video was made.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from longtake.data.synthetic.sky import time_of_day
from longtake.data.synthetic.sky_colours import NIGHT, NOON, Palette, clear_sky
from longtake.data.synthetic.sky_field import HORIZON, NEARNESS

Frames = UInt8[np.ndarray, "t h w 3"]

_CANDIDATES = 56
_CELLS = 24
_GLOOMS = (0.0, 0.15, 1.0)
_TONES = (0.2, 0.5, 0.8, 1.0)
_OUTLIER = 0.2
_UPPER_SKY = 0.54
_ABOVE_GLOW = 0.46
_CLEAR_BELOW, _OVERCAST_ABOVE = 0.29, 0.77
_FASTEST = 0.06
_SPEEDS = 241
_EDGE = 0.35
_HIGHER = 1.0
_BEND = 0.25
_HIGHEST_LAND, _LOWEST_RIDGE = 0.54, 0.82


@dataclass(frozen=True, kw_only=True)
class Light:
    """How the palette explains each frame.

    Attributes:
        sun: elevation whose colours fit best, in heights of the picture.
        cloud: share of the upper sky that is cloud.
        strangeness: mean distance of its colours from the nearest that the world has, in 255ths.
    """

    sun: Float[Tensor, "t"]
    cloud: Float[Tensor, "t"]
    strangeness: Float[Tensor, "t"]

    @property
    def time_of_day(self) -> str:
        """Of the whole video."""
        return time_of_day(self.sun.median().item())

    @property
    def cover(self) -> str:
        """Of the whole video."""
        cloud = self.cloud.mean().item()
        if cloud < _CLEAR_BELOW:
            return "clear"
        return "overcast" if cloud > _OVERCAST_ABOVE else "scattered"


def light(video: Frames) -> Light:
    """Find the palette under which each frame is a mix of clear sky and cloud, with least left."""
    frames = _shrunk(video)
    rows = int(_ABOVE_GLOW * _CELLS)
    elevation = HORIZON - (torch.arange(rows) + 0.5) / _CELLS
    sun = torch.linspace(NIGHT, NOON, _CANDIDATES)
    palettes = [_Mixture.of(Palette.at(sun, gloom), elevation) for gloom in _GLOOMS]
    found = [_explain(frame[:rows], frame[-1].mean(0), palettes) for frame in frames]
    best, cloud, strangeness = zip(*found, strict=True)
    return Light(
        sun=sun[list(best)], cloud=torch.tensor(cloud), strangeness=torch.tensor(strangeness)
    )


def wind(video: Frames, lags: Sequence[int] = (1, 2)) -> float:
    """Speed of the clouds in the top row, in heights of the picture a frame; above 0 to the right.

    Phase correlation of each row with itself some frames later. The speed says how far each row
    shifts, as the clouds lie in a plane seen in perspective: all rows are asked together.

    Args:
        video: of 2 frames or more.
        lags: distances of the frames that are compared, in frames; those too long for the video
            are left out. Long ones see the way clouds go, short ones also how smoothly they do.
    """
    height, width = video.shape[1:3]
    rows = int(_UPPER_SKY * height)
    brightness = torch.from_numpy(video[:, :rows]).float().mean(-1)
    moving = brightness - brightness.mean(0)
    moving = (moving - moving.mean(-1, keepdim=True)) * torch.hann_window(width)
    waves = torch.fft.rfft(moving)
    elevation = HORIZON - (torch.arange(rows) + 0.5) / height
    pixels_a_unit = height * (elevation + NEARNESS) / (HORIZON + NEARNESS)
    speed = torch.linspace(-_FASTEST, _FASTEST, _SPEEDS)
    shift = speed[:, None] * pixels_a_unit
    turn = 2 * math.pi * shift[..., None] * torch.fft.rfftfreq(width)
    likely = torch.zeros_like(speed)
    for later in [lag for lag in lags if lag < len(video)]:
        cross = (waves[:-later].conj() * waves[later:]).sum(0)
        cross = cross / (cross.abs() + 1e-3 * cross.abs().amax() + 1e-6).sqrt()
        fit = cross.real * (later * turn).cos() - cross.imag * (later * turn).sin()
        likely = likely + fit.sum((1, 2))
    return speed[likely.argmax()].item()


def ridge(video: Frames) -> Float[Tensor, "t w"]:
    """Row, in pixels from the top, at which land begins.

    A sky is brightest at its foot, and each layer of land is darker than what is behind it, so the
    topmost line that sets all brighter rows apart from all darker ones is the ridge.
    """
    height = video.shape[1]
    first, last = int(_HIGHEST_LAND * height), math.ceil(_LOWEST_RIDGE * height)
    bright = torch.from_numpy(video[:, first - 1 : last + 1]).float().mean(-1)
    darker = (bright[:, :-1] - bright[:, 1:]).clamp(min=0)
    brightest_below = bright.flip(1).cummax(1).values.flip(1)
    apart = torch.minimum(bright[:, :-3], bright[:, 1:-2]) - brightest_below[:, 3:]
    usual = apart.amax(1).median(1).values.clamp(min=1)[:, None, None]
    fit = (apart / (_EDGE * usual)).clamp(-1, 1)
    fit = fit - _HIGHER * torch.arange(fit.shape[1])[:, None] / height
    near = _line(fit, _BEND)[:, None] + torch.arange(1, 4).view(1, 3, 1)
    weight = darker.gather(1, near.clamp(max=darker.shape[1] - 1)) + 1e-6
    return first + (weight * near).sum(1) / weight.sum(1)


def ridge_drift(video: Frames) -> Float[Tensor, "t"]:
    """How far the ridge has moved since the first frame: mean over the columns, in pixels."""
    line = ridge(video)
    return (line - line[0]).abs().mean(1)


def _line(fit: Float[Tensor, "t rows w"], bend: float) -> Int[Tensor, "t w"]:
    """Row of the best line through all columns: most fit, less ``bend`` for each row of slope."""
    row = torch.arange(fit.shape[1])
    slope = bend * (row[:, None] - row).abs()
    total, came = fit[..., 0], []
    for column in fit.unbind(-1)[1:]:
        best = (total[:, None] - slope).max(-1)
        came.append(best.indices)
        total = best.values + column
    line = [total.argmax(1)]
    for source in reversed(came):
        line.append(source.gather(1, line[-1][:, None])[:, 0])
    return torch.stack(line[::-1], 1)


@dataclass(frozen=True, kw_only=True)
class _Mixture:
    """What clear sky and clouds of several brightness look like at each candidate's sun."""

    clear: Float[Tensor, "s rows 1 1 3"]
    towards: Float[Tensor, "s rows 1 tone 3"]
    near: Float[Tensor, "s 3"]

    @classmethod
    def of(cls, palette: Palette, elevation: Float[Tensor, "rows"]) -> "_Mixture":
        clear = clear_sky(palette, elevation)[:, :, None, None]
        tones = torch.tensor(_TONES)[:, None]
        cloud = torch.lerp(palette.shadow[:, None], palette.lit[:, None], tones)
        return cls(clear=clear, towards=cloud[:, None, None] - clear, near=palette.near)


def _explain(
    sky: Float[Tensor, "rows w 3"], ground: Float[Tensor, "3"], palettes: list[_Mixture]
) -> tuple[int, float, float]:
    """Candidate whose mixture is nearest to one frame, its share of cloud, and what is left."""
    best = (0, 0.0, 0.0)
    least = math.inf
    for mixture in palettes:
        offset = sky[:, :, None] - mixture.clear
        size = mixture.towards.square().sum(-1).clamp(min=1e-4)
        cloud = ((offset * mixture.towards).sum(-1) / size).clamp(0, 1)
        left = (offset - cloud[..., None] * mixture.towards).square().sum(-1)
        left, tone = left.min(-1)
        cloud = (cloud.gather(-1, tone[..., None]) > 0.5).float().mean((1, 2, 3))
        cost = left.clamp(max=_OUTLIER**2).mean((1, 2))
        cost = cost + (ground - mixture.near).square().sum(-1)
        at = int(cost.argmin())
        if cost[at] < least:
            least = float(cost[at])
            best = (at, float(cloud[at]), 255 * float(left[at].sqrt().mean()))
    return best


def _shrunk(video: Frames) -> Float[Tensor, "t cells cells 3"]:
    """Colours in [0, 1], averaged over cells."""
    pixels = rearrange(torch.from_numpy(video).float() / 255, "t h w c -> t c h w")
    return rearrange(F.adaptive_avg_pool2d(pixels, _CELLS), "t c h w -> t h w c")
