"""Whether an adversarial training has come to ruin."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval
from jaxtyping import Float
from torch import Tensor

from longtake.config import Config
from longtake.training.blocks import BlockMeans, block_length


class Collapse(Config):
    """What counts as ruin, in an adversarial training of an autoencoder.

    The authors of PVDM warn that theirs diverges of a sudden. Series are smoothed over tenths of
    ``steps`` and have to be beyond a bound in all of them.

    Attributes:
        rise: the reconstruction loss is over so many times its level at the turn.
        accuracy: a discriminator is right about more than this share of patches, so that the
            autoencoder has nothing to learn from it; None does not ask.
        steps: for so long.
    """

    kind: Literal["collapse"] = "collapse"
    rise: Annotated[float, Gt(1)] = 1.5
    accuracy: Annotated[float, Interval(gt=0.5, lt=1)] | None = 0.99
    steps: Annotated[int, Ge(1)] = 1_000


class Health:
    """Follows the reconstruction loss and the accuracies of discriminators.

    Attributes:
        trusted: the last step before which nothing was beyond its bound; None before the turn.
        level: of the reconstruction loss at the turn: its mean over ``steps`` steps before, or,
            where the adversary is there from the first step on, over the first tenth of them.
    """

    def __init__(self, rule: Collapse, adversaries: int) -> None:
        self._rule = rule
        length = block_length(rule.steps)
        self._parts = rule.steps // length
        self._blocks = BlockMeans(length, keep=self._parts)
        self._streaks = [0] * (1 + adversaries)
        self.trusted: int | None = None
        self.level: float | None = None

    def turn(self, step: int) -> None:
        """The adversary begins after so many steps."""
        if self._blocks.means:
            self.level = fmean(mean[0] for mean in self._blocks.means)
        self._blocks = BlockMeans(self._rule.steps // self._parts, keep=1)
        self.trusted = step

    def observe(self, step: int, series: Float[Tensor, "series"]) -> None:
        """Take the reconstruction loss and the accuracies of the last of ``step`` steps.

        Raises:
            FloatingPointError: the training has come to ruin.
        """
        if not self._blocks.add(series) or self.trusted is None:
            return
        (means,) = self._blocks.means
        if not all(math.isfinite(mean) for mean in means):
            raise FloatingPointError(f"the reconstruction loss is no number at step {step}")
        if self.level is None:
            self.level = means[0]
        beyond = [mean > bound for mean, bound in zip(means, self._bounds(), strict=True)]
        pairs = zip(self._streaks, beyond, strict=True)
        self._streaks = [streak + 1 if over else 0 for streak, over in pairs]
        if not any(self._streaks):
            self.trusted = step
        if max(self._streaks) >= self._parts:
            raise FloatingPointError(f"the adversarial training collapsed: {self._cause(means)}")

    def _bounds(self) -> list[float]:
        assert self.level is not None
        accuracy = math.inf if self._rule.accuracy is None else self._rule.accuracy
        return [self._rule.rise * self.level, *[accuracy] * (len(self._streaks) - 1)]

    def _cause(self, means: list[float]) -> str:
        index = max(range(len(means)), key=self._streaks.__getitem__)
        bound = f"over {self._bounds()[index]:.4g} for {self._rule.steps} steps"
        if index == 0:
            return (
                f"the reconstruction loss, {self.level:.4g} at the turn and {means[0]:.4g} now, "
                f"was {bound}"
            )
        return f"the accuracy of discriminator {index}, {means[index]:.4g} now, was {bound}"

    def state(self) -> dict[str, Any]:
        """Plain data to go on from."""
        return {
            "trusted": self.trusted,
            "level": self.level,
            "streaks": self._streaks,
            "blocks": self._blocks.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state`` was taken."""
        if state["trusted"] is not None:
            self.turn(state["trusted"])
        self.trusted, self.level = state["trusted"], state["level"]
        self._streaks = list(state["streaks"])
        self._blocks.restore(state["blocks"])
