"""Laws of the kernel distance."""

import pytest
import torch
from torch import Tensor

from longtake.metrics import kernel
from longtake.metrics.kernel import kvd


def drawn(count: int, seed: int, width: int = 4) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_mean_over_pairs_of_different_clips():
    x, y = drawn(4, 1).double(), drawn(3, 2).double()

    def k(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 4 + 1) ** 3)

    within_x = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    within_y = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    across = [k(a, b) for a in x for b in y]
    want = sum(within_x) / 12 + sum(within_y) / 6 - 2 * sum(across) / 12
    assert kvd(x, y) == pytest.approx(want, rel=1e-12)


def test_over_draws_from_one_distribution_its_mean_is_zero():
    found = torch.tensor([kvd(*drawn(20, seed).split(10)) for seed in range(300)])
    error = found.std() / 300**0.5
    assert found.mean().abs() < 3 * error
    assert found.min() < 0 < found.max()


def test_another_distribution_is_far_against_the_draws_of_one():
    alike = max(kvd(*drawn(80, seed).split(40)) for seed in range(20))
    assert kvd(drawn(40, 1), drawn(40, 2) + 2) > 3 * alike


def test_it_is_symmetric_and_blind_to_order():
    x, y = drawn(12, 1), drawn(9, 2) + 1
    assert kvd(y, x) == pytest.approx(kvd(x, y), rel=1e-12)
    assert kvd(x.flip(0), y.roll(2, 0)) == pytest.approx(kvd(x, y), rel=1e-12)


def test_it_does_not_depend_on_how_many_rows_are_in_memory(monkeypatch):
    x, y = drawn(12, 1), drawn(9, 2)
    whole = kvd(x, y)
    monkeypatch.setattr(kernel, "ROWS", 5)
    assert kvd(x, y) == pytest.approx(whole, rel=1e-12)


def test_one_clip_has_no_pairs():
    with pytest.raises(ValueError, match="at least 2 real and 2 generated clips, got 5 and 1"):
        kvd(drawn(5, 1), drawn(1, 2))
