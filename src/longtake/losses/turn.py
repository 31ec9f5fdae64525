"""When an adversarial training turns from reconstruction alone to the adversary as well."""

from typing import Annotated, Literal

from annotated_types import Ge, Interval
from pydantic import model_validator

from longtake.config import Config


class Plateau(Config):
    """Turn once the reconstruction hardly improves any more.

    PVDM's authors train without an adversary until they see the loss rest, save, and start a
    second training from there; here the rule sees it, in the same run.

    Attributes:
        improvement: the adversary begins where the mean reconstruction loss of the last ``steps``
            steps is not below that of the ``steps`` before by more than this share of it.
        steps: on either side of the comparison, which is made ten times in as many steps.
        earliest: first step that the adversary may have.
        latest: first step that it has in any case; None waits for ever.
    """

    kind: Literal["plateau"] = "plateau"
    improvement: Annotated[float, Interval(gt=0, lt=1)] = 0.02
    steps: Annotated[int, Ge(1)] = 10_000
    earliest: Annotated[int, Ge(0)] = 0
    latest: Annotated[int, Ge(0)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Plateau":
        if self.latest is not None and self.latest < self.earliest:
            raise ValueError(
                f"latest={self.latest} must not be before earliest={self.earliest}; raise latest"
            )
        return self

    def reached(self, before: float, now: float) -> bool:
        """Whether the mean loss fell too little from one stretch of steps to the next."""
        return before - now < self.improvement * before
