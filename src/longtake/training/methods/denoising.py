"""Denoising: trains a diffusion model's network on cached latents (LVDM and PVDM)."""

from collections.abc import Iterator, Sequence

from longtake.data.order import micro_batches, rank_rows
from longtake.diffusion import Denoiser, Diffusion
from longtake.distributed import Ranks
from longtake.training.config import TrainingConfig
from longtake.training.latent_batches import LatentBatches, TrainingBatch
from longtake.training.methods.base import Loss, Method, Phase


class Denoising(Method):
    """Trains one denoiser by the diffusion loss.

    Args:
        denoiser: network to train.
        diffusion: schedule, prediction and loss.
        data: draws training samples by their numbers.
        settings: settings of the training loop.
        ranks: processes of the job.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        diffusion: Diffusion,
        data: LatentBatches,
        settings: TrainingConfig,
        ranks: Ranks,
    ) -> None:
        self._denoiser, self._diffusion, self._data = denoiser, diffusion, data
        self._settings, self._ranks = settings, ranks
        self.module = self.exported = denoiser
        self.phases = (
            Phase(
                name="main",
                log_key="loss",
                module=denoiser,
                optimizer=settings.optimizer,
                loss=self._loss,
            ),
        )

    def batches(self, first_step: int) -> Iterator[Sequence[TrainingBatch]]:
        """Micro-batches of each step."""
        step = first_step
        while True:
            rows = rank_rows(step, self._settings.batch, self._ranks.rank, self._ranks.size)
            parts = micro_batches(len(rows), self._settings.accumulate)
            yield [self._data(rows[part]).to(self._ranks.device) for part in parts]
            step += 1

    def _loss(self, batch: TrainingBatch, step: int) -> Loss:
        del step
        losses = self._diffusion.losses(
            self._denoiser, batch.z, batch.noise, batch.t, batch.signals
        )
        return Loss(losses.mean(), {})
