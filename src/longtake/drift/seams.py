"""Jumps at the borders between clips of a rollout; finds the borders if they are not given."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float64

from longtake.drift.descriptors import LUMA, Descriptors

# Smallest ratio of jumps at given and at found joints; codecs have patterns of their own, to 1.68.
SEAM, FOUND_SEAM = 1.15, 1.7
# Jumps at given joints must also be SEAM times what as many other frames reach: their mean plus
# CHANCE standard errors. Without it 9 % of clean skies as H.264 have seams every 20 frames, with it
# 0.3 %.
CHANCE = 2.5
NEAR = 12  # frames on each side whose median is the usual jump
SOFT = 3.0  # clip of a jump when searching for joints, in robust standard deviations
LONGEST = 512  # longest distance between joints that is tried, in frames
LEAST_FOUND = 4  # fewest joints that can be found
LEAST_CHUNK = 9  # least distance of joints that are found in the brightness; shorter are pulses
MOST_ALIGNED = 32  # most jumps whose distances are compared
# Found joints must be as rare among shuffled frames as exp(-BESIDE_CHANCE), all tries counted: in
# the picture, where things collide at their own rhythm, and in the brightness.
BESIDE_CHANCE, LIGHT_CHANCE = 8.0, 6.0
# A cut: jump over the usual jump, step over the second largest of the four beside it (a missing
# frame breaks the motion, and its step is not larger), and a visible RMS step of colours.
CUT, CUT_BESIDE, CUT_STEP = 3.0, 1.4, 0.02
# A jump that is far over the usual is a cut from this step on: another video is mixed in faintly.
CLEAR_CUT, CLEAR_STEP = 10.0, 0.01
# Share of the cells that must jump at a cut, in brightness by a level above the frames near.
CUT_PARTS, CUT_CELL, CUT_NEAR = 0.4, 1 / 255, 4
# Exponents that are tried for Chernoff's bound; the steepest sees the largest jumps alone.
STEEPEST, TILTS = 6.0, 49
DRAWS = 1000  # bootstrap draws
QUIET = 3e-4  # noise floor of codecs: a twelfth of a level of 255
LIGHT_QUIET = 4e-4  # the same of brightness, a tenth of a level
LEAST_LIGHT = 0.25 / 255  # least mean jump of brightness at joints that are found in it
# A single jump of brightness: its size, and over the usual jump of brightness.
LIGHT_JUMP, LIGHT_RISE = 1.2 / 255, 6.0
# Share of the cells that must jump alike, and how: over the mean of the cells in the middle.
LIGHT_PARTS, LIGHT_LIKE = 0.5, (0.4, 2.5)


@dataclass(frozen=True, kw_only=True)
class Seams:
    """Jumps at the borders between the clips of a long video, compared with jumps elsewhere.

    A jump is how far the change into a frame differs from the changes before and after it.

    Attributes:
        borders: first frame of each clip but the first.
        ratio: geometric mean, over borders, of the jump divided by the median jump near it.
        low: lower end of the ratio's 95 % interval, from a bootstrap over borders.
        high: upper end of the ratio's 95 % interval.
        by_chance: the ratio that as many frames away from borders may reach by chance: their mean
            plus 2.5 of its standard errors, of logarithms. Codecs and collisions raise it.
        period: number of frames from border to border; 0 if it varies.
        found: True if the borders were searched for, False if they were given.
    """

    borders: tuple[int, ...]
    ratio: float
    low: float
    high: float
    by_chance: float
    period: int
    found: bool

    @property
    def jumps(self) -> bool:
        """Whether jumps at borders are surely larger than elsewhere.

        ``low`` is 1.15 or more and ``ratio`` at least 1.15 times ``by_chance``; for borders that
        were searched for, ``low`` is 1.7 or more.
        """
        if self.found:
            return self.low >= FOUND_SEAM
        return self.low >= SEAM and self.ratio >= SEAM * self.by_chance


def jumps(thumbnails: Float[np.ndarray, "t d"]) -> Float64[np.ndarray, "t"]:
    """How far the change into each frame differs from the mean of the changes before and after.

    Steady motion and a steady change of light give 0; a seam that breaks either does not. It is a
    root mean square over ``thumbnails``, mean colours of the cells of a grid. The first two frames
    and the last have no such changes and get 0.
    """
    size = np.zeros(len(thumbnails))
    for start in range(2, len(thumbnails) - 1, 4096):
        part = thumbnails[start - 2 : start + 4097].astype(np.float32)
        steps = np.diff(part, axis=0)
        broken = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
        size[start : start + len(broken)] = np.sqrt(np.square(broken).mean(1))
    return size


def light_jumps(thumbnails: Float[np.ndarray, "t d"]) -> Float64[np.ndarray, "t"]:
    """Jump of the brightness in each frame, as far as the whole frame shares it, in [0, 1].

    It is the mean over the middle half of the cells of a grid, sorted by their jump. Something that
    moves within the frame changes some cells only: where less than half of the cells jump alike, at
    most a quarter of a level of 255 counts. ``thumbnails`` holds, for each frame, the mean red of
    every cell, then the greens, then the blues, in [0, 1], as in ``Descriptors``.
    """
    size = np.zeros(len(thumbnails))
    luma = np.array(LUMA, np.float32)
    for start in range(2, len(thumbnails) - 1, 4096):
        part = thumbnails[start - 2 : start + 4097].astype(np.float32)
        grey = np.einsum("tcn,c->tn", part.reshape(len(part), 3, -1), luma)
        steps = np.diff(grey, axis=0)
        broken = np.sort(steps[1:-1] - (steps[:-2] + steps[2:]) / 2, axis=1)
        rest = broken.shape[1] // 4
        middle = broken[:, rest : broken.shape[1] - rest].mean(1)
        share = broken / (middle[:, None] + 1e-9)
        alike = ((share > LIGHT_LIKE[0]) & (share < LIGHT_LIKE[1])).mean(1) >= LIGHT_PARTS
        jumped = np.where(alike | (np.abs(middle) < LEAST_LIGHT), np.abs(middle), LEAST_LIGHT)
        size[start : start + len(broken)] = jumped
    return size


def surprise(sizes: Float64[np.ndarray, "t"], quiet: float = QUIET) -> Float64[np.ndarray, "t"]:
    """Natural logarithm of each frame's jump divided by the median jump near it.

    ``sizes`` are the jumps, as ``jumps`` or ``light_jumps`` returns them, and ``quiet``, by default
    3e-4, is added to each. The first two frames and the last get 0.
    """
    known = np.log(sizes + quiet)[2:-1]
    if len(known) < 3:
        return np.zeros(len(sizes))
    near = min(NEAR, len(known) - 1)
    around = np.pad(known, near, mode="reflect")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * near + 1), axis=1)
    return np.concatenate([[0, 0], known - usual, [0]])


def borders_every(chunk: int, frames: int, first: int | None = None) -> tuple[int, ...]:
    """First frame of each clip but the first, if clips add ``chunk`` frames each.

    ``frames`` is the number of frames of the video; the first clip has ``first`` frames, or
    ``chunk`` if that is None.
    """
    return tuple(range(chunk if first is None else first, frames, chunk))


def seam_score(
    rise: Float64[np.ndarray, "t"], borders: Sequence[int], *, found: bool = False
) -> Seams | None:
    """Measure jumps at borders; None if fewer than two borders lie where a jump can be measured.

    That is from the third frame to the last but one.

    Args:
        rise: for each frame, logarithm of its jump divided by the median near it (``surprise``).
        borders: first frame of each clip but the first.
        found: whether the borders were searched for; copied to the result.
    """
    judged = [border for border in borders if 2 <= border < len(rise) - 1]
    if len(judged) < 2:
        return None
    values = rise[judged]
    random = np.random.default_rng(0)
    draws = random.choice(values, (DRAWS, len(values))).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    apart = {b - a for a, b in pairwise(judged)}
    return Seams(
        borders=tuple(judged),
        ratio=math.exp(values.mean()),
        low=math.exp(low),
        high=math.exp(high),
        by_chance=_by_chance(rise, judged),
        period=apart.pop() if len(apart) == 1 else 0,
        found=found,
    )


def _by_chance(rise: Float64[np.ndarray, "t"], borders: Sequence[int]) -> float:
    """Geometric mean that the jumps of as many frames away from the borders may have by chance.

    The frames beside borders are left out, as a jump at a border raises theirs, too; if too few
    others remain, they are not. 1 if there are no frames away from the borders.
    """
    at = np.array(borders)
    away = np.ones(len(rise), bool)
    away[[0, 1, -1]] = away[at] = False
    farther = away.copy()
    farther[at - 1] = farther[at + 1] = False
    others = rise[farther if farther.sum() >= len(at) else away]
    if not len(others):
        return 1.0
    return math.exp(others.mean() + CHANCE * others.std() / math.sqrt(len(at)))


def find_borders(
    rise: Float64[np.ndarray, "t"], beside_chance: float = BESIDE_CHANCE
) -> Seams | None:
    """Find evenly spaced borders at which jumps stand out; None if there are none.

    All periods from 4 to 512 frames and all first borders are tried; at least four borders are
    needed. Jumps are rare and large in some videos (objects collide), so they are not compared with
    Gaussian noise: the probability that frames in random order have such a mean at as many borders
    is bounded by Chernoff's inequality, and must be small compared with the number of tries.

    Args:
        rise: for each frame, logarithm of its jump divided by the median near it (``surprise``).
        beside_chance: by how much the natural logarithm of 1 / probability must exceed that of the
            number of tries; 8 by default.
    """
    spread = 1.4826 * float(np.median(np.abs(rise[2:-1]))) if len(rise) > 3 else 0.0
    if spread == 0:
        return None
    soft = np.clip(rise / spread, -SOFT, SOFT)
    beside = np.maximum(rise, np.maximum(np.roll(rise, 1), np.roll(rise, -1)))
    soft[rise < beside] = np.minimum(soft[rise < beside], 0)  # a joint counts once, at its peak
    periods = range(4, min(LONGEST, (len(rise) - 3) // LEAST_FOUND) + 1)
    if not periods:
        return None
    tilt = np.linspace(0, STEEPEST, TILTS)
    cumulant = np.log(np.exp(tilt[:, None] * soft[2:-1]).mean(1))
    scores = {period: _phases(soft, period, tilt, cumulant) for period in periods}
    period = max(periods, key=lambda period: scores[period].max())
    if scores[period].max() < math.log(sum(periods)) + beside_chance:
        return None
    phase = int(scores[period].argmax())
    shifted = [range((phase + shift) % period, len(rise), period) for shift in (-1, 0, 1)]
    borders = max(shifted, key=lambda at: abs(float(rise[at].mean())))
    return seam_score(rise, borders, found=True)


def aligned_borders(
    sizes: Float64[np.ndarray, "t"], rise: Float64[np.ndarray, "t"], beside_chance: float
) -> Seams | None:
    """Find evenly spaced borders on which all of the largest jumps lie; None if there are none.

    Unlike ``find_borders``, it finds borders of which some do not jump. Of n frames, k are borders.
    In random order, the m largest jumps all lie at borders with a probability of
    C(k, m) / C(n, m). It must be small compared with the number of periods, first borders and m
    that are tried. Jumps below a quarter of a level of 255, or below the usual, do not count.

    Args:
        sizes: jump of the brightness in each frame (``light_jumps``).
        rise: logarithm of each jump divided by the median near it (``surprise``), for the ratio.
        beside_chance: by how much the natural logarithm of 1 / probability must exceed that of the
            number of tries.
    """
    order = np.argsort(-sizes, kind="stable")
    order = order[(sizes[order] > LEAST_LIGHT) & (rise[order] > 0)].tolist()
    peaks = [t for t in order if sizes[t] >= sizes[max(t - 2, 0) : t + 3].max()]
    largest, frames = np.array(peaks[:MOST_ALIGNED], int), len(sizes) - 3
    periods = range(LEAST_CHUNK, min(LONGEST, frames // LEAST_FOUND) + 1)
    if len(largest) < LEAST_FOUND or not periods:
        return None
    improbable = {}
    for period in periods:
        others = np.flatnonzero(largest % period != largest[0] % period)
        hits = int(others[0]) if len(others) else len(largest)
        borders = len(_on_grid(period, int(largest[0]), len(sizes)))
        improbable[period] = _log_ways(frames, hits) - _log_ways(borders, hits)
        if hits < LEAST_FOUND:
            improbable[period] = 0.0
    period = max(periods, key=lambda period: improbable[period])
    tries = sum(periods) * (len(largest) - LEAST_FOUND + 1)
    if improbable[period] < math.log(tries) + beside_chance:
        return None
    return seam_score(rise, _on_grid(period, int(largest[0]), len(sizes)), found=True)


def _on_grid(period: int, at: int, frames: int) -> range:
    """Frames, from the third to the last but one, that are multiples of a period from ``at``."""
    return range(2 + (at - 2) % period, frames - 1, period)


def _log_ways(n: int, m: int) -> float:
    """Natural logarithm of the number of ways to choose m of n."""
    return math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1)


def cuts(rise: Float64[np.ndarray, "t"], video: Descriptors) -> tuple[int, ...]:
    """Frames at which 40 % or more of the cells of a 12 x 12 grid jump visibly, as at a cut.

    They jump far more than at the frames near. ``rise`` is the logarithm of each frame's jump
    divided by the median near it (``surprise``).
    """
    step = video.step
    beside = np.pad(step, 2, mode="edge")
    second = np.sort([beside[k : k + len(step)] for k in (0, 1, 3, 4)], axis=0)[2]
    large = (rise > math.log(CUT)) & (step > CUT_STEP)
    clear = (rise > math.log(CLEAR_CUT)) & (step > CLEAR_STEP)
    high = np.flatnonzero((large | clear) & (step > CUT_BESIDE * second)).tolist()
    highest = [t for t in high if rise[t] >= rise[max(t - 2, 0) : t + 3].max()]
    return tuple(t for t in highest if _parts_that_jump(video.cells, t) >= CUT_PARTS)


def _parts_that_jump(cells: Float[np.ndarray, "t d"], at: int) -> float:
    """Share of the cells whose step into frame ``at`` is above those into the frames near."""
    step = np.split(cells[max(at - CUT_NEAR, 1) : at + CUT_NEAR + 1], 3, axis=1)[2]
    near = np.delete(step, at - max(at - CUT_NEAR, 1), axis=0).astype(np.float32)
    jump = cells[at, 2 * step.shape[1] :].astype(np.float32)
    return float((jump > np.maximum(CUT_BESIDE * near.max(0), CUT_CELL)).mean())


def sudden_light(
    rise: Float64[np.ndarray, "t"], sizes: Float64[np.ndarray, "t"]
) -> tuple[int, ...]:
    """Frames at which the brightness jumps visibly, far more than at the frames near.

    ``sizes`` are the jumps (``light_jumps``), ``rise`` the logarithm of each divided by the median
    near it (``surprise``).
    """
    high = np.flatnonzero((rise > math.log(LIGHT_RISE)) & (sizes > LIGHT_JUMP)).tolist()
    return tuple(t for t in high if sizes[t] >= sizes[max(t - 2, 0) : t + 3].max())


def _phases(
    soft: Float64[np.ndarray, "t"],
    period: int,
    tilt: Float64[np.ndarray, "k"],
    cumulant: Float64[np.ndarray, "k"],
) -> Float64[np.ndarray, "period"]:
    """For each first border, minus the log of the chance of such a mean jump at its borders.

    Chernoff's bound: n sup_k (k mean - log E exp(k jump)), with E over all frames. ``soft`` are the
    jumps, ``tilt`` the tried k, ``cumulant`` the values of log E exp(k jump).
    """
    phase = np.arange(2, len(soft) - 1) % period
    count = np.bincount(phase, minlength=period)
    mean = np.bincount(phase, soft[2:-1], minlength=period) / np.maximum(count, 1)
    rate = (mean[:, None] * tilt - cumulant).max(1)
    return np.where(count >= LEAST_FOUND, count * rate, 0)
