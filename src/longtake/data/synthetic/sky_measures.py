"""Measures of ``sky`` from pixels alone, to evaluate a model without a network.

Every measure is tested on videos of the data set itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from longtake.data.source import Frames
from longtake.data.synthetic.sky import time_of_day
from longtake.data.synthetic.sky_field import HORIZON, NEARNESS
from longtake.data.synthetic.sky_picture import NIGHT, NOON, Palette, clear_sky

_CANDIDATES = 56  # elevations of the sun that are tried
_CELLS = 24  # rows and columns of the shrunk frames
_GLOOMS = (0.0, 0.15, 1.0)
_TONES = (0.2, 0.5, 0.8, 1.0)  # brightnesses of clouds from shadow to lit
_OUTLIER = 0.2  # largest distance of a colour that counts
_UPPER_SKY = 0.54  # share of the rows whose motion is measured: no land reaches it
_ABOVE_GLOW = 0.46  # share of the rows whose colours are measured
_CLEAR_BELOW, _OVERCAST_ABOVE = 0.29, 0.77
_FASTEST, _SPEEDS = 0.06, 241  # highest speed that is tried, and number of speeds
SHORT_LAGS = (1, 2)  # distances between compared frames, in frames
_EDGE = 0.35  # contrast of a certain edge, as a share of the usual one
_HIGHER = 1.0  # cost of a lower line, per picture height
_BEND = 0.25  # cost of a line's slope, per row and column
_HIGHEST_LAND, _LOWEST_RIDGE = 0.54, 0.82


@dataclass(frozen=True, kw_only=True)
class Light:
    """Light in each frame of a video, measured by fitting colours of the data set ``sky``.

    Attributes:
        sun: elevation of the sun whose colours fit best, in frame heights.
        cloud: share of the upper sky that is cloud, in [0, 1].
        strangeness: mean distance of the sky's colours from the best fit, in levels of 255.
    """

    sun: Float[Tensor, "t"]
    cloud: Float[Tensor, "t"]
    strangeness: Float[Tensor, "t"]

    @property
    def time_of_day(self) -> str:
        """Time of day of the whole video: ``night``, ``dusk``, ``low sun`` or ``day``."""
        return time_of_day(self.sun.median().item())

    @property
    def cover(self) -> str:
        """Cloud cover of the whole video: ``clear``, ``scattered`` or ``overcast``."""
        cloud = self.cloud.mean().item()
        if cloud < _CLEAR_BELOW:
            return "clear"
        return "overcast" if cloud > _OVERCAST_ABOVE else "scattered"


def light(video: Frames) -> Light:
    """Measure sun and cloud in each frame by the best fit of the data set ``sky``'s colours."""
    pixels = rearrange(torch.from_numpy(video).float() / 255, "t h w c -> t c h w")
    frames = rearrange(F.adaptive_avg_pool2d(pixels, _CELLS), "t c h w -> t h w c")
    rows = int(_ABOVE_GLOW * _CELLS)
    elevation = HORIZON - (torch.arange(rows) + 0.5) / _CELLS
    sun = torch.linspace(NIGHT, NOON, _CANDIDATES)
    palettes = [_mixture(Palette.at(sun, gloom), elevation) for gloom in _GLOOMS]
    found = [_explain(frame[:rows], frame[-1].mean(0), palettes) for frame in frames]
    best, cloud, strangeness = zip(*found, strict=True)
    cloud, strangeness = torch.tensor(cloud), torch.tensor(strangeness)
    return Light(sun=sun[list(best)], cloud=cloud, strangeness=strangeness)


def wind(video: Frames, lags: Sequence[int] = SHORT_LAGS) -> float:
    """Speed of the clouds in the top row, in frame heights per frame; positive is to the right.

    Each row is compared by phase correlation with the same row some frames later. Clouds lie in a
    plane seen in perspective, so one speed determines the shift of every row, and all rows are
    fitted jointly.

    Args:
        video: frames of a video; at least 2.
        lags: distances between compared frames, in frames; those too long for the video are
            ignored. Long lags measure the direction, short ones also the smoothness of the motion.
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
    """Row at which land begins in each column of each frame, in pixels from the top.

    The sky is brightest at the horizon, and each layer of land is darker than the one behind it, so
    the ridge is the topmost line with all brighter rows above it and all darker ones below.
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


def _line(fit: Float[Tensor, "t rows w"], bend: float) -> Int[Tensor, "t w"]:
    """Row, in each column, of the line of the largest total ``fit`` (Viterbi algorithm).

    Each row by which the line rises or falls from column to column costs ``bend``.
    """
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


class _Mixture(NamedTuple):
    """Colours for each candidate sun: clear sky, difference of each tone of cloud, near land."""

    clear: Float[Tensor, "s rows 1 1 3"]
    towards: Float[Tensor, "s rows 1 tone 3"]
    near: Float[Tensor, "s 3"]


def _mixture(palette: Palette, elevation: Float[Tensor, "rows"]) -> _Mixture:
    clear = clear_sky(palette, elevation)[:, :, None, None]
    tones = torch.tensor(_TONES)[:, None]
    cloud = torch.lerp(palette.shadow[:, None], palette.lit[:, None], tones)
    return _Mixture(clear, cloud[:, None, None] - clear, palette.near)


def _explain(
    sky: Float[Tensor, "rows w 3"], ground: Float[Tensor, "3"], palettes: list[_Mixture]
) -> tuple[int, float, float]:
    """Index of the candidate sun that fits one frame best, share of cloud, and residual.

    ``sky`` and ``ground`` are the frame's colours in [0, 1]; ``palettes`` are the candidates'. The
    residual is a mean distance of colours in levels of 255.
    """
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
