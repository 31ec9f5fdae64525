"""Which sample comes when."""

import tracemalloc

import numpy as np
import pytest

from longtake.data.order import Order, permuted, rank_rows

OF_0_1_0 = [(0, 1), (0, 4), (0, 2), (0, 3), (0, 5), (0, 6), (0, 0), (1, 6), (2, 0)]


def test_every_epoch_has_every_item_once_in_an_order_of_its_own():
    order = Order(3, 20)
    epochs = [[order(epoch * 20 + place)[1] for place in range(20)] for epoch in range(2)]
    assert [sorted(items) for items in epochs] == [list(range(20))] * 2
    assert epochs[0] != epochs[1]


def test_a_place_can_be_asked_for_directly():
    asked, again = Order(3, 7), Order(3, 7)
    numbers = [25, 3, 24, 0]
    assert [asked(n) for n in numbers] == [again(n) for n in range(26)][25:26] + [
        again(n) for n in numbers[1:]
    ]


def test_another_seed_gives_another_order():
    first, second = ([Order(seed, 20)(n)[1] for n in range(20)] for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_processes_share_the_samples_of_a_step_among_them(size: int):
    rows = [n for rank in range(size) for n in rank_rows(4, 6, rank, size)]
    assert sorted(rows) == list(range(24, 30))


def test_a_batch_that_cannot_be_dealt_is_answered_with_one_that_can():
    with pytest.raises(ValueError, match=r"batch of 7 cannot be divided among 3 .* that can is 6"):
        rank_rows(0, 7, 0, 3)


def test_the_order_of_a_run_that_began_earlier_stays():
    order = Order(3, 7)
    assert [order(n) for n in (0, 1, 2, 3, 4, 5, 6, 7, 20)] == OF_0_1_0


@pytest.mark.parametrize("length", [1, 2, 3, 64, 65, 1000])
def test_a_computed_order_has_every_item_once(length: int):
    orders = [[permuted(n, length, [seed, 5, 9, 2]) for n in range(length)] for seed in (7, 8)]
    assert [sorted(order) for order in orders] == [list(range(length))] * 2
    assert length < 64 or orders[0] != orders[1]


def test_a_computed_order_is_spread_as_a_random_one():
    length = 20_000
    order = [permuted(n, length, [11, 22, 33, 44, 55, 66]) for n in range(length)]
    assert abs(np.corrcoef(order, range(length))[0, 1]) < 4 / length**0.5
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 4 / length**0.5
    fixed = sum(item == number for number, item in enumerate(order))
    assert fixed < 8


def test_an_order_of_ten_million_items_takes_no_memory():
    tracemalloc.start()
    order = Order(3, 10_000_000)
    shown = {order(n) for n in range(0, 30_000_000, 100_000)}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(shown) == 300
    assert {epoch for epoch, _ in shown} == {0, 1, 2}
    assert peak < 1 << 20
