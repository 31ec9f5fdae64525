"""What a training is watched by: it may be ended, and what it has ruined is not its result."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor


class Watch(ABC):
    """Follows a training step by step. Its state is part of checkpoints."""

    @abstractmethod
    def observe(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Take what a step logs.

        Args:
            step: how many are done, this one included.
            values: of this process.

        Raises:
            FloatingPointError: the training has come to ruin. All processes raise it.
        """

    @abstractmethod
    def done(self, step: int) -> bool:
        """Whether the training is complete after so many steps."""

    @property
    @abstractmethod
    def trusted(self) -> int | None:
        """The last step that is known to be sound, once there is reason to doubt later ones.

        Where the training comes to ruin, the last checkpoint up to here is its result.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Plain data to go on from."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state`` was taken."""


class Unwatched(Watch):
    """Lets a training run."""

    def observe(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Nothing."""

    def done(self, step: int) -> bool:
        """Never before its last step."""
        return False

    @property
    def trusted(self) -> int | None:
        """No step is doubted."""
        return None

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing."""
