"""Monitors adversarial training: when discriminators start, and when the run has collapsed."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float
from torch import Tensor

from longtake.config import Config
from longtake.distributed import Ranks
from longtake.losses.adversarial import Accuracy
from longtake.losses.discriminators import Plateau

MAX_BLOCKS = 10


class CollapseRule(Config):
    """When adversarial training has collapsed; PVDM's authors warn that theirs may do so suddenly.

    Series are averaged over tenths of ``steps``, and all of these averages must be over a bound.

    Attributes:
        rise: bound of the reconstruction loss, as a multiple of its mean before the first
            discriminator started.
        accuracy: bound of a discriminator's accuracy, the share of patches it classifies correctly;
            above it the autoencoder has nothing to learn from the discriminator. None for no bound.
        steps: number of consecutive steps over a bound.
    """

    kind: Literal["collapse"] = "collapse"
    rise: Annotated[float, Gt(1)] = 1.5
    accuracy: Annotated[float, Interval(gt=0.5, lt=1)] | None = 0.99
    steps: Annotated[int, Ge(1)] = 1_000


class BlockMeans:
    """Means of series over consecutive blocks of steps.

    A window of steps has up to ten blocks of equal length, so a rule about windows is checked ten
    times a window. Sums stay on their device and are read once a block.

    Args:
        window: length of a window, in steps.
        windows: number of windows whose means are kept.
    """

    def __init__(self, window: int, windows: int = 1) -> None:
        self.per_window = next(n for n in range(MAX_BLOCKS, 0, -1) if window % n == 0)
        self._length = window // self.per_window
        self.means: deque[list[float]] = deque(maxlen=windows * self.per_window)
        self.clear()

    def clear(self) -> None:
        """Forget everything added."""
        self._sum: list[float] | Tensor = [0.0]
        self._count = 0
        self.means.clear()

    def add(self, values: Float[Tensor, "series"]) -> bool:
        """Add a step's values; True if they complete a block."""
        self._sum = torch.as_tensor(self._sum, dtype=values.dtype, device=values.device) + values
        self._count += 1
        if self._count < self._length:
            return False
        self.means.append((self._sum / self._length).tolist())
        self._sum, self._count = [0.0], 0
        return True

    def state(self) -> dict[str, Any]:
        """State as JSON values, which hold float32 exactly."""
        total = self._sum.tolist() if isinstance(self._sum, Tensor) else self._sum
        return {"sum": total, "count": self._count, "means": list(self.means)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self.clear()
        self._sum, self._count = state["sum"], state["count"]
        self.means.extend(state["means"])


class StartRule:
    """Decides the first step of a discriminator.

    Args:
        start: the step, or the plateau of the reconstruction loss to wait for.

    Attributes:
        first_step: the decision; None while it is open.
    """

    def __init__(self, start: int | Plateau) -> None:
        self._plateau = start if isinstance(start, Plateau) else None
        self.first_step = None if isinstance(start, Plateau) else start
        self._blocks = BlockMeans(self._plateau.steps if self._plateau else 1, windows=2)

    def active(self, step: int) -> bool:
        """True if the discriminator takes part in a step, counted from 0."""
        return self.first_step is not None and step >= self.first_step

    def observe(self, step: int, loss: Float[Tensor, "1"]) -> None:
        """Follow the reconstruction loss; ``step`` is the number of steps done."""
        rule = self._plateau
        if rule is None or self.first_step is not None:
            return
        complete = self._blocks.add(loss)
        late = rule.latest is not None and step >= rule.latest
        if late or (complete and step >= rule.earliest and self._plateau_reached(rule)):
            self.first_step = step

    def _plateau_reached(self, rule: Plateau) -> bool:
        means = [mean for (mean,) in self._blocks.means]
        window = self._blocks.per_window
        if len(means) < 2 * window:
            return False
        before, now = fmean(means[:window]), fmean(means[window:])
        return before - now < rule.improvement * before

    def state(self) -> dict[str, Any]:
        """State as JSON values."""
        return {"first_step": self.first_step, "blocks": self._blocks.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self.first_step = state["first_step"]
        self._blocks.restore(state["blocks"])


class CollapseDetector:
    """Compares the reconstruction loss and the discriminators' accuracies with their bounds.

    Args:
        rule: the bounds.
        names: names of the discriminators, in the order of their accuracies.

    Attributes:
        last_good_step: last step up to which nothing was over its bound; None before the start.
        loss_at_start: mean reconstruction loss over the window of steps before the first
            discriminator started or, if that was at the first step, over a tenth of the window
            after it.
    """

    def __init__(self, rule: CollapseRule, names: Sequence[str]) -> None:
        self._rule = rule
        self._names = ["reconstruction loss", *(f"accuracy of {name}" for name in names)]
        self._blocks = BlockMeans(rule.steps)
        self._blocks_over = [0] * len(self._names)
        self.last_good_step: int | None = None
        self.loss_at_start: float | None = None

    def start(self, step: int) -> None:
        """Begin to compare: the first discriminator starts after ``step`` steps."""
        if self._blocks.means:
            self.loss_at_start = fmean(mean[0] for mean in self._blocks.means)
        self._blocks.clear()
        self.last_good_step = step

    def observe(self, step: int, series: Float[Tensor, "series"]) -> None:
        """Follow the reconstruction loss and the accuracies; ``step`` is the number of steps done.

        Raises:
            FloatingPointError: the training has collapsed.
        """
        if not self._blocks.add(series) or self.last_good_step is None:
            return
        means = self._blocks.means[-1]
        if not all(math.isfinite(mean) for mean in means):
            raise FloatingPointError(f"the reconstruction loss is not a number at step {step}")
        if self.loss_at_start is None:
            self.loss_at_start = means[0]
        accuracy = math.inf if self._rule.accuracy is None else self._rule.accuracy
        bounds = [self._rule.rise * self.loss_at_start, *[accuracy] * (len(means) - 1)]
        pairs = zip(self._blocks_over, means, bounds, strict=True)
        self._blocks_over = [n + 1 if mean > bound else 0 for n, mean, bound in pairs]
        longest = max(self._blocks_over)
        if longest == 0:
            self.last_good_step = step
        if longest >= self._blocks.per_window:
            index = self._blocks_over.index(longest)
            raise FloatingPointError(
                f"the adversarial training collapsed: the {self._names[index]}, {means[index]:.4g} "
                f"now, was over {bounds[index]:.4g} for {self._rule.steps} steps (the "
                f"reconstruction loss was {self.loss_at_start:.4g} when the first "
                "discriminator started)"
            )

    def state(self) -> dict[str, Any]:
        """State as JSON values."""
        return {
            "last_good_step": self.last_good_step,
            "loss_at_start": self.loss_at_start,
            "blocks_over": self._blocks_over,
            "blocks": self._blocks.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self.last_good_step, self.loss_at_start = state["last_good_step"], state["loss_at_start"]
        self._blocks_over = list(state["blocks_over"])
        self._blocks.restore(state["blocks"])


@dataclass(kw_only=True)
class Statistics:
    """What the losses of a micro-batch find for the monitor.

    Attributes:
        reconstruction: reconstruction error.
        accuracies: accuracy of each active discriminator, by its name.
    """

    reconstruction: Tensor
    accuracies: dict[str, Accuracy] = field(default_factory=dict)


class TrainingMonitor:
    """Starts discriminators, can end the run early and marks its last good step.

    Decisions follow from means over all ranks, so all ranks start and stop at the same step.

    Args:
        starts: start of each discriminator, by its name; may be empty.
        collapse: when the training has failed; None never stops it.
        steps: number of steps from the first discriminator's start to the end of the run; None
            leaves the end to ``training.steps``.
        ranks: processes of the job.
    """

    def __init__(
        self,
        starts: Mapping[str, int | Plateau],
        collapse: CollapseRule | None,
        steps: int | None,
        ranks: Ranks,
    ) -> None:
        self._starts = {name: StartRule(start) for name, start in starts.items()}
        self._detector = CollapseDetector(collapse, list(starts)) if collapse else None
        self._steps, self._ranks = steps, ranks

    def active(self, step: int) -> frozenset[str]:
        """Names of the discriminators that take part in a step, counted from 0."""
        return frozenset(name for name, rule in self._starts.items() if rule.active(step))

    def observe(self, step: int, found: Sequence[Statistics]) -> None:
        """Follow a finished step.

        Args:
            step: number of steps done, this one included.
            found: statistics of the step's micro-batches on this rank.

        Raises:
            FloatingPointError: the training has collapsed. All ranks raise it at the same step.
        """
        if not self._starts:
            return
        series = self._ranks.all_mean(self._series(found))
        for rule in self._starts.values():
            rule.observe(step, series[:1])
        if self._detector is not None:
            self._detector.observe(step, series)
            if self._detector.last_good_step is None and self.active(step):
                self._detector.start(step)

    def _series(self, found: Sequence[Statistics]) -> Float[Tensor, "series"]:
        """The reconstruction loss and each accuracy, which is 0 before its discriminator starts."""
        loss = _mean([statistics.reconstruction for statistics in found]).float()
        series = [loss]
        for name in self._starts:
            own = [s.accuracies[name] for s in found if name in s.accuracies]
            both = (_mean([a.real for a in own]), _mean([a.fake for a in own])) if own else ()
            series.append(0.5 * sum(both, start=torch.zeros_like(loss)))
        return torch.stack(series)

    def done(self, step: int) -> bool:
        """True if the discriminators have had their steps."""
        starts = [r.first_step for r in self._starts.values() if r.first_step is not None]
        return self._steps is not None and bool(starts) and step >= min(starts) + self._steps

    @property
    def last_good_step(self) -> int | None:
        """The last step known to be good; None before the first discriminator starts.

        If the training fails, the last checkpoint up to this step is its result.
        """
        return None if self._detector is None else self._detector.last_good_step

    def state(self) -> dict[str, Any]:
        """State of all rules and of the detector, as JSON values."""
        return {
            "starts": {name: rule.state() for name, rule in self._starts.items()},
            "detector": None if self._detector is None else self._detector.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state, of this version or of 0.1."""
        if "turns" in state:
            state = self._translated(state)
        for name, rule in self._starts.items():
            rule.restore(state["starts"][name])
        if self._detector is not None:
            self._detector.restore(state["detector"])

    def _translated(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """The state that version 0.1 stored, whose discriminators had numbers instead of names."""
        names = {"trusted": "last_good_step", "level": "loss_at_start", "streaks": "blocks_over"}
        detector = state["health"] and {names.get(k, k): v for k, v in state["health"].items()}
        rules = [{"first_step": old["at"], "blocks": old["blocks"]} for old in state["turns"]]
        return {"starts": dict(zip(self._starts, rules, strict=True)), "detector": detector}


def _mean(values: Sequence[Tensor]) -> Tensor:
    return sum((v.detach() / len(values) for v in values), start=torch.zeros_like(values[0]))
