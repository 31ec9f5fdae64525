"""Freezes (runs of equal frames) and loops (earlier frames shown again)."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from longtake.drift.descriptors import CELLS

# Step of a still frame: a fortieth of a level, what a codec makes of one frame shown twice.
STILL = 1e-4
STILL_SHARE = 0.012  # step of a still frame, as a share of the video's upper quartile of steps
# Steps of a frame held by a codec, and of the frames around it, as shares of the same; fewest cells
# that move around it; most such runs: more are a pulse.
HELD_SHARE, MOVING_SHARE, LEAST_CELLS, MOST_HELD = 0.22, 0.5, 18, 3
MOST_KEYS = 3  # frames between two still runs that may be those of a codec
NEAR = 16  # frames around, whose median step is the usual one there
LEAST_STILL = 2  # fewest frames of a freeze
# Parts: frames before and within a freeze that are looked at; the step of cells that move (0.4
# levels of 255), and that of cells that are held over the least before it.
BEFORE, LEAST_PART, PART_MOVES, PART_STILL = 3, 6, 0.0015, 0.35
# Share of frames in which a cell may be still, fewest cells that move, and of these the fewest
# cells and the share that must stop; share of them that must move on together.
RARELY_STILL, LEAST_MOVING, LEAST_PARTS, PART_SHARE, TOGETHER = 0.4, 48, 6, 0.15, 0.75
LEAST_AGAIN = 8  # fewest frames of a loop
LEAST_EQUAL, EQUAL = 4, 0.3  # the same of frames that repeat almost exactly, and their distance
SHORTEST = 4  # shortest period of a loop, in frames
LONGEST_GAP = 2  # most frames within a loop that may differ from their originals
ANCHORS = 1500  # most frames that are compared with all frames before them
BLOCK, ROWS = 1 << 23, 8192  # distances, and frames as float32, that are in memory at once
LAGS = 6  # most periods that are tried on every frame
CLOSE = 0.7  # distance of a repeated frame to its original, over the median distance of neighbours
AWAY = 3.0  # distance to which a video must have moved before it can return, over that of repeats


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """A run of ``frames`` frames from ``start`` on, each of which repeats the frame before it.

    ``share`` is the share of the frame's area that does; 1 for whole frames.
    """

    start: int
    frames: int
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A run of ``frames`` frames from ``start`` on that repeat those ``period`` frames earlier.

    Up to two frames in a row within the run may be exceptions.
    """

    start: int
    frames: int
    period: int


def freezes(
    step: Float64[np.ndarray, "t"],
    moving: Int64[np.ndarray, "t"] | None = None,
    least: int = LEAST_STILL,
) -> tuple[Freeze, ...]:
    """Find runs of frames that hardly differ from the frame before.

    Codecs refine a frame that is shown again, by less and less. Such frames count as frozen only
    where a good part of the frame stops and resumes at once.

    Args:
        step: root mean square difference of each frame to the frame before, of colours in [0, 1].
        moving: number of cells of the frame that move, from ``moving_cells``; None: not used.
        least: least number of frames of a run that is returned; 2 by default.
    """
    usual = float(np.quantile(step[1:], 0.75)) if len(step) > 1 else 0.0
    still = step <= max(STILL, STILL_SHARE * usual)
    still[0] = False
    held = [
        (a, b)
        for a, b in _runs(step <= HELD_SHARE * usual)
        if moving is not None and 0 < a < b < len(step)
        if min(moving[a - 1], moving[b]) >= LEAST_CELLS
        if min(step[a - 1], step[b]) >= MOVING_SHARE * usual
        if step[a:b].max() <= HELD_SHARE * np.median(step[max(a - NEAR, 0) : b + NEAR])
    ]
    for a, b in held if len(held) <= MOST_HELD else ():
        still[a:b] = True
    for a, b in _runs(~still):  # a key frame within a still run is encoded independently
        around = still[max(a - 2, 0) : a].all() and still[b : b + 2].all()
        if 0 < a < b < len(step) - 1 and b - a <= MOST_KEYS and around:
            still[a:b] = step[a:b].max() <= (1.0 if b - a == 1 else MOVING_SHARE) * usual
    return tuple(Freeze(start=a, frames=b - a) for a, b in _runs(still) if b - a >= least)


def moving_cells(cells: Float[np.ndarray, "t d"]) -> Int64[np.ndarray, "t"]:
    """Number of cells, of a 12 x 12 grid over the frame, that move in each frame.

    They change by more than 0.4 levels of 255. ``cells`` is ``Descriptors.cells``.
    """
    return (np.split(cells, 3, axis=1)[2] > PART_MOVES).sum(1)


def part_freezes(
    cells: Float[np.ndarray, "t d"], frozen: Bool[np.ndarray, "t"]
) -> tuple[Freeze, ...]:
    """Find runs of frames in which a part of the frame that usually moves stands still.

    The cells of this part, of a 12 x 12 grid over the frame, must stop at one frame and resume at
    another: a person who stops does so little by little. Where less than a third of the grid moves
    most of the time, nothing is found, since an object that leaves a cell stops its motion too.

    Args:
        cells: ``Descriptors.cells``.
        frozen: whether each frame is frozen as a whole.
    """
    step = np.split(cells, 3, axis=1)[2].astype(np.float32)
    step = step[:, np.quantile(step, RARELY_STILL, axis=0) > PART_MOVES]
    if len(step) < BEFORE + LEAST_PART + 2 or step.shape[1] < LEAST_MOVING:
        return ()
    windows = np.lib.stride_tricks.sliding_window_view
    before = windows(step[:-1], BEFORE, axis=0).min(2)  # row k: of frames k to k + BEFORE - 1
    after = windows(step, LEAST_PART, axis=0).max(2)
    onsets = np.arange(BEFORE, len(step) - LEAST_PART)
    moved = before[onsets - BEFORE]
    stops = (moved > PART_MOVES) & (after[onsets + 1] < PART_STILL * moved)
    least, found, end = max(LEAST_PARTS, PART_SHARE * step.shape[1]), [], 0
    for onset in onsets[stops.sum(1) >= least].tolist():
        if onset < end or frozen[onset : onset + 1 + LEAST_PART].any():
            continue
        held = stops[onset - BEFORE]
        moves = step[onset + 1 :, held] >= PART_STILL * moved[onset - BEFORE, held]
        resumes = np.where(moves.any(0), moves.argmax(0), len(moves))
        length = int(np.median(resumes))
        end = onset + 1 + length
        if (np.abs(resumes - length) <= 1).mean() >= TOGETHER and end < len(step):
            share = float(held.sum() / CELLS**2)
            found.append(Freeze(start=onset + 1, frames=length, share=share))
    return tuple(found)


def loops(
    thumbnails: Float[np.ndarray, "t d"], frozen: Bool[np.ndarray, "t"], least: int = LEAST_AGAIN
) -> tuple[Loop, ...]:
    """Find runs of frames that are closer to earlier frames than neighbouring frames are.

    Fewer than 3000 evenly spaced frames are compared with all frames before them; the most frequent
    time differences between a frame and its repeat are then tried on every frame. The video must
    have differed in between, so slow motion is not a loop.

    Args:
        thumbnails: mean colours of the cells of a grid over each frame.
        frozen: whether each frame is frozen; such frames do not count as repeats.
        least: least number of frames of a run that is returned, 8 by default; of runs that repeat
            almost exactly it is always 4.
    """
    frames = len(thumbnails)
    if frames < 2 * SHORTEST + least:
        return ()
    moving = _rms(thumbnails[1:], thumbnails[:-1])[~frozen[1:]]
    close = CLOSE * float(np.median(moving)) if len(moving) else 0.0
    taken = np.zeros(frames, bool)
    found: list[Loop] = []
    for lag in _candidates(thumbnails, close):
        distance = np.full(frames, np.inf)
        distance[lag:] = _rms(thumbnails[lag:], thumbnails[:-lag])
        distance[frozen] = np.inf
        again = distance <= close
        for (_, a), (b, _) in pairwise(_runs(again)):
            again[a:b] = b - a <= LONGEST_GAP
        for a, b in _runs(again):
            equal = bool((distance[a:b] <= EQUAL * close).mean() > 0.5)
            shortest = LEAST_EQUAL if equal else max(least, min(lag, 2 * least) // 2)
            if b - a < shortest or taken[a:b].any():
                continue
            between = thumbnails[a - lag : a]
            if _rms(between, between[:1]).max() > AWAY * close:
                found.append(Loop(start=a, frames=b - a, period=lag))
                taken[a:b] = True
    return tuple(sorted(found, key=lambda loop: loop.start))


def _candidates(thumbnails: Float[np.ndarray, "t d"], close: float) -> list[int]:
    """Periods, in frames, after which a frame is within ``close`` again, the commonest first."""
    frames = len(thumbnails)
    every = max(1, frames // ANCHORS)
    votes: Counter[int] = Counter()
    anchors = np.arange(SHORTEST, frames, every)
    for block in np.array_split(anchors, len(anchors) * frames // BLOCK + 1):
        for anchor, distance in zip(block.tolist(), _distances(thumbnails, block), strict=True):
            if lag := _lag(distance[:anchor][::-1], close):
                votes[lag] += 1
    return [lag for lag, count in votes.most_common(LAGS) if count * every >= LEAST_EQUAL // 2]


def _distances(
    thumbnails: Float[np.ndarray, "t d"], chosen: Int64[np.ndarray, "n"]
) -> Float32[np.ndarray, "n t"]:
    """Root mean square difference of the rows ``chosen`` to all rows, by matrix products."""
    centre = thumbnails[chosen].astype(np.float32).mean(0)  # for the precision of the products
    rows = thumbnails[chosen].astype(np.float32) - centre
    found = np.empty((len(chosen), len(thumbnails)), np.float32)
    for start in range(0, len(thumbnails), ROWS):
        others = thumbnails[start : start + ROWS].astype(np.float32) - centre
        sizes = np.square(rows).sum(1)[:, None] + np.square(others).sum(1)
        squares = np.maximum(sizes - 2 * rows @ others.T, 0) / rows.shape[1]
        found[:, start : start + ROWS] = np.sqrt(squares)
    return found


def _lag(distance: Float32[np.ndarray, "n"], close: float) -> int:
    """Number of frames after which the video returns to a frame it had left; 0 if it does not.

    ``distance`` is that of the frame to the frames before, the nearest in time first; a frame whose
    distance is at most ``close`` is the same one.
    """
    away = np.flatnonzero(distance > AWAY * max(close, 1e-6))
    if not len(away):
        return 0
    lags = np.flatnonzero(distance[away[0] :] <= close) + away[0] + 1
    if not len(lags) or lags[0] < SHORTEST:
        return 0
    nearest = lags[: int(np.argmax(np.diff(lags, append=2 * len(distance) + 2) > 1)) + 1]
    return int(nearest[np.argmin(distance[nearest - 1])])


def _rms(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"] | Float[np.ndarray, "1 d"]
) -> Float32[np.ndarray, "n"]:
    """Root mean square difference of rows, in blocks that bound the float32 copies."""
    parts = []
    for start in range(0, len(a), ROWS):
        rows = a[start : start + ROWS].astype(np.float32)
        others = (b if len(b) == 1 else b[start : start + ROWS]).astype(np.float32)
        parts.append(np.sqrt(np.square(rows - others).mean(1)))
    return np.concatenate(parts)


def _runs(flags: Bool[np.ndarray, "t"]) -> list[tuple[int, int]]:
    """Half-open range of frames of each run of True flags."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
