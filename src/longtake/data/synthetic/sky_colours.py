"""Colours of sky, clouds and land by elevation of the sun."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

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


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours in [0, 1], one per time; ``grey`` mixes into others, ``glow`` surrounds the disc."""

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
        """Colours at elevations of the sun, greyed in proportion to ``gloom`` in [0, 1]."""
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
    """Visibility of stars and moon, in [0, 1]."""
    return ((DUSK - 0.06 - sun) / 0.12).clamp(0, 1)


def clear_sky(palette: Palette, elevation: Float[Tensor, "rows"]) -> Float[Tensor, "t rows 3"]:
    """Sky without clouds and disc, at elevations in picture heights."""
    low = torch.exp(-((elevation / 0.20) ** 2))[:, None]
    middle = torch.exp(-((elevation / 0.50) ** 2))[:, None]
    sky = torch.lerp(palette.zenith[:, None], palette.middle[:, None], middle)
    return torch.lerp(sky, palette.horizon[:, None], low)
