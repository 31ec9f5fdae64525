"""Interface between a training method and the trainer: networks, batches, losses."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from longtake.training.config import OptimizerConfig
from longtake.training.monitor import TrainingMonitor


class Loss(NamedTuple):
    """Loss of one micro-batch.

    Attributes:
        total: scalar to differentiate.
        parts: named scalars to log besides ``total``.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of a training step: an optimizer and the loss that it minimises.

    The phases of a step run one after another, such as autoencoder, then discriminator.

    Attributes:
        name: identifies the optimizer in checkpoints and its gradient norm in the log.
        log_key: name of the loss in the log.
        module: network to train; all others are frozen during its backward pass.
        optimizer: settings of the optimizer.
        loss: takes a micro-batch and the number of steps done; returns None while the phase is
            inactive. Phases that alternate return None in each other's steps.
        methods: names of methods of ``module``, besides ``forward``, that use its weights.
    """

    name: str
    log_key: str
    module: nn.Module
    optimizer: OptimizerConfig
    loss: Callable[[Any, int], Loss | None] = field(repr=False)
    methods: tuple[str, ...] = ()


class Method(ABC):
    """A training method, which a ``Trainer`` carries out: networks, their losses and data.

    Attributes:
        module: everything that is trained, in one module; checkpoints hold its weights.
        exported: the submodule of ``module`` that is exported as a model; the EMA follows its
            weights.
        phases: optimizers with their losses, in the order in which a step runs them.
        frozen: networks that losses use but that are neither trained nor saved, such as a
            perceptual distance or the teacher of a distillation; the trainer moves them to its
            device.
        monitor: follows ``statistics`` of the micro-batches and can end the run early; None for
            none.
    """

    module: nn.Module
    exported: nn.Module
    phases: Sequence[Phase]
    frozen: Sequence[nn.Module] = ()
    monitor: TrainingMonitor | None = None

    @abstractmethod
    def batches(self, first_step: int) -> Iterator[Sequence[Any]]:
        """Yield the micro-batches of each step from ``first_step`` on; endless.

        They are this rank's, on its device.
        """
