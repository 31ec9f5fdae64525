"""What the loop trains: a stage brings data, losses and pictures; the loop the rest."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from longtake.training.config import OptimizerConfig


class Loss(NamedTuple):
    """What a phase is trained on.

    Attributes:
        total: scalar to differentiate.
        parts: named scalars to log.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One optimiser's part of a step.

    Attributes:
        name: of the phase, in logs and checkpoints.
        module: what it trains; everything else stands still during its backward pass.
        optimizer: its settings.
        loss: of a micro-batch at a step; None where the phase has not begun yet.
        methods: of ``module``, besides ``forward``, that compute with its weights.
    """

    name: str
    module: nn.Module
    optimizer: OptimizerConfig
    loss: Callable[[Any, int], Loss | None] = field(repr=False)
    methods: tuple[str, ...] = ()


class Stage(ABC):
    """One training: an autoencoder's, or a denoiser's."""

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """Everything that is trained, in one module: what checkpoints hold."""

    @property
    @abstractmethod
    def averaged(self) -> nn.Module:
        """The part of ``module`` that is shared in the end, and averaged on the way."""

    @property
    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Optimisers' parts of a step, in order."""

    @abstractmethod
    def batches(self, first_step: int) -> Iterator[Sequence[Any]]:
        """Micro-batches of each step from ``first_step`` on, on the device, without end."""

    @abstractmethod
    def look(self, folder: Path) -> Mapping[str, float]:
        """Write pictures and videos to look at, with the averaged weights; return measures."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the model folder, with the averaged weights; ``folder`` does not exist yet."""
