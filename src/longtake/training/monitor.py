"""Monitors adversarial training: when discriminators start, and when the run has collapsed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float
from pydantic import BaseModel, Field, TypeAdapter, field_serializer, field_validator
from torch import Tensor

from longtake import config
from longtake.config import Config
from longtake.distributed import Ranks
from longtake.losses.adversarial import Accuracy
from longtake.losses.discriminators import Plateau

MAX_BLOCKS = 10


class CollapseRule(Config):
    """When adversarial training counts as collapsed, so that the run ends.

    PVDM's authors warn that training may collapse suddenly. It has collapsed if the reconstruction
    loss or a discriminator's accuracy is over its bound for ``steps`` consecutive steps; to be
    robust to noise, means over each tenth of these steps are compared.

    Attributes:
        rise: bound of the reconstruction loss, as a multiple of its mean before the first
            discriminator started.
        accuracy: bound of a discriminator's accuracy, the share of patches that it classifies
            correctly; above it the autoencoder has nothing to learn from the discriminator. None
            for no bound.
        steps: number of consecutive steps over a bound.
    """

    kind: Literal["collapse"] = "collapse"
    rise: Annotated[float, Gt(1)] = 1.5
    accuracy: Annotated[float, Interval(gt=0.5, lt=1)] | None = 0.99
    steps: Annotated[int, Ge(1)] = 1_000


def blocks_per_window(window: int) -> int:
    """Number of blocks, at most ten, into which ``window`` steps are divided equally.

    The mean of a series over each block is compared with a bound, so that a rule about ``window``
    steps is checked about ten times in that number of steps.
    """
    return next(n for n in range(MAX_BLOCKS, 0, -1) if window % n == 0)


class BlockMeans(BaseModel):
    """Means of some series, such as losses, over consecutive blocks of training steps.

    Attributes:
        sum: sum of each series over the current block; it stays on its device until the block ends.
        count: number of steps in the current block.
        means: means of each series over the finished blocks, oldest first.
    """

    sum: Any = (0.0,)
    count: int = 0
    means: list[list[float]] = []

    def add(self, values: Float[Tensor, "series"], window: int, windows: int = 1) -> bool:
        """Add a step's value of each series; return whether this completes a block.

        A block has about a tenth of ``window`` steps; means of blocks before the last ``windows *
        window`` steps are dropped.
        """
        self.sum = torch.as_tensor(self.sum, dtype=values.dtype, device=values.device) + values
        self.count += 1
        blocks = blocks_per_window(window)
        if self.count < window // blocks:
            return False
        self.means = [*self.means, (self.sum / self.count).tolist()][-windows * blocks :]
        self.sum, self.count = (0.0,), 0
        return True

    @field_validator("sum")
    @classmethod
    def _numbers(cls, total: Any) -> Any:
        return (
            total if isinstance(total, Tensor) else TypeAdapter(list[float]).validate_python(total)
        )

    @field_serializer("sum")
    def _plain(self, total: Any) -> list[float]:
        return total.tolist() if isinstance(total, Tensor) else list(total)


class StartState(BaseModel):
    """Progress of the decision when one discriminator starts.

    Attributes:
        first_step: first step at which the discriminator takes part; None until that is decided.
        blocks: means of the reconstruction loss over blocks of steps until the decision.
    """

    first_step: int | None = None
    blocks: BlockMeans = Field(default_factory=BlockMeans)

    def observe(self, step: int, loss: Float[Tensor, "1"], rule: int | Plateau) -> None:
        """Take a step's reconstruction loss and decide whether the discriminator starts.

        ``step`` is the number of steps done. Nothing is done if ``rule`` is a number, the first
        step of the discriminator.
        """
        if self.first_step is not None or isinstance(rule, int):
            return
        start = rule.latest is not None and step >= rule.latest
        window = blocks_per_window(rule.steps)
        complete = self.blocks.add(loss, rule.steps, windows=2)
        if complete and len(self.blocks.means) == 2 * window and step >= rule.earliest:
            losses = [mean for (mean,) in self.blocks.means]
            before, now = fmean(losses[:window]), fmean(losses[window:])
            start = start or before - now < rule.improvement * before
        self.first_step = step if start else None


class DetectorState(BaseModel):
    """State of the detector of collapse, which compares means of losses with their bounds.

    Attributes:
        last_good_step: last step at which reconstruction loss and accuracies were all within their
            bounds; None before the first discriminator starts.
        loss_at_start: mean reconstruction loss over the last blocks of steps before the first
            discriminator started, together at most ``CollapseRule.steps`` steps; if no block was
            complete, over the first block after the start.
        blocks_over: for the loss, then for each accuracy: number of consecutive blocks of steps
            whose mean was over the bound.
        blocks: means of loss and accuracies over blocks of steps.
    """

    last_good_step: int | None = None
    loss_at_start: float | None = None
    blocks_over: list[int]
    blocks: BlockMeans = Field(default_factory=BlockMeans)

    def start(self, step: int) -> None:
        """Begin comparing, as the first discriminator starts after ``step`` steps."""
        if self.blocks.means:
            self.loss_at_start = fmean(mean[0] for mean in self.blocks.means)
        self.blocks, self.last_good_step = BlockMeans(), step

    def observe(
        self, step: int, series: Float[Tensor, "series"], rule: CollapseRule, names: Sequence[str]
    ) -> None:
        """Take a step's reconstruction loss and accuracies, and compare means with their bounds.

        Args:
            step: number of steps done.
            series: reconstruction loss, then the accuracy of each discriminator, of the step.
            rule: bounds beyond which the training has collapsed.
            names: name of each discriminator, for the error message.

        Raises:
            FloatingPointError: the training has collapsed, or a mean is NaN or infinite.
        """
        if not self.blocks.add(series, rule.steps) or self.last_good_step is None:
            return
        means = self.blocks.means[-1]
        if not all(math.isfinite(mean) for mean in means):
            raise FloatingPointError(
                f"the mean reconstruction loss, or a discriminator's accuracy, of the steps up to "
                f"{step} is NaN or infinite"
            )
        if self.loss_at_start is None:
            self.loss_at_start = means[0]
        accuracy = math.inf if rule.accuracy is None else rule.accuracy
        bounds = [rule.rise * self.loss_at_start, *[accuracy] * len(names)]
        pairs = zip(self.blocks_over, means, bounds, strict=True)
        self.blocks_over = [n + 1 if mean > bound else 0 for n, mean, bound in pairs]
        longest = max(self.blocks_over)
        if longest == 0:
            self.last_good_step = step
        if longest >= blocks_per_window(rule.steps):
            index = self.blocks_over.index(longest)
            name = f"accuracy of {names[index - 1]}" if index else "reconstruction loss"
            raise FloatingPointError(
                f"the adversarial training collapsed: the {name} stayed over its bound of "
                f"{bounds[index]:.4g} for {rule.steps} steps, and is {means[index]:.4g} at step "
                f"{step} (before the first discriminator started, the mean reconstruction loss was "
                f"{self.loss_at_start:.4g})"
            )


class MonitorState(BaseModel):
    """State of a training monitor, as checkpoints store it.

    Attributes:
        starts: by name of the discriminator, whether and when it starts, and what that rests on.
        detector: state of the detector of collapse; None without one.
    """

    starts: dict[str, StartState]
    detector: DetectorState | None = None


@dataclass(kw_only=True)
class Statistics:
    """Values of a micro-batch that the training monitor reads.

    Attributes:
        reconstruction: reconstruction loss, a scalar.
        accuracies: accuracy of each active discriminator, by its name.
    """

    reconstruction: Tensor
    accuracies: dict[str, Accuracy] = field(default_factory=dict)


class TrainingMonitor:
    """Decides when discriminators start, ends a run early, and knows its last good step.

    Decisions depend on means over all ranks, so that all ranks start and stop at the same step.

    Args:
        starts: first step of each discriminator, or the rule that decides it, by its name.
        collapse: when adversarial training counts as collapsed; None: never.
        steps: number of steps from the first discriminator's start to the end of the run; None: the
            run ends after ``training.steps`` steps.
        ranks: the processes of the run.
    """

    def __init__(
        self,
        starts: Mapping[str, int | Plateau],
        collapse: CollapseRule | None,
        steps: int | None,
        ranks: Ranks,
    ) -> None:
        self._rules, self._collapse, self._steps, self._ranks = starts, collapse, steps, ranks
        given = {name: rule if isinstance(rule, int) else None for name, rule in starts.items()}
        self._starts = {name: StartState(first_step=step) for name, step in given.items()}
        self._detector = DetectorState(blocks_over=[0] * (1 + len(starts))) if collapse else None

    def active(self, step: int) -> frozenset[str]:
        """Names of the discriminators that take part in step ``step``, counted from 0."""
        firsts = {name: start.first_step for name, start in self._starts.items()}
        return frozenset(n for n, first in firsts.items() if first is not None and first <= step)

    def observe(self, step: int, found: Sequence[Statistics]) -> None:
        """Take the statistics ``found`` in a finished step's micro-batches on this rank.

        ``step`` is the number of steps done.

        Raises:
            FloatingPointError: the training has collapsed, or a mean is NaN or infinite. All ranks
                raise it at the same step.
        """
        if not self._starts:
            return
        loss = _mean([statistics.reconstruction for statistics in found]).float()
        accuracies = [_accuracy(name, found, loss) for name in self._starts]
        series = self._ranks.all_mean(torch.stack([loss, *accuracies]))
        for name, start in self._starts.items():
            start.observe(step, series[:1], self._rules[name])
        if self._detector and self._collapse:
            self._detector.observe(step, series, self._collapse, list(self._starts))
            if self._detector.last_good_step is None and self.active(step):
                self._detector.start(step)

    def done(self, step: int) -> bool:
        """Whether the run ends at ``step``: a discriminator was active for ``steps`` steps before.

        ``steps`` is the number with which the monitor was made; None never ends a run.
        """
        return self._steps is not None and bool(self.active(step - self._steps))

    @property
    def last_good_step(self) -> int | None:
        """Last step at which reconstruction loss and accuracies were all within their bounds.

        The result of a run that fails is its last checkpoint up to this step. None before the first
        discriminator starts, and if no rule of collapse is set.
        """
        return self._detector and self._detector.last_good_step

    def state(self) -> dict[str, Any]:
        """State to store in a checkpoint, as JSON values."""
        return MonitorState(starts=self._starts, detector=self._detector).model_dump()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that a checkpoint of this version or of 0.1 stored.

        Raises:
            ConfigError: the state is broken.
            ValueError: the state is of other discriminators.
        """
        if "turns" in state:
            state = self._translated(state)
        stored: MonitorState = config.parse(MonitorState, state)
        series = 1 + len(self._starts)
        detector = stored.detector if self._detector else None
        if stored.starts.keys() != self._starts.keys() or (
            detector and len(detector.blocks_over) != series
        ):
            given = ", ".join(stored.starts) or "none"
            raise ValueError(
                f"the checkpoint is of a training with the discriminators {given}, but this one "
                f"has {', '.join(self._starts) or 'none'}; train with those, or in another folder"
            )
        self._starts, self._detector = stored.starts, detector or self._detector

    def _translated(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """The state that version 0.1 stored, whose discriminators had numbers instead of names."""
        names = {"trusted": "last_good_step", "level": "loss_at_start", "streaks": "blocks_over"}
        health = state.get("health")
        detector = health and {names.get(k, k): v for k, v in health.items()}
        rules = [{"first_step": old["at"], "blocks": old["blocks"]} for old in state["turns"]]
        return {"starts": dict(zip(self._starts, rules, strict=True)), "detector": detector}


def _accuracy(name: str, found: Sequence[Statistics], like: Tensor) -> Tensor:
    """Mean accuracy of a discriminator over micro-batches; 0 before it starts."""
    own = [s.accuracies[name] for s in found if name in s.accuracies]
    if not own:
        return torch.zeros_like(like)
    return 0.5 * (_mean([a.real for a in own]) + _mean([a.fake for a in own]))


def _mean(values: Sequence[Tensor]) -> Tensor:
    return sum((v.detach() / len(values) for v in values), start=torch.zeros_like(values[0]))
