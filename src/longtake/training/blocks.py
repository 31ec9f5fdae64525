"""Smoothing of what a training logs: means over blocks of steps."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

PARTS = 10


def block_length(steps: int) -> int:
    """Steps of a block, so that ``steps`` are a whole number of blocks, at most ten."""
    return steps // next(parts for parts in range(PARTS, 0, -1) if steps % parts == 0)


class BlockMeans:
    """Means of some series over blocks of steps.

    Sums stay where they are computed; they are read once a block.

    Args:
        length: of a block, in steps.
        keep: how many blocks, the last ones, are remembered.
    """

    def __init__(self, length: int, keep: int) -> None:
        self._length = length
        self._sum: list[float] | Tensor = [0.0]
        self._count = 0
        self.means: deque[list[float]] = deque(maxlen=keep)

    def add(self, values: Float[Tensor, "series"]) -> bool:
        """Take a step's values; whether they complete a block."""
        before = torch.as_tensor(self._sum, dtype=values.dtype, device=values.device)
        self._sum = before + values
        self._count += 1
        if self._count < self._length:
            return False
        self.means.append((self._sum / self._length).tolist())
        self._sum, self._count = [0.0], 0
        return True

    def state(self) -> dict[str, Any]:
        """Plain data; float32 is exact in it."""
        total = self._sum.tolist() if isinstance(self._sum, Tensor) else self._sum
        return {"sum": total, "count": self._count, "means": list(self.means)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state`` was taken."""
        self._sum, self._count = state["sum"], state["count"]
        self.means.clear()
        self.means.extend(state["means"])
