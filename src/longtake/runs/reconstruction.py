"""Trains a network that reconstructs clips: a whole autoencoder, or a decoder beside one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from longtake import previews
from longtake.data.crops import cropped
from longtake.data.loader import Loader
from longtake.distributed import Ranks
from longtake.evaluation.during_training import EvaluationPlan, open_evaluation
from longtake.losses.autoencoder import AutoencoderLoss, AutoencoderLossConfig
from longtake.run_registry import AnySource
from longtake.training.callbacks import Callbacks
from longtake.training.config import OptimizerConfig, TrainingConfig
from longtake.training.methods.reconstruction import Reconstruction
from longtake.training.monitor import CollapseRule, TrainingMonitor
from longtake.training.trainer import VALIDATION_LOSS, Trainer


@runtime_checkable
class ReconstructionSettings(Protocol):
    """Settings that runs with reconstructions share; ``AutoencoderRun`` says what each is."""

    @property
    def data(self) -> AnySource: ...
    @property
    def validation(self) -> AnySource | None: ...
    @property
    def loss(self) -> AutoencoderLossConfig: ...
    @property
    def discriminator(self) -> OptimizerConfig: ...
    @property
    def collapse(self) -> CollapseRule | None: ...
    @property
    def adversarial_steps(self) -> int | None: ...
    @property
    def crop(self) -> tuple[int, int] | None: ...
    @property
    def num_previews(self) -> int: ...
    @property
    def evaluation(self) -> EvaluationPlan: ...
    @property
    def training(self) -> TrainingConfig: ...


def train_reconstruction(
    run: ReconstructionSettings,
    network: Any,
    folder: Path,
    ranks: Ranks,
    callbacks: Callbacks,
    export: Callable[[Path], None],
) -> None:
    """Train a network from the start, or from the last checkpoint in ``folder``.

    Args:
        run: settings.
        network: the autoencoder that reconstructs; its weights that need gradients are trained.
        folder: the run's folder.
        ranks: the processes of the run.
        callbacks: report progress.
        export: writes a model folder with the network's current weights.

    Raises:
        ValueError: the batch cannot be divided among the processes, or weights of a loss are
            missing.
        FloatingPointError: the training diverged or collapsed.
    """
    settings, held_out = run.training, run.validation or run.data
    loss = AutoencoderLoss(run.loss, ranks)
    starts = {term.name: term.config.start for term in loss.terms}
    monitor = TrainingMonitor(starts, run.collapse, run.adversarial_steps, ranks)
    clips = partial(_clips, run, ranks)
    evaluation = settings.evaluate_every and open_evaluation(
        held_out, network.spec.clip[1:], run.evaluation, ranks.device
    )
    Trainer(
        Reconstruction(network, loss, monitor, clips, settings, run.discriminator, ranks),
        settings,
        folder,
        ranks,
        preview=partial(_preview, run, network, held_out, ranks),
        evaluate=lambda: evaluation.reconstructions(network) if evaluation else {},
        export=export,
        report=callbacks.training,
    ).fit()


def _preview(
    run: ReconstructionSettings, network: Any, source: AnySource, ranks: Ranks, folder: Path
) -> Mapping[str, float]:
    """Write previews of clips of ``source``; return measures of these.

    ``validation_loss``, the mean squared error of pixels in [0, 1], is among them if the clips are
    held out.
    """
    measures = previews.reconstructions(network, source, run.num_previews, folder, ranks)
    if run.validation is None:
        return measures
    return {**measures, VALIDATION_LOSS: 10 ** (-measures["psnr"] / 10)}


def _clips(
    run: ReconstructionSettings, ranks: Ranks, first_step: int
) -> Iterator[tuple[Tensor, Sequence[int]]]:
    shared = run.training.model_dump(include={"batch", "seed", "workers"})
    loader = Loader(source=run.data, rank=ranks.rank, size=ranks.size, **shared)
    return (
        (cropped(batch, run.crop, run.training.seed), batch.number)
        for batch in loader.batches(first_step)
    )
