"""Interface of all training runs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge

from longtake.config import Config
from longtake.distributed import Ranks
from longtake.training.callbacks import Callbacks

Count = Annotated[int, Ge(1)]
"""A number of 1 or more."""

R = TypeVar("R", bound="Run")


class Run(Config, ABC):
    """Config of a training run, which carries itself out."""

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, Any]:
        """What the run depends on besides its config: its data and models.

        The keys are the settings that name data or a model, such as ``model``; the values are
        identities, such as hashes, as JSON data.

        Raises:
            CheckpointError: a model is missing or broken.
            ValueError: a model's config is not valid, or no video can be used.
        """

    def settled(self: R) -> R:
        """Return the run with settings filled in from its data; by default the run itself."""
        return self

    @abstractmethod
    def execute(self, folder: Path, ranks: Ranks, callbacks: Callbacks) -> None:
        """Train from the start, or from the last checkpoint in ``folder``, the run's folder.

        ``ranks`` are the processes of the run; ``callbacks`` report progress.

        Raises:
            ValueError: models, networks and videos do not fit each other.
            FloatingPointError: the training diverged or collapsed.
        """
