"""Measures of the data set ``marbles`` from colours alone, without a network."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from longtake.data.source import Frames
from longtake.data.synthetic.marbles import attributes_of
from longtake.data.synthetic.marbles_picture import COLOURS, RADIUS

LEAST_CHROMA, LEAST_SATURATION = 42.0, 0.46  # of a marble's pixel: no ground reaches both
LEAST_SIZE = 0.3  # of a patch that counts as a marble, as a share of a marble's area
QUICK = 0.02  # speed between slow and quick marbles, in frame heights per frame
GROUND_ANCHORS = {"wood": (202, 175, 143), "slate": (116, 119, 127), "felt": (37, 51, 50)}


class Sighting(NamedTuple):
    """One marble found in one frame.

    Attributes:
        colour: name of the marble's colour.
        x: distance of the marble's centre from the left edge, in frame heights.
        y: distance of the marble's centre from the upper edge, in frame heights.
        size: the marble's visible area as a share of a whole marble's area.
    """

    colour: str
    x: float
    y: float
    size: float


@dataclass(frozen=True, kw_only=True)
class Permanence:
    """Counts of events that never happen in videos of the data set ``marbles``.

    Attributes:
        frames: number of frames that were searched.
        vanished: marbles that are missing in the next frame.
        appeared: marbles that were not in the frame before.
        recoloured: marbles that change colour from one frame to the next, in about the same place.
        teleported: marbles that move further between two frames than any marble rolls.
    """

    frames: int
    vanished: int
    appeared: int
    recoloured: int
    teleported: int

    @property
    def events(self) -> int:
        """Total number of impossible events."""
        return self.vanished + self.appeared + self.recoloured + self.teleported

    @property
    def events_per_1000_frames(self) -> float:
        """Number of impossible events per 1000 frames."""
        return 1000 * self.events / max(self.frames - 1, 1)


def sightings(frames: Frames) -> list[tuple[Sighting, ...]]:
    """Find the marbles in each frame of a video.

    A marble is a connected patch of one vivid colour with at least 0.3 of a marble's area.
    """
    colour = _colour_of_pixels(frames)
    t, y, x = np.nonzero(colour >= 0)
    names = colour[t, y, x]
    firsts, patch, area = np.unique(_patches(colour), return_inverse=True, return_counts=True)
    height, shorter = frames.shape[1], min(frames.shape[1:3])
    centre_x = np.bincount(patch, x + 0.5, len(area)) / np.maximum(area, 1) / height
    centre_y = np.bincount(patch, y + 0.5, len(area)) / np.maximum(area, 1) / height
    size = area / (np.pi * (RADIUS * shorter) ** 2)
    found: list[list[Sighting]] = [[] for _ in frames]
    for i in np.flatnonzero(size >= LEAST_SIZE):
        sighting = Sighting(tuple(COLOURS)[names[firsts[i]]], centre_x[i], centre_y[i], size[i])
        found[t[firsts[i]]].append(sighting)
    return [tuple(sorted(row)) for row in found]


def describe(frames: Frames) -> dict[str, str]:
    """Measure number, colours, ground and speed of the marbles in a video.

    Returns values by name, comparable with the ground truth, ``MarblesWorld.attributes``. Number
    and colours are those seen in most frames.
    """
    seen = sightings(frames)
    number = Counter(len(row) for row in seen).most_common(1)[0][0]
    often = Counter(colour for row in seen for colour in {one.colour for one in row})
    colours = [name for name in COLOURS if often[name] > len(seen) / 2]
    speed = "quickly" if rolling_speed(seen) > QUICK else "slowly"
    return attributes_of(number, colours, ground(frames), speed)


def ground(frames: Frames) -> str:
    """Name of the ground (wood, slate, felt) whose colour is nearest to that of a video.

    The video's colour is the median over all pixels that do not belong to a marble.
    """
    plain = frames[_colour_of_pixels(frames) < 0]
    middle = np.median(plain, axis=0) if len(plain) else np.zeros(3)
    far = {name: np.abs(middle - anchor).sum() for name, anchor in GROUND_ANCHORS.items()}
    return min(far, key=far.__getitem__)


def rolling_speed(seen: Sequence[Sequence[Sighting]], gap: int = 2) -> float:
    """Root mean square speed of marbles, in frame heights per frame.

    Positions ``gap`` frames apart are compared, since at low resolution the motion of a single
    frame is less than a pixel. A video of one frame has speed 0.

    Args:
        seen: marbles of each frame, as ``sightings`` returns them.
        gap: number of frames between compared positions.
    """
    single = [
        {one.colour: one for one in row if sum(one.colour == other.colour for other in row) == 1}
        for row in seen
    ]
    squares = [
        (later[colour].x - one.x) ** 2 + (later[colour].y - one.y) ** 2
        for earlier, later in zip(single, single[gap:], strict=False)
        for colour, one in earlier.items()
        if colour in later
    ]
    return float(np.sqrt(np.mean(squares)) / gap) if squares else 0.0


def permanence(frames: Frames, longest_step: float = 0.15) -> Permanence:
    """Count impossible events in a video of marbles.

    Args:
        frames: frames of one video.
        longest_step: greatest motion between neighbouring frames, in frame heights, that does not
            count as teleported. The fastest marbles roll 0.07; raise it for videos that skip
            frames.
    """
    seen = sightings(frames)
    counts = Counter(vanished=0, appeared=0, recoloured=0, teleported=0)
    for earlier, later in pairwise(seen):
        counts.update(_broken(list(earlier), list(later), longest_step))
    return Permanence(frames=len(frames), **counts)


def _broken(earlier: list[Sighting], later: list[Sighting], longest_step: float) -> Counter[str]:
    """Count impossible events between two neighbouring frames, by name of the event.

    Marbles are paired by colour and distance, the rest by distance alone. One that moves more than
    ``longest_step`` frame heights counts as teleported.
    """
    counts: Counter[str] = Counter()
    for alike in (True, False):
        pairs = sorted(
            (float(np.hypot(a.x - b.x, a.y - b.y)), a, b)
            for a in earlier
            for b in later
            if (a.colour == b.colour) == alike
        )
        for distance, a, b in pairs:
            if a in earlier and b in later and (alike or distance <= longest_step):
                earlier.remove(a)
                later.remove(b)
                counts["teleported"] += alike and distance > longest_step
                counts["recoloured"] += not alike
    counts["vanished"] += len(earlier)
    counts["appeared"] += len(later)
    return counts


def _colour_of_pixels(frames: Frames) -> Int64[np.ndarray, "t h w"]:
    """Index of the marbles' colour nearest in hue to each pixel; -1 for pixels that are not vivid.

    Indices are those of ``COLOURS``.
    """
    top, chroma = _top_and_chroma(*(frames[..., i] for i in range(3)))
    vivid = (chroma >= LEAST_CHROMA) & (chroma >= LEAST_SATURATION * top.astype(np.float32))
    anchors = _hue(np.array([*COLOURS.values()], dtype=np.float32))
    turned = np.abs(_hue(frames[vivid].astype(np.float32))[:, None] - anchors)
    colour = np.full(vivid.shape, -1, dtype=np.int64)
    colour[vivid] = np.minimum(turned, 6 - turned).argmin(1)
    return colour


def _hue(pixels: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
    """Hue of vivid pixels, in sixths of the circle: 0 red, 2 green, 4 blue."""
    r, g, b = pixels.T
    top, chroma = _top_and_chroma(r, g, b)
    turn = np.where(top == r, g - b, np.where(top == g, b - r, r - g)) / chroma
    return (turn + np.where(top == r, 0, np.where(top == g, 2, 4))).astype(np.float32) % 6


def _top_and_chroma(r: np.ndarray, g: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest of three colours, and its distance from the smallest."""
    top = np.maximum(np.maximum(r, g), b)
    return top, top - np.minimum(np.minimum(r, g), b)


def _patches(colour: Int64[np.ndarray, "t h w"]) -> Int64[np.ndarray, " n"]:
    """Number of the first pixel of the connected patch of each vivid pixel.

    ``colour`` is -1 at pixels that are not vivid; the others are numbered in order of memory.
    """
    vivid = colour >= 0
    rank = np.cumsum(vivid.ravel()).reshape(colour.shape) - 1
    below = vivid[:, :-1] & (colour[:, :-1] == colour[:, 1:])
    right = vivid[:, :, :-1] & (colour[:, :, :-1] == colour[:, :, 1:])
    one = np.concatenate([rank[:, :-1][below], rank[:, :, :-1][right]])
    other = np.concatenate([rank[:, 1:][below], rank[:, :, 1:][right]])
    first = np.arange(vivid.sum())
    while np.any(first[one] != first[other]):
        least = np.minimum(first[one], first[other])
        for side in (one, other):
            np.minimum.at(first, first[side], least)
        while np.any(first != first[first]):
            first = first[first]
    return first
