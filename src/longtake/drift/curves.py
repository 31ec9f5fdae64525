"""FVD, KVD and feature distances of windows against time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from longtake.metrics.uncertainty import Interval, fvd_interval, kvd_interval

LEAST_CLIPS = 3  # fewest clips on each side; the bootstrap interval of fewer is meaningless


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """FVD and KVD of one window of frames, taken over all videos, against reference clips.

    Attributes:
        start: index of the window's first frame.
        fvd: FVD with its interval.
        kvd: KVD with its interval; unbiased, so close to 0 between equal distributions.
    """

    start: int
    fvd: Interval
    kvd: Interval


@dataclass(frozen=True, kw_only=True)
class Curve:
    """FVD and KVD of successive windows, equally long parts, of long videos, as LVDM plots them.

    Attributes:
        against: what windows are compared with: clips of ``real`` videos, or the ``first`` windows
            of the same videos.
        videos: number of videos; a small number biases FVD upwards, equally for all windows.
        references: number of reference clips.
        points: the curve, in order of time.
    """

    against: Literal["real", "first"]
    videos: int
    references: int
    points: tuple[CurvePoint, ...]


def feature_curve(
    windows: Float[Tensor, "n k d"],
    starts: Sequence[int],
    real: Float[Tensor, "m d"] | None = None,
) -> Curve:
    """FVD and KVD of each window of frames over all videos, against reference clips.

    Without real clips the reference is the videos' first windows. The videos are then split into
    two halves: windows of one half are compared with the first windows of the other half, and the
    other way round, since two windows of one video always resemble each other. The first point is
    the distance between the two halves, to which the rest of the curve compares.

    Args:
        windows: features of k windows of n videos.
        starts: index of each window's first frame.
        real: features of clips of real videos; None: compare with the first windows.

    Raises:
        ValueError: there are fewer than 3 videos or 3 real clips; without real clips, fewer than 6
            videos.
    """
    if (problem := too_few(len(windows), None if real is None else len(real))) is not None:
        raise ValueError(problem)
    even, odd = windows[::2], windows[1::2]
    points = []
    for k, start in enumerate(starts):
        if real is not None:
            fvd, kvd = fvd_interval(real, windows[:, k]), kvd_interval(real, windows[:, k])
        else:
            pairs = (even[:, 0], odd[:, k]), (odd[:, 0], even[:, k])
            fvd = _mean(*(fvd_interval(*pair) for pair in pairs))
            kvd = _mean(*(kvd_interval(*pair) for pair in pairs))
        points.append(CurvePoint(start=start, fvd=fvd, kvd=kvd))
    return Curve(
        against="first" if real is None else "real",
        videos=len(windows),
        references=len(windows if real is None else real),
        points=tuple(points),
    )


def too_few(videos: int, real: int | None) -> str | None:
    """Why a curve over ``videos`` videos is impossible; None if it is possible.

    ``real`` is the number of real clips; None for a curve against first windows.
    """
    least = LEAST_CLIPS if real is not None else 2 * LEAST_CLIPS
    if videos < least:
        against = "their own first windows" if real is None else "real ones"
        return f"FVD of windows against {against} needs at least {least} videos, got {videos}"
    if real is not None and real < least:
        return f"FVD of windows needs at least {least} real videos, got {real}"
    return None


def feature_distances(windows: Float[Tensor, "k d"]) -> tuple[float, ...]:
    """Distance of the features of each window of one video from those of its first window.

    The unit is the median distance between neighbouring windows. The distances of a stable video
    stay within a few units, those of a drifting one rise. They are not FVD: one video has no
    distribution.
    """
    step = (windows[1:] - windows[:-1]).norm(dim=1).median().clamp(min=1e-9)
    return tuple(((windows - windows[0]).norm(dim=1) / step).tolist())


def _mean(a: Interval, b: Interval) -> Interval:
    """Mean of two distances and of their standard errors, since the distances are dependent."""
    error = (a.standard_error + b.standard_error) / 2
    return Interval(value=(a.value + b.value) / 2, standard_error=error)
