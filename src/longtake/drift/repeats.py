"""Where a video stands still, and where it shows again what it has shown."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

STILL = 1e-4
"""A fortieth of a level of colour: what a codec makes of one frame shown twice."""

STILL_SHARE = 0.03
LEAST_STILL = 4
LEAST_AGAIN = 8
SHORTEST = 4
ANCHORS = 1500
LAGS = 6
CLOSE = 0.7
AWAY = 3.0


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """Frames that all show the frame before them.

    Attributes:
        start: the first frame that repeats.
        frames: how many do.
    """

    start: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Frames that show earlier ones again, in order.

    Attributes:
        start: the first frame that has been shown before.
        frames: how many there are from there to the last.
        period: frames from the earlier showing to this one.
    """

    start: int
    frames: int
    period: int


def freezes(step: Float64[np.ndarray, "t"], least: int = LEAST_STILL) -> tuple[Freeze, ...]:
    """Runs of frames that hardly differ from the frame before, for a video that else moves."""
    usual = float(np.quantile(step[1:], 0.75)) if len(step) > 1 else 0.0
    still = step <= max(STILL, STILL_SHARE * usual)
    still[0] = False
    for t in range(2, len(step) - 2):  # a key frame is coded anew within a run that stands still
        if step[t] <= usual and still[t - 2 : t].all() and still[t + 1 : t + 3].all():
            still[t] = True
    return tuple(Freeze(start=a, frames=b - a) for a, b in _runs(still) if b - a >= least)


def loops(
    thumbnails: Float[np.ndarray, "t d"], frozen: Bool[np.ndarray, "t"], least: int = LEAST_AGAIN
) -> tuple[Loop, ...]:
    """Runs of frames that come nearer to earlier ones than frames do to those beside them.

    Frames at even distances, 1500 at most, are held against all before them; the distances in time
    at which several of them come back are then tried on every frame. In between the video must have
    gone elsewhere, so slow motion is no loop.
    """
    frames = len(thumbnails)
    if frames < 2 * SHORTEST + least:
        return ()
    beside = _distance(thumbnails, 1)
    moving = beside[~frozen[1:]]
    close = CLOSE * float(np.median(moving)) if len(moving) else 0.0
    taken = np.zeros(frames, bool)
    found: list[Loop] = []
    for lag in _candidates(thumbnails, close):
        again = np.zeros(frames, bool)
        again[lag:] = _distance(thumbnails, lag) <= close
        again &= ~frozen
        _close_gaps(again, 2)
        for a, b in _runs(again):
            enough = b - a >= max(least, min(lag, 2 * least) // 2)
            if enough and not taken[a:b].any() and _left(thumbnails, a, lag, close):
                found.append(Loop(start=a, frames=b - a, period=lag))
                taken[a:b] = True
    return tuple(sorted(found, key=lambda loop: loop.start))


def _candidates(thumbnails: Float[np.ndarray, "t d"], close: float) -> list[int]:
    """Distances in time at which frames come back, the commonest first."""
    frames = len(thumbnails)
    every = max(1, frames // ANCHORS)
    votes: dict[int, int] = {}
    for anchor in range(SHORTEST, frames, every):
        distance = _from(thumbnails, anchor)
        lags = np.flatnonzero(distance[::-1] <= close) + 1
        away = np.flatnonzero(distance[::-1] > AWAY * max(close, 1e-6)) + 1
        lags = lags[lags > away[0]] if len(away) else lags[:0]
        if len(lags) and lags[0] >= SHORTEST:
            nearest = lags[: int(np.argmax(np.diff(lags, append=frames * 2) > 1)) + 1]
            lag = int(nearest[np.argmin(distance[anchor - nearest])])
            votes[lag] = votes.get(lag, 0) + 1
    common = sorted(votes, key=lambda lag: -votes[lag])
    return [lag for lag in common if votes[lag] * every >= LEAST_AGAIN // 2][:LAGS]


def _from(thumbnails: Float[np.ndarray, "t d"], anchor: int) -> Float32[np.ndarray, "before"]:
    """Distance of one frame to each before it."""
    here = thumbnails[anchor].astype(np.float32)
    parts = [
        np.sqrt(np.square(thumbnails[i : min(i + 8192, anchor)].astype(np.float32) - here).mean(1))
        for i in range(0, anchor, 8192)
    ]
    return np.concatenate(parts)


def _distance(thumbnails: Float[np.ndarray, "t d"], lag: int) -> Float32[np.ndarray, "later"]:
    """Of each frame to the one ``lag`` before it."""
    parts = []
    for start in range(lag, len(thumbnails), 8192):
        now = thumbnails[start : start + 8192].astype(np.float32)
        then = thumbnails[start - lag : start - lag + len(now)].astype(np.float32)
        parts.append(np.sqrt(np.square(now - then).mean(1)))
    return np.concatenate(parts)


def _left(thumbnails: Float[np.ndarray, "t d"], start: int, lag: int, close: float) -> bool:
    """Whether the video went elsewhere between a frame and its earlier showing."""
    between = thumbnails[start - lag : start].astype(np.float32)
    gone = np.sqrt(np.square(between - between[0]).mean(1)).max()
    return bool(gone > AWAY * close)


def _close_gaps(flags: Bool[np.ndarray, "t"], longest: int) -> None:
    """Fill short gaps between runs, in place."""
    ends = _runs(flags)
    for (_, a), (b, _) in pairwise(ends):
        if b - a <= longest:
            flags[a:b] = True


def _runs(flags: Bool[np.ndarray, "t"]) -> list[tuple[int, int]]:
    """First frame and the one after the last of each run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
