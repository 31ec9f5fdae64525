"""When adversaries begin: a step, or what the rule of a config finds while the training runs."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from jaxtyping import Float
from torch import Tensor

from longtake.losses.turn import Plateau
from longtake.training.blocks import BlockMeans, block_length


class Turn:
    """The first step of an adversary.

    Args:
        start: the step, or the rule that finds it.
    """

    def __init__(self, start: int | Plateau) -> None:
        self._rule = start if isinstance(start, Plateau) else None
        self.at = None if isinstance(start, Plateau) else start
        steps = self._rule.steps if self._rule else 1
        length = block_length(steps)
        self._parts = steps // length
        self._blocks = BlockMeans(length, keep=2 * self._parts)

    def begun(self, step: int) -> bool:
        """Whether the adversary takes part in a step, counted from 0."""
        return self.at is not None and step >= self.at

    def observe(self, step: int, loss: Float[Tensor, "1"]) -> None:
        """Take the reconstruction loss of the last of ``step`` steps."""
        if self._rule is None or self.at is not None:
            return
        whole = self._blocks.add(loss)
        late = self._rule.latest is not None and step >= self._rule.latest
        if late or (whole and step >= self._rule.earliest and self._rests(self._rule)):
            self.at = step

    def _rests(self, rule: Plateau) -> bool:
        means = [mean for (mean,) in self._blocks.means]
        if len(means) < 2 * self._parts:
            return False
        return rule.reached(fmean(means[: self._parts]), fmean(means[self._parts :]))

    def state(self) -> dict[str, Any]:
        """Plain data to go on from."""
        return {"at": self.at, "blocks": self._blocks.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state`` was taken."""
        self.at = state["at"]
        self._blocks.restore(state["blocks"])
