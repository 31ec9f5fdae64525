"""Functions that a run calls as it proceeds."""

from collections.abc import Callable
from dataclasses import dataclass

from longtake.progress import ProgressCallback, no_progress
from longtake.training.config import Schedule
from longtake.training.trainer import TrainingProgress


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """Functions that a run calls as it proceeds.

    Attributes:
        training: called on each process with the progress of training at each logging step;
            returns a new end for the training, equal on all processes, or None for no change.
        encoding: called while a latent cache is encoded, with the number of clips done and their
            total.
    """

    training: Callable[[TrainingProgress], Schedule | None] = lambda _: None
    encoding: ProgressCallback = no_progress
