"""Which sample comes when."""

import pytest

from longtake.data.order import Order, rank_rows


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
