"""Paints sky, sun, stars, clouds and land of one video; lengths are in frame heights."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.data.synthetic.sky_field import HORIZON, CloudPlane, Clouds, cloud_plane
from longtake.noise import generator

# Elevations of the sun, in picture heights, and the sRGB colours at each of them.
NIGHT, DUSK, LOW_SUN, DAY, NOON = -0.30, -0.03, 0.13, 0.42, 0.80
_TABLE = {
    "zenith": ((15, 21, 52), (42, 46, 104), (78, 124, 188), (34, 98, 196), (24, 86, 196)),
    "middle": ((28, 40, 82), (150, 84, 126), (176, 180, 190), (98, 160, 226), (86, 150, 226)),
    "horizon": ((64, 82, 126), (244, 140, 92), (255, 208, 150), (188, 218, 242), (180, 216, 246)),
    "glow": ((150, 170, 214), (255, 170, 92), (255, 226, 160), (255, 250, 226), (255, 253, 240)),
    "lit": ((122, 134, 170), (250, 142, 120), (255, 226, 188), (255, 255, 255), (255, 255, 255)),
    "shadow": ((40, 47, 80), (98, 66, 112), (158, 136, 152), (160, 174, 198), (158, 174, 202)),
    "grey": ((70, 80, 112), (122, 92, 122), (172, 158, 158), (186, 194, 206), (190, 198, 210)),
    "far": ((26, 35, 64), (104, 70, 104), (146, 126, 116), (104, 142, 166), (98, 142, 170)),
    "middle_land": ((17, 24, 46), (58, 42, 68), (84, 84, 68), (70, 112, 88), (66, 114, 88)),
    "near": ((7, 10, 20), (22, 18, 30), (36, 42, 28), (36, 74, 36), (36, 80, 36)),
}
_GREYED = {"lit": 0.35, "shadow": 0.15, "horizon": 0.45, "glow": 0.5}
_STARS, _STARS_REACH = 90, 1.0  # stars are at most this far from the middle
_TREES, _TREES_REACH = 150, 2.0
_FINER = 4  # samples a column, for antialiased edges of land
SHARPNESS = 3.2  # slope of the cover at the threshold


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours of the data set ``sky`` in [0, 1], for each of several elevations of the sun.

    ``zenith``, ``middle`` and ``horizon`` are the sky's, ``lit`` and ``shadow`` the clouds', and
    ``far``, ``middle_land`` and ``near`` the land's. ``grey`` is mixed into the others under
    clouds; ``glow`` surrounds the sun.
    """

    zenith: Float[Tensor, "t 3"]
    middle: Float[Tensor, "t 3"]
    horizon: Float[Tensor, "t 3"]
    glow: Float[Tensor, "t 3"]
    lit: Float[Tensor, "t 3"]
    shadow: Float[Tensor, "t 3"]
    grey: Float[Tensor, "t 3"]
    far: Float[Tensor, "t 3"]
    middle_land: Float[Tensor, "t 3"]
    near: Float[Tensor, "t 3"]

    @classmethod
    def at(cls, sun: Float[Tensor, "t"], gloom: float) -> "Palette":
        """Colours for elevations of the sun in frame heights, greyer with ``gloom`` in [0, 1]."""
        known = torch.tensor([NIGHT, DUSK, LOW_SUN, DAY, NOON])
        sun = sun.float().clamp(NIGHT, NOON)
        above = torch.searchsorted(known, sun).clamp(1)
        share = ((sun - known[above - 1]) / (known[above] - known[above - 1]))[:, None]
        table = torch.tensor([*zip(*_TABLE.values(), strict=True)]) / 255
        mixed = torch.lerp(table[above - 1], table[above], share[..., None])
        colours = dict(zip(_TABLE, mixed.unbind(1), strict=True))
        for name, greyed in _GREYED.items():
            colours[name] = torch.lerp(colours[name], colours["grey"], greyed * gloom)
        return cls(**colours)


def night(sun: Float[Tensor, "t ..."]) -> Float[Tensor, "t ..."]:
    """Visibility of stars and moon, in [0, 1], at elevations of the sun in frame heights."""
    return ((DUSK - 0.06 - sun) / 0.12).clamp(0, 1)


def clear_sky(palette: Palette, elevation: Float[Tensor, "rows"]) -> Float[Tensor, "t rows 3"]:
    """Colour of the sky without clouds and sun at each elevation, in frame heights."""
    low = torch.exp(-((elevation / 0.20) ** 2))[:, None]
    middle = torch.exp(-((elevation / 0.50) ** 2))[:, None]
    sky = torch.lerp(palette.zenith[:, None], palette.middle[:, None], middle)
    return torch.lerp(sky, palette.horizon[:, None], low)


@dataclass(frozen=True, kw_only=True)
class Sky:
    """What one video of ``sky`` shows; lengths are in frame heights.

    Attributes:
        clouds: waves of the clouds.
        threshold: value of the waves' sum, in standard deviations, above which there is cloud.
        gloom: how much the clouds grey the light, in [0, 1].
        disc: the sun's distance to the right of the middle column at the horizon, and how much it
            grows per frame height of elevation.
        moon: the moon's distance to the right of the middle column, and its elevation.
        seed: seed of land and stars.
    """

    clouds: Clouds
    threshold: float
    gloom: float
    disc: tuple[float, float]
    moon: tuple[float, float]
    seed: int


@dataclass(frozen=True, kw_only=True)
class Land:
    """Masks of three layers of land in front of the sky: far, middle and near.

    Attributes:
        cover: share of each pixel that a layer or a nearer one covers.
        mist: 0 at a layer's upper edge, towards 1 far below it, for each pixel.
        ridge: row, in pixels from the top, at which the sky ends in each column.
    """

    cover: Float[Tensor, "layer h w"]
    mist: Float[Tensor, "layer h w"]
    ridge: Float[Tensor, "w"]


def paint(
    sky: Sky, times: Float[Tensor, "t"], sun: Float[Tensor, "s"], height: int, width: int
) -> UInt8[np.ndarray, "t h w 3"]:
    """Render frames of one video of the data set ``sky``.

    Args:
        sky: what the video shows.
        times: time of each frame, in frames.
        sun: elevation of the sun at each time, or one for all, in frame heights.
        height: height of the frames in pixels.
        width: width of the frames in pixels.
    """
    plane = cloud_plane(height, width)
    up, across = plane.elevation[:, None], (torch.arange(width) + 0.5 - width / 2) / height
    palette = Palette.at(sun, sky.gloom)
    glow, disc = _sun(sky, up, across, sun, height)
    clear = clear_sky(palette, plane.elevation).mT[..., None]
    clear = torch.lerp(clear, _over(palette.glow), 0.75 * glow)
    clear = clear + _stars(sky.seed, up, across, height)[:, None] * _over(night(sun)[:, None])
    clear = torch.lerp(clear, _over((palette.glow + 1) / 2), disc)
    above = _clouded(sky, plane, palette, times, clear, glow)
    picture = _landed(land(sky.seed, height, width), palette, above, height)
    shown = picture.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8)
    return shown.permute(0, 2, 3, 1).contiguous().numpy()


def _over(colour: Float[Tensor, "t c"]) -> Float[Tensor, "t c 1 1"]:
    return colour[:, :, None, None]


def _sun(
    sky: Sky,
    up: Float[Tensor, "rows 1"],
    across: Float[Tensor, "w"],
    sun: Float[Tensor, "s"],
    height: int,
) -> tuple[Float[Tensor, "s 1 rows w"], Float[Tensor, "s 1 rows w"]]:
    """Glow and disc of the sun or, at night, of the moon, in [0, 1]; lengths in frame heights.

    ``up`` and ``across`` are positions of rows above the horizon, and of columns right of the
    middle; ``sun`` is the sun's elevation. ``height`` is the frame's, in pixels.
    """
    sun = sun.float()[:, None, None]
    moonlit = night(sun)
    from_sun = torch.hypot(across - sky.disc[0] - sky.disc[1] * sun, up - sun)
    from_moon = torch.hypot(across - sky.moon[0], up - sky.moon[1])
    low = torch.exp(-((sun / 0.25) ** 2))
    glow = (0.55 + 0.35 * low) * torch.exp(-from_sun / (0.12 + 0.13 * low)) * (1 - moonlit)
    glow = glow + 0.55 * moonlit * torch.exp(-from_moon / 0.13)
    soft = max(0.008, 0.6 / height)
    disc = torch.sigmoid((0.045 - from_sun) / soft) * (1 - moonlit)
    disc = disc + torch.sigmoid((0.040 - from_moon) / soft) * moonlit
    return glow[:, None], disc[:, None]


def _stars(
    seed: int, up: Float[Tensor, "rows 1"], across: Float[Tensor, "w"], height: int
) -> Float[Tensor, "1 rows w"]:
    """Brightness of the stars in [0, 1]; no star is smaller than a pixel.

    ``up`` and ``across`` are positions of rows above the horizon, and of columns right of the
    middle, in frame heights; ``height`` is the frame's, in pixels.
    """
    x, y, size = torch.rand((3, _STARS), generator=generator(seed, "stars"))
    radius = max(0.004, 0.55 / height)
    dim = (0.2 + 0.8 * size**4) * torch.sqrt(y)
    rows = torch.exp(-(((up - y * HORIZON) / radius) ** 2))
    columns = torch.exp(-(((across[:, None] - (x - 0.5) * 2 * _STARS_REACH) / radius) ** 2))
    return ((rows * dim) @ columns.T).clamp(max=1)[None]


def _clouded(
    sky: Sky,
    plane: CloudPlane,
    palette: Palette,
    times: Float[Tensor, "t"],
    clear: Float[Tensor, "s 3 rows w"],
    glow: Float[Tensor, "s 1 rows w"],
) -> Float[Tensor, "t 3 rows w"]:
    """Paint clouds over the clear sky with the sun's ``glow``: bright if lit, hazy if distant."""
    field = sky.clouds(plane, times)
    blur = torch.sqrt(1 + (SHARPNESS * plane.lost[:, None]) ** 2)
    haze = torch.exp(-((plane.elevation[:, None] / 0.16) ** 2))
    depth = field - sky.threshold
    cover = torch.sigmoid(depth * (SHARPNESS / blur)) * (1 - 0.7 * haze)
    light = torch.sigmoid(1.3 + 1.6 * (field - plane.behind(field)) - 0.75 * depth)
    lit = torch.lerp(_over(palette.lit), _over(palette.glow), 0.8 * glow)
    colour = torch.lerp(_over(palette.shadow), lit, light[:, None])
    colour = torch.lerp(colour, _over(palette.horizon), 0.6 * haze)
    return torch.lerp(clear, colour, cover[:, None])


def _landed(
    ground: Land, palette: Palette, above: Float[Tensor, "t 3 rows w"], height: int
) -> Float[Tensor, "t 3 h w"]:
    """Paint land over the sky ``above``, layer by layer, with mist in the valleys.

    ``height`` is the frame's, in pixels; ``above`` has its upper rows alone.
    """
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


def land(seed: int, height: int, width: int) -> Land:
    """Render the hills and trees of one seed at one frame size in pixels; they never change."""
    column = (torch.arange(width * _FINER) + 0.5) / _FINER
    u = (column - width / 2) / height
    edge = torch.stack([_far(seed, u), _wooded(seed, u), _forest(seed, u)]).clamp(max=0.97)
    edge[0].clamp_(max=0.79)
    rows = torch.arange(height).view(-1, 1)
    cover = (rows + 1 - edge[:, None] * height).clamp(0, 1)
    cover = cover.unflatten(-1, (width, _FINER)).mean(-1)
    edge = edge.unflatten(-1, (width, _FINER)).mean(-1)
    deep = ((rows + 0.5) / height - edge[:, None]).clamp(min=0)
    return Land(
        cover=torch.cummax(cover.flip(0), 0).values.flip(0),
        mist=1 - torch.exp(-deep / 0.08),
        ridge=edge.amin(0) * height,
    )


def _far(seed: int, u: Float[Tensor, "u"]) -> Float[Tensor, "u"]:
    """Row of the mountains' edge at columns ``u``, in frame heights from top and middle.

    A sum of a few waves, folded so that summits are sharper than valleys.
    """
    height, start, wave = torch.rand((3, 4), generator=generator(seed, "far land"))
    waves = torch.tensor([0.5, 1.1, 2.3, 4.7]) * (0.8 + 0.4 * wave)
    sizes = torch.tensor([0.055, 0.05, 0.02, 0.008]) * (0.5 + height)
    folded = 1 - (torch.sin(math.pi * (waves[:, None] * u + start[:, None] * 2))).abs()
    return 0.775 - (sizes[:, None] * folded).sum(0)


def _wooded(seed: int, u: Float[Tensor, "u"]) -> Float[Tensor, "u"]:
    """Row of the wooded hills' edge at columns ``u``, in frame heights from top and middle."""
    random = generator(seed, "middle land")
    start = torch.rand(3, generator=random)[:, None] * 2 * math.pi
    waves = torch.tensor([0.7, 1.6, 3.4])[:, None]
    sizes = torch.tensor([0.025, 0.018, 0.006])[:, None]
    hills = (sizes * torch.sin(2 * math.pi * waves * u + start)).sum(0)
    at, size = torch.rand((2, _TREES * 2), generator=random)
    at = (at * 2 - 1) * _TREES_REACH
    crowns = (0.010 + 0.006 * size)[:, None] - 18 * (u - at[:, None]) ** 2
    return 0.83 - hills - crowns.clamp(min=0).amax(0)


def _forest(seed: int, u: Float[Tensor, "u"]) -> Float[Tensor, "u"]:
    """Row of the near conifers' edge at columns ``u``, in frame heights from top and middle.

    Their heights rise and fall along the picture.
    """
    random = generator(seed, "near land")
    start, lean, thick = torch.rand(3, generator=random).tolist()
    at, size, slim = torch.rand((3, _TREES), generator=random)
    at = (at * 2 - 1) * _TREES_REACH
    stand = 0.5 + 0.5 * torch.sin(2 * math.pi * (0.45 * at + start))
    tall = (0.02 + 0.09 * size) * (0.3 + 0.9 * stand) * (0.7 + 0.5 * thick)
    trees = tall[:, None] - (u - at[:, None]).abs() * (2.6 + 1.6 * slim)[:, None]
    ground = 0.93 + 0.02 * (lean * 2 - 1) * u - 0.012 * torch.sin(2 * math.pi * (0.8 * u + start))
    return ground - trees.clamp(min=0).amax(0)
