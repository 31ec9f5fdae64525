"""The order of training samples: a function of the seed and the sample's number alone."""

import numpy as np
import torch

from longtake.noise import derive, generator

LONGEST_TABLE = 1 << 20  # items whose order is a table (4 MiB), as it was for any number of them
ROUNDS = 6


class Order:
    """Endless random order of the items 0 to ``length - 1``, another permutation every epoch.

    It is called with the number of a sample since training began, and returns epoch and item.
    Any position of the order can be computed directly, so that a resumed run and every rank and
    worker agree. For more than a million items a Feistel network computes positions, and no
    table is stored.
    """

    def __init__(self, seed: int, length: int) -> None:
        self._seed, self._length = seed, length
        self._epoch, self._table = -1, np.empty(0, np.int32)
        self._keys: list[int] = []

    def __call__(self, number: int) -> tuple[int, int]:
        """Epoch and item of sample number ``number``, counted from 0 since training began."""
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
    """Element ``position`` of a pseudo-random permutation of ``range(length)`` chosen by ``keys``.

    A Feistel network, one round per key, permutes the numbers of an even number of bits; a result
    outside the range is permuted again until it is inside (cycle walking: Black and Rogaway 2002),
    after fewer than four passes on average.
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
    """64-bit hash of a value and a key: the finaliser of SplitMix64."""
    mixed = (value + key) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return mixed ^ mixed >> 31


def micro_batches(rows: int, accumulate: int) -> list[slice]:
    """Slices of one process's samples of a step, one per micro-batch, all equally long.

    Equal lengths make the mean over micro-batches the mean over samples.

    Args:
        rows: number of samples that the process has in a step.
        accumulate: number of micro-batches.

    Raises:
        ValueError: ``accumulate`` does not divide ``rows``.
    """
    if rows % accumulate:
        raise ValueError(
            f"accumulate={accumulate} must divide the {rows} samples that a process has in a step; "
            "change training.accumulate or training.batch"
        )
    size = rows // accumulate
    return [slice(start, start + size) for start in range(0, rows, size)]


def rank_rows(step: int, batch: int, rank: int, size: int) -> range:
    """Numbers, since training began, of the samples of process ``rank`` in step ``step``.

    ``batch`` samples per step are divided equally among ``size`` processes.

    Raises:
        ValueError: ``size`` does not divide ``batch``.
    """
    if batch % size:
        raise ValueError(
            f"a batch of {batch} cannot be divided among {size} processes; "
            f"the nearest training.batch that can is {max(1, round(batch / size)) * size}"
        )
    return range(step * batch + rank, (step + 1) * batch, size)
