"""Batches of clips for training, read ahead by worker processes that change nothing about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from longtake.data.clips import Clip, ClipSource
from longtake.data.order import Order, rank_rows
from longtake.noise import generator
from longtake.video import to_model


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Clips of one step that fall to one process.

    Attributes:
        video: in [-1, 1].
        label: class index; -1 where a clip has none.
        number: of each sample, counted from 0 since the start of training.
        captions: empty where a clip has none.
    """

    video: Float[Tensor, "b 3 t h w"]
    label: Int[Tensor, "b"]
    number: tuple[int, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """An endless order over a source: sample ``n`` is a function of the seed and ``n`` alone.

    Attributes:
        source: of the clips.
        batch: samples a step, over all processes.
        seed: of order, starts, crops and flips.
        rank: of this process.
        size: number of processes.
        workers: processes that read ahead; 0 reads when asked.
    """

    source: ClipSource
    batch: int
    seed: int
    rank: int = 0
    size: int = 1
    workers: int = 0

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """Batches of each step from ``first_step`` on, without end."""
        return iter(
            DataLoader(
                _Samples(self.source, self.seed),
                batch_sampler=_Steps(first_step, self.batch, self.rank, self.size),
                collate_fn=_collate,
                num_workers=self.workers,
            )
        )


class _Samples(Dataset[tuple[int, Clip]]):
    """Clips by sample number."""

    def __init__(self, source: ClipSource, seed: int) -> None:
        self._source, self._seed = source, seed
        self._order = Order(seed, len(source))

    def __getitem__(self, number: int) -> tuple[int, Clip]:
        epoch, item = self._order(number)
        return number, self._source.clip(item, generator(self._seed, "clip", epoch, item))


class _Steps(Sampler[list[int]]):
    """Sample numbers of each step, without end."""

    def __init__(self, first_step: int, batch: int, rank: int, size: int) -> None:
        self._first, self._deal = first_step, (batch, rank, size)

    def __iter__(self) -> Iterator[list[int]]:
        step = self._first
        while True:
            yield list(rank_rows(step, *self._deal))
            step += 1


def _collate(samples: Sequence[tuple[int, Clip]]) -> Batch:
    numbers, clips = zip(*samples, strict=True)
    labels = [-1 if clip.label is None else clip.label for clip in clips]
    return Batch(
        video=torch.stack([to_model(clip.frames) for clip in clips]),
        label=torch.tensor(labels),
        number=tuple(numbers),
        captions=tuple(clip.caption or "" for clip in clips),
    )
