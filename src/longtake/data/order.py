"""The order of training samples: a function of the seed and the sample's number alone."""

import torch

from longtake.noise import generator


class Order:
    """An endless order over ``length`` items, shuffled in each epoch.

    Any position can be computed directly, so a resumed run, any rank and any worker see the same.
    """

    def __init__(self, seed: int, length: int) -> None:
        self._seed, self._length = seed, length
        self._epoch, self._items = -1, []

    def __call__(self, number: int) -> tuple[int, int]:
        """Epoch and item of sample ``number``, counted from 0 since the start of training."""
        epoch, position = divmod(number, self._length)
        if epoch != self._epoch:
            shuffle = torch.randperm(self._length, generator=generator(self._seed, "order", epoch))
            self._epoch, self._items = epoch, shuffle.tolist()
        return epoch, self._items[position]


def micro_batches(rows: int, accumulate: int) -> list[slice]:
    """Equal slices of a process's samples, so that a mean over them is that over samples."""
    if rows % accumulate:
        raise ValueError(
            f"accumulate={accumulate} must divide the {rows} samples that a process has in a step; "
            "change training.accumulate or training.batch"
        )
    size = rows // accumulate
    return [slice(start, start + size) for start in range(0, rows, size)]


def rank_rows(step: int, batch: int, rank: int, size: int) -> range:
    """Numbers of a process's samples of a step, as many as any other process has."""
    if batch % size:
        raise ValueError(
            f"a batch of {batch} cannot be divided among {size} processes; "
            f"the nearest batch that can is {max(1, round(batch / size)) * size}"
        )
    return range(step * batch + rank, (step + 1) * batch, size)
