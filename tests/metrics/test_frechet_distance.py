"""Laws of the Frechet distance and of the normal distributions it is computed from."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longtake.metrics.frechet import Gaussian, frechet_distance, fvd
from longtake.metrics.frechet import gaussian as gaussian_of

WIDTH = 6


def drawn(count: int, seed: int = 0, width: int = WIDTH) -> Tensor:
    """Features of unequal variances that depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(99))
    return torch.randn(count, width, generator=generator) @ mixing + seed


def gaussian(mean: list[float], variances: list[float], axes: Tensor | None = None) -> Gaussian:
    turn = torch.eye(len(mean), dtype=torch.float64) if axes is None else axes
    diagonal = torch.tensor(variances, dtype=torch.float64).diag()
    centre = torch.tensor(mean, dtype=torch.float64)
    return Gaussian(mean=turn @ centre, covariance=turn @ diagonal @ turn.T)


POSITIVE = st.floats(0, 100, allow_subnormal=False)
NUMBER = st.floats(-10, 10, allow_subnormal=False)
AXES = st.lists(st.tuples(NUMBER, NUMBER, POSITIVE, POSITIVE), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(AXES)
def test_along_common_axes_it_is_that_of_means_and_of_deviations(axes):
    m1, m2, v1, v2 = (list(column) for column in zip(*axes, strict=True))
    want = sum((a - b) ** 2 for a, b in zip(m1, m2, strict=True))
    want += sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(v1, v2, strict=True))
    turn = torch.linalg.qr(drawn(len(m1), width=len(m1)).double()).Q
    for common in (None, turn):
        found = frechet_distance(gaussian(m1, v1, common), gaussian(m2, v2, common))
        assert found == pytest.approx(want, abs=1e-5)


def test_in_two_dimensions_it_is_the_formula_with_the_determinant():
    """tr (S1 S2)^(1/2) = sqrt(tr S1 S2 + 2 sqrt(det S1 S2)) for two by two."""
    x, y = (gaussian_of(drawn(50, seed, width=2)) for seed in (1, 2))
    product = x.covariance @ y.covariance
    root = (product.trace() + 2 * product.det().sqrt()).sqrt()
    means = (x.mean - y.mean).square().sum()
    want = means + x.covariance.trace() + y.covariance.trace() - 2 * root
    assert frechet_distance(x, y) == pytest.approx(float(want), rel=1e-12)


@pytest.mark.parametrize("count", [2, 4, 40])
def test_a_set_is_at_no_distance_from_itself(count):
    assert fvd(drawn(count), drawn(count)) == pytest.approx(0, abs=1e-11)


@pytest.mark.parametrize("count", [3, 40])
def test_it_is_symmetric(count):
    x, y = drawn(count, 1), drawn(30, 2)
    assert fvd(x, y) == pytest.approx(fvd(y, x), rel=1e-12)


def test_order_changes_nothing():
    x, y = drawn(40, 1), drawn(30, 2)
    assert fvd(x.flip(0), y.roll(7, 0)) == pytest.approx(fvd(x, y), rel=1e-12)


def test_turning_and_shifting_both_sides_changes_nothing():
    x, y = drawn(40, 1).double(), drawn(30, 2).double()
    turn = torch.linalg.qr(drawn(WIDTH).double()).Q
    assert fvd(x @ turn + 3, y @ turn + 3) == pytest.approx(fvd(x, y), rel=1e-9)


def test_scaling_both_sides_scales_it_by_the_square():
    x, y = drawn(40, 1), drawn(30, 2)
    assert fvd(4 * x, 4 * y) == pytest.approx(16 * fvd(x, y), rel=1e-12)


def test_one_distribution_scores_higher_with_fewer_clips():
    few, many = (fvd(*drawn(2 * n).split(n)) for n in (20, 2000))
    assert few > 10 * many > 0


def test_features_far_from_zero_keep_their_covariance():
    rows = drawn(100).double()
    near, far = (gaussian_of(part).covariance for part in (rows, rows + 1e4))
    torch.testing.assert_close(far, near, rtol=1e-6, atol=1e-6)


def test_one_clip_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 clips, got 1"):
        fvd(drawn(1), drawn(5))


def test_features_that_are_not_numbers_are_refused():
    rows = drawn(5)
    rows[3, 1] = float("nan")
    with pytest.raises(ValueError, match="1 of 5 clips have features that are infinite"):
        gaussian_of(rows)
