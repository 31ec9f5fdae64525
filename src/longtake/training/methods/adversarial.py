"""Adversarial part of an autoencoder's training: an optimizer for each discriminator."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from longtake.losses.adversarial import AdversarialTerm
from longtake.training.config import OptimizerConfig
from longtake.training.methods.base import Loss, Phase
from longtake.training.monitor import Statistics, TrainingMonitor


class ClipBatch:
    """A micro-batch of clips, and results of the autoencoder's phase for later phases.

    Attributes:
        video: clips in [-1, 1].
        seeds: one seed per clip, for everything random about it.
        reconstruction: reconstructions, without gradient; None before the autoencoder's phase.
        statistics: statistics for the monitor; None before the autoencoder's phase.
    """

    def __init__(self, video: Float[Tensor, "b 3 t h w"], seeds: Sequence[int]) -> None:
        self.video, self.seeds = video, seeds
        self.reconstruction: Tensor | None = None
        self.statistics: Statistics | None = None


def discriminator_phase(
    term: AdversarialTerm, optimizer: OptimizerConfig, monitor: TrainingMonitor
) -> Phase:
    """Training of one discriminator, from the step at which the monitor starts it.

    Unlike the official codes, which run the autoencoder once for each of their optimizers,
    discriminators are trained on the reconstructions that the autoencoder was just trained on.
    """

    def loss(batch: ClipBatch, step: int) -> Loss | None:
        if term.name not in monitor.active(step):
            return None
        assert batch.reconstruction is not None
        assert batch.statistics is not None
        found = term.discriminator_loss(batch.video, batch.reconstruction, seeds=batch.seeds)
        batch.statistics.accuracies[term.name] = found.accuracy
        return Loss(found.total, found.parts)

    return Phase(
        name=term.name,
        log_key=f"loss_{term.name}",
        module=term.network,
        optimizer=optimizer,
        loss=loss,
    )
