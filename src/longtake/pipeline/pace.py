"""Keeps a run within its time while the machine becomes faster or slower."""

from collections.abc import Callable
from dataclasses import dataclass, field

from longtake.pipeline.calibration import rescheduled
from longtake.training.config import Schedule, TrainingConfig
from longtake.training.trainer import TrainingProgress

SECONDS_BETWEEN, TOLERANCE = 15.0, 0.02


@dataclass(eq=False)
class Pace:
    """Gives a run as many steps as fit the time that is left, by the pace of its latest steps.

    The pace is that of the latter half of the time since the run began or was continued. Previews,
    evaluations and checkpoints count as time of the steps between which they are made. The end of
    the run changes by 2 % of its steps or more, and not more often than every 15 seconds.

    Attributes:
        training: settings of the run, with its present number of steps.
        ends: time at which the last step should end, in seconds, by ``clock``.
        clock: returns the time in seconds.
        changed: called with each new end of the run: its number of steps and of cooldown steps.
    """

    training: TrainingConfig
    ends: float
    clock: Callable[[], float]
    changed: Callable[[Schedule], None]
    _marks: list[tuple[float, int]] = field(default_factory=list, init=False)
    _began: float = field(default=0.0, init=False)

    def __call__(self, at: TrainingProgress) -> Schedule | None:
        """The new end of the run after the logging step ``at``; None for no change."""
        now = self.clock()
        if not self._marks:  # what came before is loading and the slow first steps
            self._began, self._marks = now, [(now, at.step)]
        if now - self._marks[-1][0] < SECONDS_BETWEEN or at.step >= self.training.steps:
            return None
        self._marks.append((now, at.step))
        while len(self._marks) > 2 and self._marks[1][0] < (self._began + now) / 2:
            self._marks.pop(0)
        before, step = self._marks[0]
        pace = (now - before) / (at.step - step)
        schedule = rescheduled(self.training, at.step, self.ends - now, pace)
        if abs(schedule.steps - self.training.steps) < TOLERANCE * self.training.steps:
            return None
        self.training = self.training.model_copy(update=schedule._asdict())
        self.changed(schedule)
        return schedule
