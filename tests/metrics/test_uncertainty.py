"""Intervals of FVD and KVD and limits of FVD, on distributions whose FVD is known."""

from typing import Any

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from longtake.metrics.frechet import fvd
from longtake.metrics.kernel import kvd
from longtake.metrics.uncertainty import (
    bootstrap_weights,
    fvd_interval,
    fvd_limit,
    kvd_interval,
    standard_error,
    wilson_interval,
)

SHIFT, SCALE, WIDTH = 1.0, 1.5, 3
TRUE = WIDTH * (SHIFT**2 + (SCALE - 1) ** 2)
"""FVD of a normal distribution from one that is shifted and stretched."""


def sides(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, count, WIDTH, generator=generator)
    return x, SCALE * y + SHIFT


def test_the_centre_of_the_interval_is_the_fvd():
    x, y = sides(100, 0)
    found = fvd_interval(x, y[:60])
    assert found.value == fvd(x, y[:60])
    assert found.low < found.value < found.high


def test_its_standard_error_is_the_std_over_draws_of_clips():
    drawn = [sides(200, seed) for seed in range(60)]
    found = [fvd_interval(x, y) for x, y in drawn]
    spread = torch.tensor([interval.value for interval in found]).std()
    errors = torch.tensor([interval.standard_error for interval in found])
    assert errors.mean() == pytest.approx(float(spread), rel=0.25)
    covered = sum(interval.low < TRUE < interval.high for interval in found)
    assert covered >= 52


def test_redraws_weigh_clips_alike_and_depend_on_their_seed_alone():
    weights = bootstrap_weights(30, "real", redraws=4000)
    assert weights.sum(1) == pytest.approx(torch.ones(4000))
    assert weights.mean(0) == pytest.approx(torch.full((30,), 1 / 30), rel=0.03)
    assert torch.equal(weights, bootstrap_weights(30, "real", redraws=4000))
    assert not torch.equal(weights, bootstrap_weights(30, "generated", redraws=4000))
    assert not torch.equal(weights, bootstrap_weights(30, "real", redraws=4000, seed=1))


def test_the_spread_of_a_mean_is_the_textbook_standard_error():
    rows = torch.randn(400, dtype=torch.float64)
    means = bootstrap_weights(400, "real", redraws=2000) @ rows
    assert standard_error(means) == pytest.approx(float(rows.std()) / 20, rel=0.06)


def test_an_interval_needs_clips():
    x, y = sides(10, 0)
    with pytest.raises(ValueError, match="at least 2 clips, got 1"):
        fvd_interval(x, y[:1])
    with pytest.raises(ValueError, match="at least 2 real and 2 generated clips, got 1 and 10"):
        kvd_interval(x[:1], y)


def test_the_interval_of_kvd_is_that_of_each_redraw_by_itself():
    x, y = (rows.double() for rows in sides(9, 0))
    found = kvd_interval(x, y, redraws=5)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / WIDTH + 1) ** 3

    def within(rows: Tensor, w: Tensor) -> Tensor:
        pairs = w[:, None] * w * (1 - torch.eye(9))
        return (pairs * kernel(rows, rows)).sum() / pairs.sum()

    values = [
        within(x, u) + within(y, v) - 2 * (u[:, None] * v * kernel(x, y)).sum()
        for u, v in zip(
            bootstrap_weights(9, "real", redraws=5),
            bootstrap_weights(9, "generated", redraws=5),
            strict=True,
        )
    ]
    assert found.value == kvd(x, y)
    assert found.standard_error == pytest.approx(standard_error(torch.stack(values)))


def test_the_standard_error_of_kvd_is_the_std_over_draws_of_clips():
    found = [kvd_interval(*sides(100, seed)) for seed in range(60)]
    values = torch.tensor([interval.value for interval in found])
    errors = torch.tensor([interval.standard_error for interval in found])
    assert errors.mean() == pytest.approx(float(values.std()), rel=0.25)


def test_pairs_are_weighed_alike():
    """The standard error of FVD of reconstructions is that over draws of pairs."""
    drawn = [
        torch.randn(2, 64, 6, generator=torch.Generator().manual_seed(seed)) for seed in range(40)
    ]
    found = [fvd_interval(x, x + 0.2 * noise, paired=True, redraws=20) for x, noise in drawn]
    x, noise = drawn[-1]
    values = torch.tensor([interval.value for interval in found])
    errors = torch.tensor([interval.standard_error for interval in found])
    assert 0.8 < float(errors.mean() / values.std()) < 2  # too wide where pairs are near
    apart = fvd_interval(x, x + 0.2 * noise)
    assert apart.standard_error > 5 * found[-1].standard_error
    with pytest.raises(ValueError, match="must have equally many clips, got 64 and 60"):
        fvd_interval(x, noise[:60], paired=True)


@pytest.mark.parametrize("width", [3, 90])
def test_an_interval_and_the_covariance_over_n(width: int):
    """Fewer clips than features, and more."""
    x, y = torch.randn(2, 40, width, dtype=torch.float64)
    a, b = x[:30], y * 2
    found, over_n = fvd_interval(a, b), fvd_interval(a, b, correction=0)
    assert over_n.value == pytest.approx(fvd(a, b, correction=0))
    assert over_n.value != found.value
    assert over_n.standard_error == pytest.approx(found.standard_error, rel=0.2)


def test_covariance_over_n_is_numpys():
    x, y = torch.randn(2, 9, 1, dtype=torch.float64)
    want = (x.mean() - y.mean()) ** 2 + (x.std(correction=0) - y.std(correction=0)) ** 2
    assert fvd(x, y, correction=0) == pytest.approx(float(want))


def test_the_limit_is_fvd_without_the_bias_of_few_clips():
    found = [fvd_limit(*sides(40, seed), redraws=12) for seed in range(40)]
    values = torch.tensor([interval.value for interval in found])
    assert abs(float(values.mean()) - TRUE) < 3 * float(values.std()) / 40**0.5
    assert sum(interval.low < TRUE < interval.high for interval in found) >= 33


def test_the_limit_of_one_distribution_is_near_zero_where_its_fvd_is_not():
    x, y = torch.randn(2, 200, 20, generator=torch.Generator().manual_seed(0))
    assert fvd(x, y) > 1
    assert abs(fvd_limit(x, y, redraws=5).value) < 0.5


def test_the_limit_depends_on_its_seed_alone():
    x, y = sides(30, 0)
    first, again, other = (fvd_limit(x, y, redraws=4, seed=s).value for s in (1, 1, 2))
    assert first == again != other


def test_a_limit_needs_clips():
    x, y = sides(10, 0)
    with pytest.raises(ValueError, match="at least 4 real and 4 generated clips, got 3 and 10"):
        fvd_limit(x[:3], y)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (1, 10), (52, 96), (95, 96)])
def test_the_interval_of_a_share_is_scipys(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    found = wilson_interval(successes / trials, trials)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert 0.0 <= found[0] <= successes / trials <= found[1] <= 1.0


ALIKE = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_clips_of_one_video_have_one_weight():
    weights = bootstrap_weights(12, "real", videos=ALIKE, redraws=5)
    assert weights.sum(1) == pytest.approx(torch.ones(5))
    assert torch.equal(weights[:, ::3], weights[:, 1::3])
    assert not torch.equal(weights[:, 0], weights[:, 3])
    names = [7 * video + 1 for video in ALIKE]
    assert torch.equal(weights, bootstrap_weights(12, "real", videos=names, redraws=5))
    with pytest.raises(ValueError, match="one video for each of 5 clips, got 12"):
        bootstrap_weights(5, "real", videos=ALIKE)


def test_clips_of_different_videos_are_as_if_no_videos_were_named():
    x, y = sides(12, 0)
    apart: Any = {"real_videos": range(12), "generated_videos": range(40, 52)}
    for interval in (fvd_interval, kvd_interval, fvd_limit):
        assert interval(x, y, redraws=5, **apart) == interval(x, y, redraws=5)


def test_a_video_that_is_measured_again_adds_no_certainty():
    """Each clip four times: the standard error is that of the clips once."""
    x, y = sides(60, 0)
    again = [clip for clip in range(60) for _ in range(4)]
    for interval in (fvd_interval, kvd_interval):
        once = interval(x, y, redraws=500).standard_error
        named = interval(x, y[again], generated_videos=again, redraws=500).standard_error
        assert named == pytest.approx(once, rel=0.15)
        assert interval(x, y[again], redraws=500).standard_error < 0.85 * once


def test_halves_of_a_limit_divide_videos_not_their_clips():
    x, y = sides(120, 0)
    again = [clip for clip in range(120) for _ in range(3)]
    limit = fvd_limit(x[again], y[again], real_videos=again, generated_videos=again, redraws=4)
    assert limit.value == pytest.approx(fvd_limit(x, y, redraws=4).value, rel=0.1)
    with pytest.raises(ValueError, match="clips of at least 4 videos, got 3"):
        fvd_limit(x[:9], y, real_videos=ALIKE[:9])


def test_of_one_video_the_standard_error_is_unknown():
    x, y = sides(12, 0)
    for interval in (fvd_interval, kvd_interval):
        assert interval(x, y, generated_videos=[3] * 12).standard_error == float("inf")
