"""Denoising: trains a diffusion model's network on cached latents (LVDM and PVDM)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch

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
    """Trains one denoiser by the diffusion loss on batches of a latent cache.

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
            yield [self.data(rows[part]) for part in parts]

    def _loss(self, batch: TrainingBatch, step: int) -> Loss:
        del step
        return Loss(batch.losses(self.diffusion, self.denoiser).mean(), {})


@torch.no_grad()
def validation_loss(
    denoiser: Denoiser, data: LatentBatches, batch: int, device: torch.device
) -> float:
    """Mean diffusion loss over all clips of a latent cache.

    Clip, noise, timestep and signals of each sample depend on the seed of ``data`` and the sample's
    number alone, so that losses at different training steps can be compared. ``batch`` is the
    number of samples that are evaluated together.
    """
    total, number = 0.0, len(data.cache)
    for first in range(0, number, batch):
        drawn = data(range(first, min(first + batch, number))).to(device)
        total += float(drawn.losses(data.diffusion, denoiser).sum())
    return total / number
