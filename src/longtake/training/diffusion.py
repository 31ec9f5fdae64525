"""Training a denoiser on cached latents: LVDM's short, prediction and interpolation, and PVDM."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from torch import nn

from longtake.data.order import micro_batches, rank_rows
from longtake.diffusion import Denoiser, Diffusion
from longtake.distributed import Ranks
from longtake.training.config import TrainingConfig
from longtake.training.latent_batches import LatentBatches, TrainingBatch
from longtake.training.stage import Loss, Phase, Stage


class DiffusionStage(Stage):
    """One denoiser on one cache.

    Args:
        denoiser: on the device where it computes.
        diffusion: schedule, prediction and loss.
        data: batches.
        settings: of the loop.
        ranks: the processes.
        look: writes samples of the current weights into a folder.
        export: writes a model folder with the current weights.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        diffusion: Diffusion,
        data: LatentBatches,
        settings: TrainingConfig,
        ranks: Ranks,
        *,
        look: Callable[[Path], Mapping[str, float]],
        export: Callable[[Path], None],
    ) -> None:
        self._denoiser, self._diffusion = denoiser, diffusion
        self._data, self._settings, self._ranks = data, settings, ranks
        self._look, self._export = look, export

    @property
    def module(self) -> nn.Module:
        """The denoiser."""
        return self._denoiser

    @property
    def averaged(self) -> nn.Module:
        """The denoiser."""
        return self._denoiser

    @property
    def phases(self) -> Sequence[Phase]:
        """One."""
        return (
            Phase(
                name="main",
                module=self._denoiser,
                optimizer=self._settings.optimizer,
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

    def look(self, folder: Path) -> Mapping[str, float]:
        """Samples."""
        return self._look(folder)

    def export(self, folder: Path) -> None:
        """The model folder."""
        self._export(folder)

    def _loss(self, batch: TrainingBatch, step: int) -> Loss:
        del step
        losses = self._diffusion.losses(
            self._denoiser, batch.z, batch.noise, batch.t, batch.signals
        )
        return Loss(losses.mean(), {})
