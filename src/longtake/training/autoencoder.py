"""Training an autoencoder on clips: reconstruction first, then against discriminators."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, VideoAutoencoder
from longtake.data.order import micro_batches
from longtake.distributed import Ranks
from longtake.losses.autoencoder import AutoencoderLoss, numbered
from longtake.noise import SampleNoise, derive
from longtake.training.config import OptimizerConfig, TrainingConfig
from longtake.training.stage import Loss, Phase, Stage


class ClipBatch:
    """Clips with the noise of their posterior; keeps its reconstruction for discriminators."""

    def __init__(self, video: Float[Tensor, "b 3 t h w"], seeds: Sequence[int]) -> None:
        self.video, self.seeds = video, seeds
        self.reconstruction: Tensor | None = None


class AutoencoderStage(Stage):
    """The first stage of LVDM and of PVDM.

    Unlike the official codes, which run the autoencoder once for each of their optimisers,
    discriminators are trained on the reconstructions that the autoencoder was just trained on.

    Args:
        autoencoder: on the device where it computes.
        loss: with its discriminators, if any, on the same device.
        begun: which of the discriminators take part in a step.
        clips: given a step, this process's videos ``(b, 3, t, h, w)`` with their sample numbers.
        settings: of the loop.
        discriminator_optimizer: settings of each discriminator's optimiser.
        ranks: the processes.
        look: writes reconstructions of the current weights into a folder.
        export: writes a model folder with the current weights.
    """

    def __init__(  # noqa: PLR0913
        self,
        autoencoder: VideoAutoencoder,
        loss: AutoencoderLoss,
        begun: Callable[[int], Sequence[bool]],
        clips: Callable[[int], Iterator[tuple[Tensor, Sequence[int]]]],
        settings: TrainingConfig,
        discriminator_optimizer: OptimizerConfig,
        ranks: Ranks,
        *,
        look: Callable[[Path], Mapping[str, float]],
        export: Callable[[Path], None],
    ) -> None:
        self._autoencoder, self._criterion = autoencoder, loss
        self._begun, self._clips = begun, clips
        self._settings, self._second = settings, discriminator_optimizer
        self._ranks, self._look, self._export = ranks, look, export
        self._module = nn.ModuleDict({"autoencoder": autoencoder})
        for index, adversary in enumerate(loss.adversaries):
            self._module[numbered("discriminator", index)] = adversary

    @property
    def module(self) -> nn.Module:
        """Autoencoder and discriminators."""
        return self._module

    @property
    def averaged(self) -> nn.Module:
        """The autoencoder."""
        return self._autoencoder

    @property
    def phases(self) -> Sequence[Phase]:
        """The autoencoder's optimiser, and one of each discriminator."""
        main = Phase(
            name="main",
            module=self._autoencoder,
            optimizer=self._settings.optimizer,
            loss=self._generator_loss,
            methods=("encode", "decode"),
        )
        others = [
            Phase(
                name=numbered("discriminator", index),
                module=adversary,
                optimizer=self._second,
                loss=partial(self._discriminator_loss, index),
            )
            for index, adversary in enumerate(self._criterion.adversaries)
        ]
        return (main, *others)

    def batches(self, first_step: int) -> Iterator[Sequence[ClipBatch]]:
        """Micro-batches of each step."""
        for video, numbers in self._clips(first_step):
            seeds = [derive(self._settings.seed, "posterior", number) for number in numbers]
            parts = micro_batches(len(video), self._settings.accumulate)
            on_device = video.to(self._ranks.device)
            yield [ClipBatch(on_device[part], seeds[part]) for part in parts]

    def look(self, folder: Path) -> Mapping[str, float]:
        """Reconstructions."""
        return self._look(folder)

    def export(self, folder: Path) -> None:
        """The model folder."""
        self._export(folder)

    def _generator_loss(self, batch: ClipBatch, step: int) -> Loss:
        posterior: Posterior = self._autoencoder.encode(batch.video)
        noise = SampleNoise(batch.seeds, batch.video.device).normal(posterior.mean.shape[1:])
        reconstruction = self._autoencoder.decode(posterior.sample(noise.to(posterior.mean.dtype)))
        batch.reconstruction = reconstruction.detach()
        losses = self._criterion.generator(
            batch.video,
            reconstruction,
            posterior,
            self._autoencoder.last_layer,
            seeds=batch.seeds,
            begun=self._begun(step),
            compare=(step + 1) % self._settings.log_every == 0,
        )
        return Loss(losses.total, losses.parts)

    def _discriminator_loss(self, index: int, batch: ClipBatch, step: int) -> Loss | None:
        if not self._begun(step)[index]:
            return None
        assert batch.reconstruction is not None
        losses = self._criterion.discriminator(
            index, batch.video, batch.reconstruction, seeds=batch.seeds
        )
        return Loss(losses.total, losses.parts)
