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
    """FVD and KVD of one window over all videos against the reference clips.

    ``start`` is the window's first frame. KVD is unbiased, so close to 0 where the distributions
    are equal.
    """

    start: int
    fvd: Interval
    kvd: Interval


@dataclass(frozen=True, kw_only=True)
class Curve:
    """FVD and KVD of successive windows of long videos, as LVDM plots them.

    Attributes:
        against: the reference: ``real`` videos, or the ``first`` windows of the same videos.
        videos: number of videos; a small one biases FVD upwards, equally for all windows.
        references: number of reference clips.
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
    """FVD and KVD of window k over all videos, against real clips or the videos' first windows.

    Against the first windows, the videos are split into two halves: the windows of one half are
    compared with the first windows of the other, both ways round. Window k and window 0 of one
    video always resemble each other, and that must not count as quality. The first point is then
    the distance between the two halves, a floor for the rest of the curve.

    Args:
        windows: features of k windows of n videos.
        starts: first frame of each window.
        real: features of clips of real videos; None compares with the first windows.

    Raises:
        ValueError: too few videos or real clips.
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
    """Why a curve of these numbers of videos and real clips is impossible; None if it is not."""
    least = LEAST_CLIPS if real is not None else 2 * LEAST_CLIPS
    if videos < least:
        against = "their own first windows" if real is None else "real ones"
        return f"FVD of windows against {against} needs at least {least} videos, got {videos}"
    if real is not None and real < least:
        return f"FVD of windows needs at least {least} real videos, got {real}"
    return None


def feature_distances(windows: Float[Tensor, "k d"]) -> tuple[float, ...]:
    """Distance of each window of one video from the first, in median steps between neighbours.

    A stable video stays within a few steps; the distances of a drifting one rise. One video has no
    distribution, so this is not an FVD.
    """
    step = (windows[1:] - windows[:-1]).norm(dim=1).median().clamp(min=1e-9)
    return tuple(((windows - windows[0]).norm(dim=1) / step).tolist())


def _mean(a: Interval, b: Interval) -> Interval:
    """Mean of two distances, treating their errors as independent."""
    error = (a.standard_error**2 + b.standard_error**2) ** 0.5 / 2
    return Interval(value=(a.value + b.value) / 2, standard_error=error)
