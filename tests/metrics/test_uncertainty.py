"""Intervals and limits of FVD, on distributions whose FVD is known."""

import pytest
import torch
from torch import Tensor

from longtake.metrics.frechet import fvd
from longtake.metrics.statistics import FeatureSums
from longtake.metrics.uncertainty import fvd_interval, fvd_limit, total

SHIFT, SCALE, WIDTH = 1.0, 1.5, 3
TRUE = WIDTH * (SHIFT**2 + (SCALE - 1) ** 2)
"""FVD of a normal distribution from one that is shifted and stretched."""


def sides(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, count, WIDTH, generator=generator)
    return x, SCALE * y + SHIFT


def parts(rows: Tensor, count: int = 10) -> list[FeatureSums]:
    return [FeatureSums.of(part) for part in rows.chunk(count)]


def test_the_centre_of_the_interval_is_the_fvd():
    x, y = sides(100, 0)
    found = fvd_interval(parts(x), parts(y, 5))
    assert found.value == pytest.approx(fvd(x, y), rel=1e-12)
    assert found.low < found.value < found.high


def test_its_deviation_is_that_over_draws_of_clips():
    drawn = [sides(200, seed) for seed in range(60)]
    found = [fvd_interval(parts(x), parts(y)) for x, y in drawn]
    spread = torch.tensor([interval.value for interval in found]).std()
    deviations = torch.tensor([interval.deviation for interval in found])
    assert deviations.mean() == pytest.approx(float(spread), rel=0.25)
    covered = sum(interval.low < TRUE < interval.high for interval in found)
    assert covered >= 52


def test_an_interval_is_never_below_zero():
    x, _ = sides(40, 0)
    assert fvd_interval(parts(x), parts(x)).low == 0


def test_an_interval_needs_parts():
    x, y = sides(10, 0)
    with pytest.raises(ValueError, match="at least 2 parts a side, got 10 and 1"):
        fvd_interval(parts(x), [FeatureSums.of(y)])
    with pytest.raises(ValueError, match="at least 1 part, got none"):
        total([])


def test_the_limit_of_one_distribution_is_near_zero_where_its_fvd_is_not():
    rows = torch.randn(2, 600, 20, generator=torch.Generator().manual_seed(0))
    found = fvd_limit(rows[0], rows[1], clips=(100, 150, 200, 300, 600), draws=4)
    assert list(found.distances) == sorted(found.distances, reverse=True)
    assert found.distances[-1] > 0.4
    assert abs(found.limit) < 0.15


def test_the_limit_depends_on_its_seed_alone():
    x, y = sides(50, 0)
    first, again, other = (fvd_limit(x, y, clips=(10, 30), seed=s).limit for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("clips", [(10,), (10, 10), (1, 10), (10, 51)])
def test_a_limit_needs_different_numbers_of_clips_that_there_are(clips):
    x, y = sides(50, 0)
    with pytest.raises(ValueError, match="at least two numbers from 2 to 50"):
        fvd_limit(x, y, clips=clips)
