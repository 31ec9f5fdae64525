"""The ridge of hills and trees of a video; it never changes."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.noise import generator

_FINER = 4  # samples a column, for antialiased edges
_REACH = 2.0  # trees stand at most this far from the middle, in picture heights
_TREES = 150


@dataclass(frozen=True, kw_only=True)
class Land:
    """Three layers of land in front of the sky.

    Attributes:
        cover: share of each pixel that the far, middle or near layer, or a nearer one, covers.
        mist: depth of each pixel below its layer's edge, in [0, 1].
        ridge: row, in pixels from the top, at which the sky ends in each column.
    """

    cover: Float[Tensor, "layer h w"]
    mist: Float[Tensor, "layer h w"]
    ridge: Float[Tensor, "w"]


def land(seed: int, height: int, width: int) -> Land:
    """The land of one seed at one picture size."""
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
    """Edge of the mountains: a few waves, folded so that summits are sharper than valleys."""
    random = generator(seed, "far land")
    height, start, wave = torch.rand((3, 4), generator=random)
    waves = torch.tensor([0.5, 1.1, 2.3, 4.7]) * (0.8 + 0.4 * wave)
    sizes = torch.tensor([0.055, 0.05, 0.02, 0.008]) * (0.5 + height)
    folded = 1 - (torch.sin(math.pi * (waves[:, None] * u + start[:, None] * 2))).abs()
    return 0.775 - (sizes[:, None] * folded).sum(0)


def _wooded(seed: int, u: Float[Tensor, "u"]) -> Float[Tensor, "u"]:
    """Edge of rolling hills with crowns of distant trees."""
    random = generator(seed, "middle land")
    start = torch.rand(3, generator=random)[:, None] * 2 * math.pi
    waves = torch.tensor([0.7, 1.6, 3.4])[:, None]
    sizes = torch.tensor([0.025, 0.018, 0.006])[:, None]
    hills = (sizes * torch.sin(2 * math.pi * waves * u + start)).sum(0)
    crowns = torch.rand((2, _TREES * 2), generator=random)
    at = (crowns[0] * 2 - 1) * _REACH
    round_ = (0.010 + 0.006 * crowns[1])[:, None] - 18 * (u - at[:, None]) ** 2
    return 0.83 - hills - round_.clamp(min=0).amax(0)


def _forest(seed: int, u: Float[Tensor, "u"]) -> Float[Tensor, "u"]:
    """Edge of conifers in front, tall at one side of the picture and low at the other."""
    random = generator(seed, "near land")
    start, lean, thick = torch.rand(3, generator=random).tolist()
    at, size, slim = torch.rand((3, _TREES), generator=random)
    at = (at * 2 - 1) * _REACH
    stand = 0.5 + 0.5 * torch.sin(2 * math.pi * (0.45 * at + start))
    tall = (0.02 + 0.09 * size) * (0.3 + 0.9 * stand)
    tall = tall * (0.7 + 0.5 * thick)
    trees = tall[:, None] - (u - at[:, None]).abs() * (2.6 + 1.6 * slim)[:, None]
    ground = 0.93 + 0.02 * (lean * 2 - 1) * u - 0.012 * torch.sin(2 * math.pi * (0.8 * u + start))
    return ground - trees.clamp(min=0).amax(0)
