"""Batches of training clips, equal with any number of worker processes.

A clip that is damaged is replaced by another, drawn by the seed and the sample's number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from longtake.data.clips import Clip, ClipReader, ClipSource, Draw
from longtake.data.order import Order, rank_rows
from longtake.noise import generator
from longtake.video import VideoError, to_model


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The clips that one process gets in one training step.

    Attributes:
        video: clips in [-1, 1].
        number: number of each clip among all clips since training began, from 0.
    """

    video: Float[Tensor, "b 3 t h w"]
    number: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Endless training batches of a source; sample ``n`` depends on ``seed`` and ``n`` alone.

    Attributes:
        source: source of the clips.
        batch: number of clips per step, over all processes.
        seed: seed of everything random.
        rank: number of this process.
        size: number of processes, which share the clips of a step.
        workers: number of subprocesses of this process that read ahead; 0: none.
    """

    source: ClipSource
    batch: int
    seed: int
    rank: int = 0
    size: int = 1
    workers: int = 0

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """This process's batches of the steps from ``first_step`` on, forever.

        Subprocesses start at once, in the calling thread.

        Raises:
            ValueError: the batch cannot be divided among the processes.
            VideoError: eight clips in a row cannot be read.
        """
        rows = (rank_rows(step, self.batch, self.rank, self.size) for step in count(first_step))
        batches = DataLoader(
            _Samples(self.source, self.seed),
            batch_sampler=map(list, rows),
            collate_fn=_collate,
            num_workers=self.workers,
        )
        return map(_raised, iter(batches))


def _raised(batch: Batch | VideoError) -> Batch:
    if isinstance(batch, VideoError):  # raised in a worker, its text would be a traceback
        raise batch
    return batch


class _Samples(Dataset[tuple[int, Clip] | VideoError]):
    """Data set of (number, clip) by sample number; the VideoError if no clip can be read."""

    def __init__(self, source: ClipSource, seed: int) -> None:
        self._reader, self._seed, self._videos = ClipReader(source), seed, len(source)
        self._order = Order(seed, self._videos)

    def __getitem__(self, number: int) -> tuple[int, Clip] | VideoError:
        try:
            return number, self._reader.clip(self._draws(number))
        except VideoError as error:
            return error

    def _draws(self, number: int) -> Iterator[Draw]:
        epoch, item = self._order(number)
        yield item, generator(self._seed, "clip", epoch, item), None
        for attempt in count(1):
            random = generator(self._seed, "instead of clip", number, attempt)
            yield int(torch.randint(self._videos, (), generator=random)), random, None


def _collate(samples: Sequence[tuple[int, Clip] | VideoError]) -> Batch | VideoError:
    found = [sample for sample in samples if not isinstance(sample, VideoError)]
    if len(found) < len(samples):
        return next(sample for sample in samples if isinstance(sample, VideoError))
    numbers, clips = zip(*found, strict=True)
    return Batch(video=torch.stack([to_model(clip.frames) for clip in clips]), number=numbers)
