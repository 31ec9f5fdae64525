"""Renders shaded marbles on a ground at any resolution.

Lengths are in picture heights: x is in [0, width / height], y in [0, 1] from the top.
"""

import math

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8

Colour = tuple[int, int, int]
Ground = Float32[np.ndarray, "h w 3"]
Plane = Float32[np.ndarray, "h w"]
Lattice = Float32[np.ndarray, "a b"]

COLOURS: dict[str, Colour] = {
    "red": (214, 34, 34),
    "orange": (240, 128, 16),
    "yellow": (236, 212, 30),
    "green": (34, 172, 62),
    "blue": (38, 84, 226),
    "purple": (148, 44, 196),
}

RADIUS = 0.125  # of a marble, in shorter sides of the picture

CHUNK_BYTES = 8_000_000  # of frames that are painted together
SAMPLES_A_RADIUS = 8  # least samples in a marble's radius
LIGHT = np.array([-0.46, -0.56, 0.69], dtype=np.float32)
HALFWAY = (LIGHT + np.array([0, 0, 1], dtype=np.float32)) / np.linalg.norm(
    [*LIGHT[:2], LIGHT[2] + 1]
)
SHADOW_OFFSET, SHADOW_REACH, SHADOW_DARKNESS = 0.42, 1.45, 0.55


def paint_marbles(
    ground: Ground, centres: Float64[np.ndarray, "t n 2"], colours: tuple[str, ...], radius: float
) -> UInt8[np.ndarray, "t h w 3"]:
    """Render marbles and their shadows on a ground.

    Args:
        ground: picture of the ground without marbles.
        centres: centres (x, y) of the marbles in each frame, in frame heights.
        colours: name of each marble's colour.
        radius: radius of the marbles, in frame heights.
    """
    height, width, _ = ground.shape
    margin = math.ceil((SHADOW_OFFSET + SHADOW_REACH) * radius * height) + 2
    padded = np.pad(ground, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    chunk = max(1, CHUNK_BYTES // padded.nbytes)
    frames = np.empty((len(centres), height, width, 3), dtype=np.uint8)
    for start in range(0, len(centres), chunk):
        some = centres[start : start + chunk]
        canvas = np.repeat(padded[None], len(some), axis=0)
        tracks = (some * height + margin).transpose(1, 0, 2)
        for centre in tracks:
            _cast_shadow(canvas, centre, radius * height)
        for centre, colour in zip(tracks, colours, strict=True):
            _paint_marble(canvas, centre, radius * height, COLOURS[colour])
        inside = canvas[:, margin : margin + height, margin : margin + width]
        frames[start : start + chunk] = np.clip(inside + 0.5, 0, 255)
    return frames


def paint_ground(kind: str, height: int, width: int, generator: torch.Generator) -> Ground:
    """Picture of a ground without marbles, ``(height, width, 3)``, in levels from 0 to 255.

    With a generator in the same state the surface is the same at every resolution. ``kind`` is
    ``wood``, ``slate`` or ``felt``.
    """
    samples = max(1, math.ceil(96 / height))
    ticks = [(np.arange(n * samples, dtype=np.float32) + 0.5) / samples for n in (height, width)]
    y, x = np.meshgrid(ticks[0] / height, ticks[1] / height, indexing="ij")
    lattice = torch.rand(64, 64, generator=generator).numpy()
    surface = {"wood": _wood, "slate": _slate, "felt": _felt}[kind](x, y, lattice)
    return surface.reshape(height, samples, width, samples, 3).mean((1, 3), dtype=np.float32)


def _squares(
    centre: Float64[np.ndarray, "t 2"], reach: float, samples: int, offset: float = 0.0
) -> tuple[tuple[np.ndarray, ...], Float32[np.ndarray, "t 1 s"], Float32[np.ndarray, "t s 1"]]:
    """Square of pixels around a point in each frame, each cut into ``samples`` x ``samples``.

    Lengths are in pixels: the point is ``centre + offset``, and the square reaches further than
    ``reach`` from it. Returns an index that selects the squares from a canvas ``(t, h, w, 3)``, and
    the samples' distances from the point to the right and down.
    """
    side = 2 * math.ceil(reach + 1)
    corner = np.floor(centre + offset).astype(np.int64) - side // 2
    ticks = (np.arange(side * samples) + 0.5) / samples
    away = (corner - centre - offset)[:, :, None] + ticks
    pixels = corner[:, :, None] + np.arange(side)
    away = away.astype(np.float32)
    frames = np.arange(len(centre))[:, None, None]
    at = (frames, pixels[:, 1, :, None], pixels[:, 0, None, :])
    return at, away[:, 0, None, :], away[:, 1, :, None]


def _cast_shadow(
    canvas: Float32[np.ndarray, "t h w 3"], centre: Float64[np.ndarray, "t 2"], radius: float
) -> None:
    at, dx, dy = _squares(centre, SHADOW_REACH * radius, 1, SHADOW_OFFSET * radius)
    distance = np.sqrt(dx * dx + dy * dy) / radius
    depth = np.clip((SHADOW_REACH - distance) / (SHADOW_REACH - 0.45), 0, 1)
    light = 1 - SHADOW_DARKNESS * depth * depth * (3 - 2 * depth)
    canvas[at] *= light[..., None]


def _paint_marble(
    canvas: Float32[np.ndarray, "t h w 3"],
    centre: Float64[np.ndarray, "t 2"],
    radius: float,
    colour: Colour,
) -> None:
    samples = max(1, math.ceil(SAMPLES_A_RADIUS / radius))
    at, dx, dy = _squares(centre, radius, samples)
    squared = (dx * dx + dy * dy) / radius**2
    cover = np.clip((radius - np.sqrt(squared) * radius) * samples + 0.5, 0, 1)
    nx, ny, nz = dx / radius, dy / radius, np.sqrt(np.maximum(1 - squared, 0))
    diffuse = np.maximum(nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2], 0)
    gloss = np.maximum(nx * HALFWAY[0] + ny * HALFWAY[1] + nz * HALFWAY[2], 0) ** 48
    # The rim opposite the light gets reflected light, so marbles look like glass.
    glow = np.maximum(-nx * LIGHT[0] - ny * LIGHT[1], 0) ** 3
    shade = (0.34 + 0.78 * diffuse + 0.25 * glow) * cover
    white = 225 * gloss * cover
    shade, white, cover = (_pool(values, samples)[..., None] for values in (shade, white, cover))
    paint = shade * np.array(colour, dtype=np.float32) + white
    canvas[at] = canvas[at] * (1 - cover) + paint


def _pool(values: Float32[np.ndarray, "t hs ws"], samples: int) -> Float32[np.ndarray, "t h w"]:
    side = values.shape[1] // samples
    return values.reshape(-1, side, samples, side, samples).mean((2, 4))


def _wood(x: Plane, y: Plane, lattice: Lattice) -> Ground:
    """Three planks of wood, levels of 255 at points (x, y); ``lattice``: random numbers."""
    plank = np.floor(y * 3 + lattice[0, 0]).astype(np.int64)
    own = lattice[plank % 64, 7]
    bend = _smooth(lattice, x * 1.3 + own * 40, y * 2.2 + own * 9)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (y * 9 + bend * 3.5 + own * 5))
    fibre = _smooth(lattice, x * 3 + own * 31, y * 70)
    tone = 0.55 * rings + 0.3 * fibre + 0.35 * own
    seam = np.abs((y * 3 + lattice[0, 0]) % 1 - 0.5)
    dark = 1 - 0.35 * np.clip((seam - 0.485) / 0.015, 0, 1)
    return _mix((216, 192, 162), (182, 152, 120), tone) * dark[..., None]


def _slate(x: Plane, y: Plane, lattice: Lattice) -> Ground:
    """Square tiles of slate, levels of 255 at points (x, y); ``lattice``: random numbers."""
    u, v = x * 4 + lattice[0, 0], y * 4 + lattice[0, 1]
    tile = lattice[np.floor(v).astype(np.int64) % 64, np.floor(u).astype(np.int64) % 64]
    cloud = _smooth(lattice, x * 6 + tile * 50, y * 9) + 0.5 * _smooth(lattice, x * 31, y * 43)
    edge = np.maximum(np.abs(u % 1 - 0.5), np.abs(v % 1 - 0.5))
    dark = 1 - 0.4 * np.clip((edge - 0.478) / 0.015, 0, 1)
    tone = 0.55 * tile + 0.35 * cloud
    return _mix((134, 138, 146), (96, 99, 106), tone) * dark[..., None]


def _felt(x: Plane, y: Plane, lattice: Lattice) -> Ground:
    """Dark felt with lighter areas, levels of 255 at points (x, y); ``lattice``: random numbers."""
    nap = _smooth(lattice, x * 90, y * 90)
    brushed = _smooth(lattice, x * 2.5 + 11, y * 2 + 5)
    return _mix((26, 38, 38), (48, 64, 62), 0.45 * nap + 0.55 * brushed)


def _mix(first: Colour, second: Colour, tone: Plane) -> Ground:
    start, stop = np.array(first, dtype=np.float32), np.array(second, dtype=np.float32)
    return start + (stop - start) * np.clip(tone, 0, 1)[..., None]


def _smooth(lattice: Lattice, x: Plane, y: Plane) -> Plane:
    """Value noise at points (x, y): ``lattice``, repeated, interpolated by smoothstep."""
    rows, columns = lattice.shape
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = x - left, y - top
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    upper, lower = top % rows, (top + 1) % rows
    here, right = left % columns, (left + 1) % columns
    above = lattice[upper, here] * (1 - fx) + lattice[upper, right] * fx
    below = lattice[lower, here] * (1 - fx) + lattice[lower, right] * fx
    return (above * (1 - fy) + below * fy).astype(np.float32)
