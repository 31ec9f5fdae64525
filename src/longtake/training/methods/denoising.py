"""Denoising: trains a diffusion model's network on cached latents (LVDM and PVDM)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch

from longtake.data.order import micro_batches, rank_rows
from longtake.diffusion import Denoiser, Diffusion
from longtake.distributed import Ranks
from longtake.training.config import TrainingConfig
from longtake.training.latent_batches import LatentBatches, TrainingBatch
from longtake.training.methods.base import Loss, Method, Phase


@dataclass(eq=False)
class Denoising(Method):
    """Trains one denoiser by the diffusion loss; ``data`` draws samples by their numbers."""

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
        """Micro-batches of each step."""
        for step in count(first_step):
            rows = rank_rows(step, self.settings.batch, self.ranks.rank, self.ranks.size)
            parts = micro_batches(len(rows), self.settings.accumulate)
            yield [self.data(rows[part]).to(self.ranks.device) for part in parts]

    def _loss(self, batch: TrainingBatch, step: int) -> Loss:
        del step
        return Loss(batch.losses(self.diffusion, self.denoiser).mean(), {})


@torch.no_grad()
def validation_loss(
    denoiser: Denoiser, data: LatentBatches, batch: int, device: torch.device
) -> float:
    """Mean loss over the cache of ``data``, each clip once.

    Clip, noise, timestep and signals of a sample are functions of the seed and its number, so that
    the losses of different steps compare.
    """
    total, number = 0.0, len(data.cache)
    for first in range(0, number, batch):
        drawn = data(range(first, min(first + batch, number))).to(device)
        total += float(drawn.losses(data.diffusion, denoiser).sum())
    return total / number
