"""Distances of features over time."""

import pytest
import torch

from longtake.drift import feature_curve, feature_distances
from longtake.metrics.frechet import fvd
from longtake.metrics.kernel import kvd
from longtake.metrics.uncertainty import fvd_interval


def walking(videos: int = 40, windows: int = 5, step: float = 0.0) -> torch.Tensor:
    """Features whose mean walks off, the same way in each video."""
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(videos, windows, 6, generator=random)
    return rows + step * torch.arange(windows)[:, None]


def test_videos_that_walk_off_make_a_rising_curve():
    points = feature_curve(walking(step=1.0), range(0, 80, 16)).points
    distances = [point.fvd.value for point in points]
    assert distances == sorted(distances)
    assert points[-1].kvd.low > points[0].kvd.high


def test_videos_that_stay_make_a_level_curve():
    points = feature_curve(walking(), range(0, 80, 16)).points
    assert max(point.fvd.value for point in points) < 2 * points[0].fvd.value
    assert all(abs(p.kvd.value) < 3 * p.kvd.standard_error + 0.1 for p in points)


def test_against_real_clips_each_point_is_the_fvd_of_its_window():
    real, windows = torch.randn(30, 6), walking()
    curve = feature_curve(windows, range(0, 80, 16), real)
    assert curve.against == "real"
    for k, point in enumerate(curve.points):
        assert point.fvd.value == pytest.approx(fvd(real, windows[:, k]), rel=1e-9)
        assert point.kvd.value == pytest.approx(kvd(real, windows[:, k]), rel=1e-9)


def test_halves_of_the_same_videos_do_not_narrow_the_interval():
    rows = walking(videos=24)
    rows[:, 1] = rows[:, 0] + 0.1 * rows[:, 1]  # windows of one video are alike
    even, odd = rows[::2], rows[1::2]
    halves = fvd_interval(even[:, 0], odd[:, 1]), fvd_interval(odd[:, 0], even[:, 1])
    point = feature_curve(rows, range(0, 80, 16)).points[1].fvd
    assert point.standard_error >= min(half.standard_error for half in halves)


def test_the_fewest_videos_have_a_curve_with_intervals():
    for curve in (
        feature_curve(walking(videos=6), range(0, 80, 16)),
        feature_curve(walking(videos=3), range(0, 80, 16), torch.randn(3, 6)),
    ):
        assert all(
            0 < p.fvd.standard_error < 100 and 0 < p.kvd.standard_error < 100 for p in curve.points
        )


@pytest.mark.parametrize(
    ("videos", "real", "message"),
    [
        (5, None, "their own first windows needs at least 6 videos, got 5"),
        (2, 9, "against real ones needs at least 3 videos, got 2"),
        (9, 2, "at least 3 real videos, got 2"),
    ],
)
def test_too_few_videos_have_no_distribution(videos: int, real: int | None, message: str):
    clips = None if real is None else torch.randn(real, 6)
    with pytest.raises(ValueError, match=message):
        feature_curve(walking(videos=videos), range(0, 80, 16), clips)


def test_one_video_is_measured_in_steps_between_neighbours():
    row = torch.arange(5.0)[:, None] * torch.ones(3)
    assert feature_distances(row) == pytest.approx((0, 1, 2, 3, 4))
