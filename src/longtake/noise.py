"""Randomness that belongs to a sample, whatever batch, process or order it is drawn in."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def derive(seed: int, *path: int | str) -> int:
    """Derive a seed for the purpose that ``path`` names: 63 bits of BLAKE2b of seed and path.

    ``derive(7, "clip", 12)`` is the same number in any process, order or run, so an interrupted
    job draws what an uninterrupted one would have drawn.
    """
    words = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A CPU generator for one purpose, named by ``path``: seeded by ``derive(seed, *path)``."""
    return torch.Generator("cpu").manual_seed(derive(seed, *path))


class SampleNoise:
    """One random stream per sample: sample ``i`` of a batch draws from ``seeds[i]`` alone.

    So sample 7 has the same noise whether it is drawn alone, in a batch of 64, or on rank 3 of 8.
    After ``StackedRandomGenerator`` of EDM (Karras et al. 2022).
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._streams = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def normal(self, shape: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Standard normal noise for every sample; ``shape`` is without the batch axis."""
        rows = [torch.randn(tuple(shape), generator=stream) for stream in self._streams]
        return torch.stack(rows).to(self.device)
