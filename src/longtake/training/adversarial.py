"""The course of an adversarial training: when adversaries begin, how it fares, when it ends."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from longtake.distributed import Ranks
from longtake.losses.autoencoder import numbered
from longtake.losses.turn import Plateau
from longtake.training.collapse import Collapse, Health
from longtake.training.turn import Turn
from longtake.training.watch import Watch


class AdversarialCourse(Watch):
    """Both stages of an autoencoder's training as one run.

    All it knows are means over the processes, so all of them turn and stop at the same step.

    Args:
        starts: of the adversaries; none where there is none.
        collapse: what counts as ruin; None never stops.
        steps: after which the training ends, from the first adversary's start; None trains on.
        ranks: the processes.
    """

    def __init__(
        self,
        starts: Sequence[int | Plateau],
        collapse: Collapse | None,
        steps: int | None,
        ranks: Ranks,
    ) -> None:
        self._turns = [Turn(start) for start in starts]
        self._health = Health(collapse, len(starts)) if collapse else None
        self._steps, self._ranks = steps, ranks

    def begun(self, step: int) -> list[bool]:
        """Which adversaries take part in a step, counted from 0."""
        return [turn.begun(step) for turn in self._turns]

    def observe(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Take the reconstruction loss, and the accuracies of the adversaries that have begun."""
        if not self._turns:
            return
        series = self._ranks.all_mean(self._series(values))
        for turn in self._turns:
            turn.observe(step, series[:1])
        if self._health is not None:
            self._health.observe(step, series)
            if self._health.trusted is None and any(self.begun(step)):
                self._health.turn(step)

    def done(self, step: int) -> bool:
        """Whether the adversaries have had their steps."""
        begun = [turn.at for turn in self._turns if turn.at is not None]
        return self._steps is not None and bool(begun) and step >= min(begun) + self._steps

    @property
    def trusted(self) -> int | None:
        """The last step of sound health, from the turn on."""
        return None if self._health is None else self._health.trusted

    def state(self) -> dict[str, Any]:
        """Of all turns, and of the health."""
        health = None if self._health is None else self._health.state()
        return {"turns": [turn.state() for turn in self._turns], "health": health}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state`` was taken."""
        for turn, stored in zip(self._turns, state["turns"], strict=True):
            turn.restore(stored)
        if self._health is not None:
            self._health.restore(state["health"])

    def _series(self, values: Mapping[str, Tensor]) -> Tensor:
        loss = values["reconstruction"].detach().float()
        absent = torch.zeros_like(loss)
        accuracies = [
            0.5
            * sum(
                (values.get(numbered(f"accuracy_{of}", i), absent) for of in ("real", "fake")),
                start=absent,
            )
            for i in range(len(self._turns))
        ]
        return torch.stack([loss, *accuracies])
