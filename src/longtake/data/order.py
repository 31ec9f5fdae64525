"""The order of training samples: a function of the seed and the sample's number alone."""

import numpy as np
import torch

from longtake.noise import derive, generator

LONGEST_TABLE = 1 << 20  # items whose order is a table (4 MiB), as it was for any number of them
ROUNDS = 6


class Order:
    """An endless order over ``length`` items, shuffled in each epoch.

    Any position can be computed directly, so a resumed run, any rank and any worker see the same.
    Above ``LONGEST_TABLE`` items no table is kept: positions are computed by a Feistel network.
    """

    def __init__(self, seed: int, length: int) -> None:
        self._seed, self._length = seed, length
        self._epoch, self._table = -1, np.empty(0, np.int32)
        self._keys: list[int] = []

    def __call__(self, number: int) -> tuple[int, int]:
        """Epoch and item of sample ``number``, counted from 0 since the start of training."""
        epoch, position = divmod(number, self._length)
        if epoch != self._epoch:
            self._epoch = epoch
            self._shuffle(epoch)
        if self._length <= LONGEST_TABLE:
            return epoch, int(self._table[position])
        return epoch, permuted(position, self._length, self._keys)

    def _shuffle(self, epoch: int) -> None:
        if self._length <= LONGEST_TABLE:
            shuffle = torch.randperm(self._length, generator=generator(self._seed, "order", epoch))
            self._table = shuffle.to(torch.int32).numpy()
        else:
            self._keys = [derive(self._seed, "order", epoch, turn) for turn in range(ROUNDS)]


def permuted(position: int, length: int, keys: list[int]) -> int:
    """The place of a position in the permutation of ``range(length)`` that the keys name.

    A Feistel network permutes the numbers of an even number of bits; one that it takes out of the
    range is taken on until it is back (cycle walking: Black and Rogaway 2002), after fewer than
    four passes on average.
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = position >> half, position & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right, key) & mask)
        position = left << half | right
        if position < length:
            return position


def _mixed(value: int, key: int) -> int:
    """The finaliser of SplitMix64 over a value and a key."""
    mixed = (value + key) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return mixed ^ mixed >> 31


def micro_batches(rows: int, accumulate: int) -> list[slice]:
    """Equal slices of a process's samples, so that a mean over them is that over samples.

    Raises:
        ValueError: ``rows`` samples cannot be divided into ``accumulate`` equal slices.
    """
    if rows % accumulate:
        raise ValueError(
            f"accumulate={accumulate} must divide the {rows} samples that a process has in a step; "
            "change training.accumulate or training.batch"
        )
    size = rows // accumulate
    return [slice(start, start + size) for start in range(0, rows, size)]


def rank_rows(step: int, batch: int, rank: int, size: int) -> range:
    """Numbers of a process's samples of a step, as many as any other process has.

    Raises:
        ValueError: ``batch`` samples cannot be divided equally among ``size`` processes.
    """
    if batch % size:
        raise ValueError(
            f"a batch of {batch} cannot be divided among {size} processes; "
            f"the nearest batch that can is {max(1, round(batch / size)) * size}"
        )
    return range(step * batch + rank, (step + 1) * batch, size)
