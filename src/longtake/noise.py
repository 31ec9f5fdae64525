"""Randomness that belongs to a sample, whatever batch, process or order it is drawn in."""

import hashlib
import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

AHEAD_VALUES = 1 << 24  # drawn at a time for a GPU: 64 MB


def derive(seed: int, *path: int | str) -> int:
    """Derive a seed for the purpose that ``path``, words and numbers, names.

    It is the first 63 bits of the BLAKE2b hash of ``seed`` and ``path``.

    ``derive(7, "clip", 12)`` is the same number in any process, order or run, so an interrupted
    job draws what an uninterrupted one would have drawn.
    """
    words = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A new CPU generator, seeded with ``derive(seed, *path)``; ``path`` names its purpose."""
    return torch.Generator("cpu").manual_seed(derive(seed, *path))


class SampleNoise:
    """One random stream per sample: sample ``i`` of a batch draws from ``seeds[i]`` alone.

    So sample 7 has the same noise whether it is drawn alone, in a batch of 64, or on rank 3 of 8.
    After ``StackedRandomGenerator`` of EDM (Karras et al. 2022).

    Args:
        seeds: one per sample.
        device: device of the noise, which is drawn on the CPU, so that it is the same everywhere.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._streams = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def normal(self, shape: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Draw standard normal noise in float32; ``shape`` is that of one sample."""
        return self._drawn(shape).to(self.device)

    def ahead(self, shape: Sequence[int], count: int) -> Iterator[Float[Tensor, "b ..."]]:
        """Yield what ``count`` calls of ``normal(shape)`` return, one after another.

        For a GPU many are drawn at a time and copied from pinned memory, so that the GPU does not
        wait for the CPU between two of them.
        """
        if self.device.type == "cpu":
            for _ in range(count):
                yield self.normal(shape)
            return
        values = max(len(self._streams) * math.prod(shape), 1)
        block = max(AHEAD_VALUES // values, 1)
        for first in range(0, count, block):
            drawn = torch.stack([self._drawn(shape) for _ in range(min(block, count - first))])
            if self.device.type == "cuda":
                drawn = drawn.pin_memory()
            yield from drawn.to(self.device, non_blocking=True)

    def _drawn(self, shape: Sequence[int]) -> Tensor:
        rows = [torch.randn(tuple(shape), generator=stream) for stream in self._streams]
        return torch.stack(rows)
