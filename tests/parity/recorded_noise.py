"""Noise as the official code drew it."""

from collections.abc import Iterable, Sequence

from torch import Tensor

from longtake.noise import SampleNoise


class Recorded(SampleNoise):
    """Noise that the official code drew, in the order of its draws."""

    def __init__(self, draws: Iterable[Tensor]) -> None:
        super().__init__([0])
        self._draws = iter(draws)

    def normal(self, shape: Sequence[int]) -> Tensor:
        draw = next(self._draws)
        assert draw.shape[1:] == tuple(shape)
        return draw
