"""Physics of equal discs that bounce off each other and the floor's edges, at any frame."""

import math
import threading
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64

BLOCK_FRAMES = 64  # distance of the frames whose state is kept


class Disc(NamedTuple):
    """Position and velocity of a disc; lengths are in heights of the floor, times in frames."""

    x: float
    y: float
    vx: float
    vy: float


class Floor(NamedTuple):
    """A rectangular floor of height 1 and the given width, and the radius of the discs on it."""

    width: float
    radius: float


class Trajectory:
    """Positions of bouncing discs at any frame; ``discs`` are those at frame 0.

    Between two bounces all discs move in straight lines, so time advances from bounce to bounce:
    there is no step size, and energy is conserved. The state at every 64th frame is stored (32
    bytes per disc): a frame costs the bounces since the last stored state, and once, at about
    100,000 frames per second, all bounces before that state. The result does not depend on the
    order of calls.
    """

    def __init__(self, discs: tuple[Disc, ...], floor: Floor) -> None:
        self.floor = floor
        self._states = [np.array(discs)]
        self._lock = threading.Lock()

    def positions(self, start_frame: int, frames: int) -> Float64[np.ndarray, "t discs 2"]:
        """Centres (x, y) in ``frames`` frames from ``start_frame`` on, in floor heights.

        Raises:
            ValueError: ``start_frame`` is negative.
        """
        return self.states(start_frame, frames)[..., :2]

    def states(self, start_frame: int, frames: int) -> Float64[np.ndarray, "t discs 4"]:
        """Centres and velocities (x, y, vx, vy) in ``frames`` frames from ``start_frame`` on.

        Raises:
            ValueError: ``start_frame`` is negative.
        """
        if start_frame < 0:
            raise ValueError(f"start_frame={start_frame} must be 0 or more")
        stop = start_frame + frames
        blocks = range(start_frame // BLOCK_FRAMES, max(stop - 1, 0) // BLOCK_FRAMES + 1)
        return np.concatenate([self._block(block, start_frame, stop) for block in blocks])

    def _block(self, block: int, start: int, stop: int) -> Float64[np.ndarray, "t discs 4"]:
        """States (x, y, vx, vy) in those of a block's 64 frames from ``start`` to ``stop - 1``."""
        starts, discs = map(np.array, roll(self._state(block), self.floor))
        offset = block * BLOCK_FRAMES
        first, last = max(start - offset, 0), min(stop - offset, BLOCK_FRAMES)
        times = np.arange(first, last, dtype=np.float64)
        which = np.searchsorted(starts, times, side="right") - 1
        state = discs[which]
        state[..., :2] += state[..., 2:] * (times - starts[which])[:, None, None]
        return state

    def _state(self, block: int) -> tuple[Disc, ...]:
        with self._lock:
            while len(self._states) <= block:
                starts, discs = roll(_discs(self._states[-1]), self.floor)
                passed = BLOCK_FRAMES - starts[-1]
                self._states.append(np.array([_moved(disc, passed) for disc in discs[-1]]))
            return _discs(self._states[block])


def roll(discs: tuple[Disc, ...], floor: Floor) -> tuple[list[float], list[tuple[Disc, ...]]]:
    """Compute all bounces of discs within 64 frames.

    Returns the times of the bounces, in frames from now, and the discs just after each. The first
    entries are time 0 and ``discs`` themselves.
    """
    starts, after = [0.0], [discs]
    while True:
        waiting, who = _next_bounce(after[-1], floor)
        if starts[-1] + waiting >= BLOCK_FRAMES:
            return starts, after
        starts.append(starts[-1] + waiting)
        after.append(_bounce(tuple(_moved(disc, waiting) for disc in after[-1]), who))


def throw(number: int, speed: float, floor: Floor, generator: torch.Generator) -> tuple[Disc, ...]:
    """Draw discs that do not touch, at random positions with random directions.

    Args:
        number: number of discs; the floor must have ample space for them.
        speed: root mean square of the discs' speeds, in floor heights per frame.
        floor: size of the floor.
        generator: source of positions and directions.
    """
    gap = 2.2 * floor.radius
    room = torch.tensor([floor.width, 1.0], dtype=torch.float64) - 2 * floor.radius
    centres: list[list[float]] = []
    while len(centres) < number:
        drawn = torch.rand(2, generator=generator, dtype=torch.float64) * room + floor.radius
        centre = drawn.tolist()
        if all(math.dist(centre, other) > gap for other in centres):
            centres.append(centre)
    velocity = torch.randn(number, 2, generator=generator, dtype=torch.float64)
    velocity *= speed / velocity.square().sum(1).mean().sqrt()
    return tuple(Disc(*c, *v) for c, v in zip(centres, velocity.tolist(), strict=True))


def _next_bounce(discs: tuple[Disc, ...], floor: Floor) -> tuple[float, tuple[int, int]]:
    """Number of frames until the next bounce, and indices of the two discs that meet.

    At an edge of the floor the second index is -2 for a bounce along x, -1 along y.
    """
    walls = [
        (_until_wall(disc[axis], disc[2 + axis], floor.radius, extent), (i, axis - 2))
        for i, disc in enumerate(discs)
        for axis, extent in ((0, floor.width), (1, 1.0))
    ]
    pairs = [
        (_until_touch(discs[i], discs[j], 2 * floor.radius), (i, j))
        for i, j in combinations(range(len(discs)), 2)
    ]
    return min(walls + pairs, key=lambda bounce: bounce[0])


def _until_wall(position: float, velocity: float, radius: float, extent: float) -> float:
    if velocity > 0:
        return max((extent - radius - position) / velocity, 0.0)
    if velocity < 0:
        return max((radius - position) / velocity, 0.0)
    return math.inf


def _until_touch(a: Disc, b: Disc, distance: float) -> float:
    """Number of frames until the centres of two discs are ``distance`` apart; inf if never."""
    dx, dy, vx, vy = b.x - a.x, b.y - a.y, b.vx - a.vx, b.vy - a.vy
    towards = dx * vx + dy * vy
    if towards >= 0:
        return math.inf
    outside = dx * dx + dy * dy - distance * distance
    discriminant = towards * towards - (vx * vx + vy * vy) * outside
    if discriminant < 0:
        return math.inf
    return max(outside / (math.sqrt(discriminant) - towards), 0.0)


def _bounce(discs: tuple[Disc, ...], who: tuple[int, int]) -> tuple[Disc, ...]:
    changed, (i, j) = list(discs), who
    a = discs[i]
    if j < 0:
        changed[i] = a._replace(vx=-a.vx) if j == -2 else a._replace(vy=-a.vy)
        return tuple(changed)
    b = discs[j]
    dx, dy = b.x - a.x, b.y - a.y
    exchanged = ((b.vx - a.vx) * dx + (b.vy - a.vy) * dy) / (dx * dx + dy * dy)
    changed[i] = a._replace(vx=a.vx + exchanged * dx, vy=a.vy + exchanged * dy)
    changed[j] = b._replace(vx=b.vx - exchanged * dx, vy=b.vy - exchanged * dy)
    return tuple(changed)


def _moved(disc: Disc, frames: float) -> Disc:
    return disc._replace(x=disc.x + disc.vx * frames, y=disc.y + disc.vy * frames)


def _discs(state: Float64[np.ndarray, "discs 4"]) -> tuple[Disc, ...]:
    return tuple(Disc(*row) for row in state.tolist())
