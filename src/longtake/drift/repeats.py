"""Freezes (runs of equal frames) and loops (earlier frames shown again)."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

# Step of a still frame: a fortieth of a level, what a codec makes of one frame shown twice.
STILL = 1e-4
STILL_SHARE = 0.03  # step of a still frame, as a share of the video's upper quartile of steps
LEAST_STILL = 2  # fewest frames of a freeze
LEAST_AGAIN = 8  # fewest frames of a loop
SHORTEST = 4  # shortest period of a loop, in frames
LONGEST_GAP = 2  # most frames within a loop that may differ from their originals
ANCHORS = 1500  # most frames that are compared with all frames before them
LAGS = 6  # most periods that are tried on every frame
CLOSE = 0.7  # distance of a repeated frame to its original, over the median distance of neighbours
AWAY = 3.0  # distance to which a video must have moved before it can return, over that of repeats


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """A run of ``frames`` frames from ``start`` on, each of which repeats the frame before it."""

    start: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A run of ``frames`` frames from ``start`` on that repeat those ``period`` frames before them.

    Up to two frames in a row within it may differ from theirs.
    """

    start: int
    frames: int
    period: int


def freezes(step: Float64[np.ndarray, "t"], least: int = LEAST_STILL) -> tuple[Freeze, ...]:
    """Runs of at least ``least`` frames that hardly differ from their predecessors."""
    usual = float(np.quantile(step[1:], 0.75)) if len(step) > 1 else 0.0
    still = step <= max(STILL, STILL_SHARE * usual)
    still[0] = False
    for t in range(2, len(step) - 2):  # a key frame within a still run is encoded independently
        if step[t] <= usual and still[t - 2 : t].all() and still[t + 1 : t + 3].all():
            still[t] = True
    return tuple(Freeze(start=a, frames=b - a) for a, b in _runs(still) if b - a >= least)


def loops(
    thumbnails: Float[np.ndarray, "t d"], frozen: Bool[np.ndarray, "t"], least: int = LEAST_AGAIN
) -> tuple[Loop, ...]:
    """Runs of frames that are closer to earlier frames than neighbouring frames are to each other.

    Up to 1500 evenly spaced frames are compared with all frames before them; the commonest
    distances in time between a frame and its repeat are then tried on every frame. The video must
    have moved away in between, so slow motion is not a loop.
    """
    frames = len(thumbnails)
    if frames < 2 * SHORTEST + least:
        return ()
    moving = _rms(thumbnails[1:], thumbnails[:-1])[~frozen[1:]]
    close = CLOSE * float(np.median(moving)) if len(moving) else 0.0
    taken = np.zeros(frames, bool)
    found: list[Loop] = []
    for lag in _candidates(thumbnails, close):
        again = np.zeros(frames, bool)
        again[lag:] = _rms(thumbnails[lag:], thumbnails[:-lag]) <= close
        again &= ~frozen
        for (_, a), (b, _) in pairwise(_runs(again)):
            again[a:b] = b - a <= LONGEST_GAP
        for a, b in _runs(again):
            if b - a < max(least, min(lag, 2 * least) // 2) or taken[a:b].any():
                continue
            between = thumbnails[a - lag : a]
            if _rms(between, between[:1]).max() > AWAY * close:
                found.append(Loop(start=a, frames=b - a, period=lag))
                taken[a:b] = True
    return tuple(sorted(found, key=lambda loop: loop.start))


def _candidates(thumbnails: Float[np.ndarray, "t d"], close: float) -> list[int]:
    """Distances in time at which frames repeat, the commonest first."""
    frames = len(thumbnails)
    every = max(1, frames // ANCHORS)
    votes: Counter[int] = Counter()
    for anchor in range(SHORTEST, frames, every):
        distance = _rms(thumbnails[:anchor], thumbnails[anchor : anchor + 1])
        lags = np.flatnonzero(distance[::-1] <= close) + 1
        away = np.flatnonzero(distance[::-1] > AWAY * max(close, 1e-6)) + 1
        lags = lags[lags > away[0]] if len(away) else lags[:0]
        if len(lags) and lags[0] >= SHORTEST:
            nearest = lags[: int(np.argmax(np.diff(lags, append=frames * 2) > 1)) + 1]
            votes[int(nearest[np.argmin(distance[anchor - nearest])])] += 1
    return [lag for lag, count in votes.most_common(LAGS) if count * every >= LEAST_AGAIN // 2]


def _rms(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"] | Float[np.ndarray, "1 d"]
) -> Float32[np.ndarray, "n"]:
    """Root mean square difference of rows, in blocks that bound the float32 copies."""
    parts = []
    for start in range(0, len(a), 8192):
        rows = a[start : start + 8192].astype(np.float32)
        others = (b if len(b) == 1 else b[start : start + 8192]).astype(np.float32)
        parts.append(np.sqrt(np.square(rows - others).mean(1)))
    return np.concatenate(parts)


def _runs(flags: Bool[np.ndarray, "t"]) -> list[tuple[int, int]]:
    """Half-open range of frames of each run."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
