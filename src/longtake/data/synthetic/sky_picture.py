"""Paints sky, disc, stars, clouds and land of one video at any times."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.data.synthetic.sky_colours import Palette, clear_sky, night
from longtake.data.synthetic.sky_field import HORIZON, CloudPlane, Clouds, cloud_plane
from longtake.data.synthetic.sky_land import Land, land
from longtake.noise import generator

_STARS = 90
_REACH = 1.0  # stars are at most this far from the middle, in picture heights
SHARPNESS = 3.2  # slope of the cover at the threshold


@dataclass(frozen=True, kw_only=True)
class Sky:
    """Contents of one video; lengths are in picture heights.

    Attributes:
        clouds: waves of the clouds.
        threshold: value of the field, in standard deviations, above which there is cloud.
        gloom: how much the clouds grey the light, in [0, 1].
        disc: the sun's distance from the middle column at the horizon, and its slope in elevation.
        moon: the moon's distance from the middle column, and its elevation.
        seed: seed of land and stars.
    """

    clouds: Clouds
    threshold: float
    gloom: float
    disc: tuple[float, float]
    moon: tuple[float, float]
    seed: int


def paint(
    sky: Sky, times: Float[Tensor, "t"], sun: Float[Tensor, "s"], height: int, width: int
) -> UInt8[np.ndarray, "t h w 3"]:
    """Frames at these times, in frames; ``sun`` is its elevation at each time, or one for all."""
    plane = cloud_plane(height, width)
    view = _View(plane=plane, height=height, width=width)
    palette = Palette.at(sun, sky.gloom)
    glow, disc = _sun(sky, view, sun)
    clear = clear_sky(palette, view.plane.elevation).mT[..., None]
    clear = torch.lerp(clear, _over(palette.glow), 0.75 * glow)
    clear = clear + _stars(sky, view)[:, None] * _over(night(sun)[:, None])
    clear = torch.lerp(clear, _over((palette.glow + 1) / 2), disc)
    above = _clouded(sky, view, palette, times, clear, glow)
    picture = _landed(land(sky.seed, height, width), palette, above, height)
    shown = picture.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8)
    return shown.permute(0, 2, 3, 1).contiguous().numpy()


@dataclass(frozen=True, kw_only=True)
class _View:
    """Position of each pixel of the sky, in picture heights."""

    plane: CloudPlane
    height: int
    width: int

    @property
    def elevation(self) -> Float[Tensor, "rows 1"]:
        """Elevation of each row above the horizon."""
        return self.plane.elevation[:, None]

    @property
    def across(self) -> Float[Tensor, "w"]:
        """Distance of each column to the right of the middle."""
        return (torch.arange(self.width) + 0.5 - self.width / 2) / self.height


def _over(colour: Float[Tensor, "t c"]) -> Float[Tensor, "t c 1 1"]:
    return colour[:, :, None, None]


def _sun(
    sky: Sky, view: _View, sun: Float[Tensor, "s"]
) -> tuple[Float[Tensor, "s 1 rows w"], Float[Tensor, "s 1 rows w"]]:
    """Glow and disc of the sun or, at night, of the moon, both in [0, 1]."""
    sun = sun.float()[:, None, None]
    moonlit = night(sun)
    from_sun = torch.hypot(view.across - sky.disc[0] - sky.disc[1] * sun, view.elevation - sun)
    from_moon = torch.hypot(view.across - sky.moon[0], view.elevation - sky.moon[1])
    low = torch.exp(-((sun / 0.25) ** 2))
    reach = 0.12 + 0.13 * low
    glow = (0.55 + 0.35 * low) * torch.exp(-from_sun / reach) * (1 - moonlit)
    glow = glow + 0.55 * moonlit * torch.exp(-from_moon / 0.13)
    soft = max(0.008, 0.6 / view.height)
    disc = torch.sigmoid((0.045 - from_sun) / soft) * (1 - moonlit)
    disc = disc + torch.sigmoid((0.040 - from_moon) / soft) * moonlit
    return glow[:, None], disc[:, None]


def _stars(sky: Sky, view: _View) -> Float[Tensor, "1 rows w"]:
    """Brightness of the stars; no star is smaller than a pixel."""
    random = generator(sky.seed, "stars")
    across, up, size = torch.rand((3, _STARS), generator=random)
    radius = max(0.004, 0.55 / view.height)
    dim = (0.2 + 0.8 * size**4) * torch.sqrt(up)
    rows = torch.exp(-(((view.elevation - up * HORIZON) / radius) ** 2))
    columns = torch.exp(-(((view.across[:, None] - (across - 0.5) * 2 * _REACH) / radius) ** 2))
    return ((rows * dim) @ columns.T).clamp(max=1)[None]


def _clouded(
    sky: Sky,
    view: _View,
    palette: Palette,
    times: Float[Tensor, "t"],
    clear: Float[Tensor, "s 3 rows w"],
    glow: Float[Tensor, "s 1 rows w"],
) -> Float[Tensor, "t 3 rows w"]:
    """Clouds in front of the clear sky: bright if thin or lit, hazy if distant."""
    field = sky.clouds(view.plane, times)
    blur = torch.sqrt(1 + (SHARPNESS * view.plane.lost[:, None]) ** 2)
    haze = torch.exp(-((view.elevation / 0.16) ** 2))
    thick = (field - sky.threshold) * (SHARPNESS / blur)
    cover = torch.sigmoid(thick) * (1 - 0.7 * haze)
    light = torch.sigmoid(
        1.3 + 1.6 * (field - view.plane.behind(field)) - 0.75 * (field - sky.threshold)
    )
    lit = torch.lerp(_over(palette.lit), _over(palette.glow), 0.8 * glow)
    colour = torch.lerp(_over(palette.shadow), lit, light[:, None])
    colour = torch.lerp(colour, _over(palette.horizon), 0.6 * haze)
    return torch.lerp(clear, colour, cover[:, None])


def _landed(
    ground: Land, palette: Palette, above: Float[Tensor, "t 3 rows w"], height: int
) -> Float[Tensor, "t 3 h w"]:
    """Land in front of the sky, layer by layer, with mist in the valleys."""
    frames, _, rows, width = above.shape
    first = int((ground.cover[0] > 0).any(1).nonzero()[0])
    cover, mist = ground.cover[:, first:], ground.mist[:, first:]
    shown = torch.lerp(_over(palette.far), _over(palette.horizon), 0.38 * mist[0])
    middle = torch.lerp(_over(palette.middle_land), _over(palette.horizon), 0.22 * mist[1])
    shown = torch.lerp(shown, middle, cover[1])
    shown = torch.lerp(shown, _over(palette.near), cover[2])
    picture = above.new_empty((frames, 3, height, width))
    picture[:, :, :rows] = above
    picture[:, :, rows:] = shown[:, :, rows - first :]
    seam = picture[:, :, first:rows]
    torch.lerp(seam, shown[:, :, : rows - first], cover[0, : rows - first], out=seam)
    return picture
