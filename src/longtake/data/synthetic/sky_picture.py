"""How the sky is painted: sky, disc, stars, clouds and land of one video at any times."""

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
_REACH = 1.0
SHARPNESS = 3.2
"""How fast cloud begins above the threshold."""


@dataclass(frozen=True, kw_only=True)
class Sky:
    """One video: what is in it, not yet a picture.

    Attributes:
        clouds: their waves.
        threshold: of the field, above which there is cloud, in its deviations.
        gloom: how much the clouds dull the light, in [0, 1].
        disc: the sun's place in heights from the middle, and how far it moves aside as it rises.
        moon: its place in heights from the middle and from the top.
        seed: of land and stars.
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
    """The frames at some times, in frames. ``sun``: its elevation at each time, or one for all."""
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
    """Where each pixel of the sky is, in heights of the picture."""

    plane: CloudPlane
    height: int
    width: int

    @property
    def elevation(self) -> Float[Tensor, "rows 1"]:
        """Above the horizon."""
        return self.plane.elevation[:, None]

    @property
    def across(self) -> Float[Tensor, "w"]:
        """To the right of the middle."""
        return (torch.arange(self.width) + 0.5 - self.width / 2) / self.height


def _over(colour: Float[Tensor, "t c"]) -> Float[Tensor, "t c 1 1"]:
    return colour[:, :, None, None]


def _sun(
    sky: Sky, view: _View, sun: Float[Tensor, "s"]
) -> tuple[Float[Tensor, "s 1 rows w"], Float[Tensor, "s 1 rows w"]]:
    """Glow and disc of the sun and, at night, of the moon, both in [0, 1]."""
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
    """Points of light, each no smaller than a pixel."""
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
    """Clouds before the clear sky: bright where thin or where light reaches them, hazy far away."""
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
    place: Land, palette: Palette, above: Float[Tensor, "t 3 rows w"], height: int
) -> Float[Tensor, "t 3 h w"]:
    """The land before the sky: layer by layer, with mist in the valleys."""
    frames, _, rows, width = above.shape
    first = int((place.cover[0] > 0).any(1).nonzero()[0])
    cover, mist = place.cover[:, first:], place.mist[:, first:]
    ground = torch.lerp(_over(palette.far), _over(palette.horizon), 0.38 * mist[0])
    middle = torch.lerp(_over(palette.middle_land), _over(palette.horizon), 0.22 * mist[1])
    ground = torch.lerp(ground, middle, cover[1])
    ground = torch.lerp(ground, _over(palette.near), cover[2])
    picture = above.new_empty((frames, 3, height, width))
    picture[:, :, :rows] = above
    picture[:, :, rows:] = ground[:, :, rows - first :]
    seam = picture[:, :, first:rows]
    torch.lerp(seam, ground[:, :, : rows - first], cover[0, : rows - first], out=seam)
    return picture
