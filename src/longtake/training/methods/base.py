"""What a training method gives to the trainer: networks, batches, losses."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from longtake.training.config import OptimizerConfig
from longtake.training.monitor import TrainingMonitor


class Loss(NamedTuple):
    """Loss of a micro-batch.

    Attributes:
        total: scalar to differentiate.
        parts: named scalars to log besides ``total``.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One optimizer and the loss it minimizes. The phases of a step follow each other.

    Attributes:
        name: identifies the optimizer in checkpoints and its gradient norm in the log.
        log_key: name of the loss in the log.
        module: network to train; all others are frozen during its backward pass.
        optimizer: settings of the optimizer.
        loss: loss of a micro-batch at a step, or None while the phase is inactive; phases that
            alternate return None at each other's steps.
        methods: methods of ``module``, besides ``forward``, that compute with its weights.
    """

    name: str
    log_key: str
    module: nn.Module
    optimizer: OptimizerConfig
    loss: Callable[[Any, int], Loss | None] = field(repr=False)
    methods: tuple[str, ...] = ()


class Method(ABC):
    """Networks, losses and data of a training; the trainer runs it.

    Attributes:
        module: everything that is trained, in one module; checkpoints hold its weights.
        exported: the part of ``module`` that the run exports; the EMA follows its weights.
        frozen: networks that losses use but nothing trains or saves, such as a perceptual
            distance or the teacher of a distillation; the trainer moves them to its device.
        phases: optimizers with their losses, in the order of a step.
        monitor: follows the statistics of micro-batches (``micro.statistics``) and can end the run
            early; None for none.
    """

    module: nn.Module
    exported: nn.Module
    phases: Sequence[Phase]
    frozen: Sequence[nn.Module] = ()
    monitor: TrainingMonitor | None = None

    @abstractmethod
    def batches(self, first_step: int) -> Iterator[Sequence[Any]]:
        """Endless micro-batches of each step from ``first_step``, on the device of this rank."""
