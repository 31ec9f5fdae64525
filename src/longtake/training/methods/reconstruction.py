"""Reconstruction: trains an autoencoder on clips, later against discriminators (LVDM and PVDM)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, VideoAutoencoder
from longtake.data.forward import read_ahead
from longtake.data.order import micro_batches
from longtake.distributed import Ranks
from longtake.losses.adversarial import AdversarialTerm
from longtake.losses.autoencoder import AutoencoderLoss
from longtake.noise import SampleNoise, derive
from longtake.training.config import OptimizerConfig, TrainingConfig
from longtake.training.methods.base import Loss, Method, Phase
from longtake.training.monitor import Statistics, TrainingMonitor

STEPS_AHEAD = 2  # whose clips another thread reads while a step is computed
Clips = Callable[[int], Iterator[tuple[Tensor, Sequence[int]]]]
"""Function of a first step; yields this rank's clips ``(b, 3, t, h, w)`` of each step from it on,
and the number of each clip among all training samples."""


@dataclass(kw_only=True)
class ClipBatch:
    """A micro-batch of clips, and what the autoencoder's phase computes for later phases.

    Attributes:
        video: clips in [-1, 1].
        seeds: one seed per clip, of everything random about it.
        reconstruction: reconstructed clips, without gradient; None before the autoencoder's phase.
        statistics: values for the training monitor; None before the autoencoder's phase.
    """

    video: Float[Tensor, "b 3 t h w"]
    seeds: Sequence[int]
    reconstruction: Tensor | None = None
    statistics: Statistics | None = None


class Reconstruction(Method):
    """Trains an autoencoder and, from the steps that the monitor decides, its discriminators.

    Args:
        autoencoder: network of which the part ``trained`` is trained.
        loss: loss of the autoencoder, with its discriminators.
        monitor: decides when discriminators start, and can end the run early.
        clips: function of a first step; yields this rank's clips of each step from it on, and the
            number of each clip among all training samples.
        settings: settings of the training loop.
        discriminator_optimizer: settings of the optimizer of each discriminator.
        ranks: processes of the run.
    """

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        loss: AutoencoderLoss,
        monitor: TrainingMonitor,
        clips: Clips,
        settings: TrainingConfig,
        discriminator_optimizer: OptimizerConfig,
        ranks: Ranks,
    ) -> None:
        self._autoencoder, self._criterion, self._clips = autoencoder, loss, clips
        self._settings, self._ranks = settings, ranks
        self.monitor = self._starts = monitor
        trained = autoencoder.trained
        self.module = nn.ModuleDict({"autoencoder": trained})
        self.module.update({term.name: term.network for term in loss.terms})
        self.exported = trained
        whole = trained is autoencoder
        self.frozen = () if loss.perceptual is None else (loss.perceptual,)
        self.frozen += () if whole else (autoencoder,)
        main = Phase(
            name="main",
            log_key="loss",
            module=trained,
            optimizer=settings.optimizer,
            loss=self._loss,
            methods=("encode", "decode") if whole else (),
        )
        others = [_discriminator_phase(t, discriminator_optimizer, monitor) for t in loss.terms]
        self.phases = (main, *others)

    def batches(self, first_step: int) -> Iterator[Sequence[ClipBatch]]:
        """Yield this rank's micro-batches of each step from ``first_step`` on, forever.

        Raises:
            ValueError: the batch cannot be divided among processes and micro-batches.
        """
        device = self._ranks.device
        on_gpu = device.type == "cuda"
        clips = self._clips(first_step)
        ready = ((video.pin_memory() if on_gpu else video, numbers) for video, numbers in clips)
        for video, numbers in read_ahead(ready, STEPS_AHEAD):
            seeds = [derive(self._settings.seed, "posterior", number) for number in numbers]
            parts = micro_batches(len(video), self._settings.accumulate)
            on_device = video.to(device, non_blocking=on_gpu)
            yield [ClipBatch(video=on_device[part], seeds=seeds[part]) for part in parts]

    def _loss(self, batch: ClipBatch, step: int) -> Loss:
        posterior: Posterior = self._autoencoder.encode(batch.video)
        noise = SampleNoise(batch.seeds, batch.video.device).normal(posterior.mean.shape[1:])
        reconstruction = self._autoencoder.decode(posterior.sample(noise.to(posterior.mean.dtype)))
        active = self._starts.active(step)
        found = self._criterion.generator_loss(
            batch.video,
            reconstruction,
            posterior,
            self._autoencoder.last_layer,
            seeds=batch.seeds,
            active=[term for term in self._criterion.terms if term.name in active],
            log_gradients=(step + 1) % self._settings.log_every == 0,
        )
        batch.reconstruction = reconstruction.detach()
        batch.statistics = Statistics(reconstruction=found.reconstruction)
        return Loss(found.total, found.parts)


def _discriminator_phase(
    term: AdversarialTerm, optimizer: OptimizerConfig, monitor: TrainingMonitor
) -> Phase:
    """Phase that trains one discriminator, from the step at which the monitor starts it.

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

    key, network = f"loss_{term.name}", term.network
    return Phase(name=term.name, log_key=key, module=network, optimizer=optimizer, loss=loss)
