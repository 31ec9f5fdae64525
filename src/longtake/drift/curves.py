"""Distances of features of windows over time: how far a video has gone from where it began."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from longtake.metrics.uncertainty import Interval, fvd_interval, kvd_interval

LEAST_CLIPS = 3
"""Of a side; of fewer, an interval would say nothing."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One window.

    Attributes:
        start: first frame of the window.
        fvd: of this window over all videos, against the reference.
        kvd: likewise; unbiased, so around 0 where nothing differs.
    """

    start: int
    fvd: Interval
    kvd: Interval


@dataclass(frozen=True, kw_only=True)
class Curve:
    """FVD and KVD against time, as in the figure of LVDM.

    Attributes:
        against: ``real`` videos, or the ``first`` windows of the same videos.
        videos: how many; FVD of few is biased upwards, the same for all windows.
        references: clips of the other side.
        points: in order of time.
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
    """FVD and KVD of window k over all videos, against real clips or each video's first window.

    Against the first windows, the videos are cut in two: one half's later windows are held against
    the other half's first, in both ways. Window k and window 0 of one video are alike whatever has
    become of it, and that must not count as quality. The first point is then the floor: what half
    the videos differ from the others by.

    Args:
        windows: features of k windows of n videos.
        starts: first frames of the windows.
        real: features of clips of real videos; without them the first windows stand for them.

    Raises:
        ValueError: too few videos or real clips.
    """
    if (lack := too_few(len(windows), None if real is None else len(real))) is not None:
        raise ValueError(lack)
    points = []
    for k, start in enumerate(starts):
        if real is not None:
            distances = _both(real, windows[:, k])
        else:
            even, odd = windows[::2], windows[1::2]
            distances = [
                _mean(*pair)
                for pair in zip(
                    _both(even[:, 0], odd[:, k]), _both(odd[:, 0], even[:, k]), strict=True
                )
            ]
        points.append(CurvePoint(start=start, fvd=distances[0], kvd=distances[1]))
    return Curve(
        against="first" if real is None else "real",
        videos=len(windows),
        references=len(windows) if real is None else len(real),
        points=tuple(points),
    )


def too_few(videos: int, real: int | None = None) -> str | None:
    """What is said of so few videos and real clips; None where a curve can be drawn.

    Args:
        videos: how many there are.
        real: clips that they are held against; None holds them against their first windows.
    """
    least = LEAST_CLIPS if real is not None else 2 * LEAST_CLIPS
    if videos < least:
        against = "their own first windows" if real is None else "real ones"
        return f"FVD of windows against {against} needs at least {least} videos, got {videos}"
    if real is not None and real < least:
        return f"FVD of windows needs at least {least} real videos, got {real}"
    return None


def feature_distances(windows: Float[Tensor, "k d"]) -> tuple[float, ...]:
    """What one video can say: how far each window is from the first, in steps between neighbours.

    The distance of features over the median distance of windows side by side. A video that stays
    what it is keeps to a few steps; one that becomes another climbs. One video has no distribution,
    so this is no FVD.
    """
    beside = (windows[1:] - windows[:-1]).norm(dim=1).median().clamp(min=1e-9)
    return tuple(((windows - windows[0]).norm(dim=1) / beside).tolist())


def _both(x: Tensor, y: Tensor) -> tuple[Interval, Interval]:
    return fvd_interval(x, y), kvd_interval(x, y)


def _mean(a: Interval, b: Interval) -> Interval:
    """Of two distances whose errors are taken for independent."""
    standard_error = (a.standard_error**2 + b.standard_error**2) ** 0.5 / 2
    return Interval(value=(a.value + b.value) / 2, standard_error=standard_error)
