"""Denoising: trains a diffusion model's network on latents (LVDM and PVDM)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.data.forward import read_ahead
from longtake.data.order import micro_batches, rank_rows
from longtake.diffusion import Denoiser, Diffusion
from longtake.distributed import Ranks
from longtake.training.config import TrainingConfig
from longtake.training.latent_batches import LatentBatches, TrainingBatch
from longtake.training.methods.base import Loss, Method, Phase

STEPS_AHEAD = 2  # whose batches another thread draws while a step is computed


@dataclass(eq=False)
class Denoising(Method):
    """Trains one denoiser by the diffusion loss on batches of latents.

    Attributes:
        denoiser: network to train.
        diffusion: its noise schedule, prediction and loss.
        data: makes the batches.
        settings: settings of the training loop.
        ranks: processes of the run.
    """

    denoiser: Denoiser
    diffusion: Diffusion
    data: LatentBatches
    settings: TrainingConfig
    ranks: Ranks

    def __post_init__(self) -> None:
        self.module = self.exported = network = self.denoiser
        optimizer, loss = self.settings.optimizer, self._loss
        main = Phase(name="main", log_key="loss", module=network, optimizer=optimizer, loss=loss)
        self.phases = (main,)

    def batches(self, first_step: int) -> Iterator[Sequence[TrainingBatch]]:
        """Yield this rank's micro-batches of each step from ``first_step`` on, forever.

        Raises:
            ValueError: the batch cannot be divided among processes and micro-batches.
        """
        for parts in read_ahead(self._drawn(first_step), STEPS_AHEAD):
            yield [part.to(self.ranks.device) for part in parts]

    def _drawn(self, first_step: int) -> Iterator[Sequence[TrainingBatch]]:
        for step in count(first_step):
            rows = rank_rows(step, self.settings.batch, self.ranks.rank, self.ranks.size)
            parts = micro_batches(len(rows), self.settings.accumulate)
            drawn = [self.data(rows[part]) for part in parts]
            yield [part.pinned() for part in drawn] if self.ranks.device.type == "cuda" else drawn

    def _loss(self, batch: TrainingBatch, step: int) -> Loss:
        del step
        return Loss(self.losses(batch).mean(), {})

    def losses(self, batch: TrainingBatch) -> Float[Tensor, "b"]:
        """Diffusion loss of each sample of a batch."""
        return batch.losses(self.diffusion, self.denoiser)


@torch.no_grad()
def validation_loss(
    losses: Callable[[TrainingBatch], Float[Tensor, "b"]],
    data: LatentBatches,
    batch: int,
    device: torch.device,
) -> float:
    """Mean loss over all clips of ``data``.

    Clip, noise, timestep and signals of each sample depend on the seed of ``data`` and the sample's
    number alone, so that losses at different training steps can be compared. ``losses`` returns the
    loss of each sample of a batch; ``batch`` is the number of samples that are evaluated together.
    """
    total, number = 0.0, len(data.latents)
    for first in range(0, number, batch):
        drawn = data(range(first, min(first + batch, number))).to(device)
        total += float(losses(drawn).sum())
    return total / number
