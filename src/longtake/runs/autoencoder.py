"""The run that trains an autoencoder."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from longtake.checkpoint import fill
from longtake.config import ConfigError, differences, to_dict
from longtake.distributed import Ranks
from longtake.evaluation.during_training import EvaluationPlan
from longtake.losses.autoencoder import AutoencoderLossConfig
from longtake.model import ModelIndex, VideoModel
from longtake.model.index import AUTOENCODER, component_hash
from longtake.registry import AnyAutoencoder
from longtake.run_registry import AnySource
from longtake.runs.base import Count, Run
from longtake.runs.reconstruction import train_reconstruction
from longtake.training.callbacks import Callbacks
from longtake.training.checkpoint import unsharded
from longtake.training.config import OptimizerConfig, TrainingConfig
from longtake.training.monitor import CollapseRule


class AutoencoderRun(Run):
    """Config of a run that trains an autoencoder.

    Attributes:
        data: source of the training clips, which have the size of the autoencoder's ``clip``.
        validation: source of the held-out clips that previews reconstruct. Their mean squared error
            in [0, 1] is logged with each preview as ``validation_loss``, and the model with the
            lowest is kept in the run's folder ``models/best``. None: previews are of ``data``.
        autoencoder: config of the network.
        loss: loss of the autoencoder, with its discriminators.
        discriminator: optimizer of each discriminator.
        collapse: when adversarial training counts as collapsed and the run ends with an error;
            None: never.
        adversarial_steps: number of steps from the first discriminator's start to the end of the
            run; None: the run ends after ``training.steps`` steps.
        init_from: model whose autoencoder gives the initial weights: a model folder, a run's folder
            or the name of a model that comes with longtake. It may be for clips of another size:
            embeddings of positions are interpolated. None: random weights.
        freeze_encoder: whether the encoder of ``init_from`` stays as it is and the decoder alone is
            trained, as for Stable Diffusion's ``vae-ft-mse``. Latents do not change then, and the
            model is exported with the networks of ``init_from`` that sample or decode them.
            ``autoencoder`` must be the config of that model's autoencoder.
        crop: height and width of the random crop of each clip to train on; None for whole frames.
        num_previews: number of clips that are reconstructed for each preview.
        evaluation: how reconstructions are measured every ``training.evaluate_every`` steps.
        training: settings of the training loop.

    Raises:
        ValueError: ``freeze_encoder`` is set without ``init_from``.
    """

    renamed: ClassVar[Mapping[str, str]] = {"start": "init_from", "looks": "num_previews"}

    kind: Literal["autoencoder"] = "autoencoder"
    data: AnySource
    validation: AnySource | None = None
    autoencoder: AnyAutoencoder
    loss: AutoencoderLossConfig = AutoencoderLossConfig()
    discriminator: OptimizerConfig = OptimizerConfig(betas=(0.5, 0.9))
    collapse: CollapseRule | None = CollapseRule()
    adversarial_steps: Count | None = None
    init_from: str | None = None
    freeze_encoder: bool = Field(default=False, exclude_if=lambda frozen: not frozen)
    crop: tuple[Count, Count] | None = None
    num_previews: Count = 4
    evaluation: EvaluationPlan = EvaluationPlan()
    training: TrainingConfig

    @model_validator(mode="after")
    def _frozen_weights_are_named(self) -> "AutoencoderRun":
        if self.freeze_encoder and self.init_from is None:
            raise ValueError("freeze_encoder=true freezes the encoder of init_from; set that too")
        return self

    @property
    def inputs(self) -> Mapping[str, Any]:
        given = {"init_from": component_hash(self.init_from, AUTOENCODER)} if self.init_from else {}
        return {"data": self.data.identity(), **given}

    def execute(self, folder: Path, ranks: Ranks, callbacks: Callbacks) -> None:
        """Train from the start, or from the last checkpoint in ``folder``, the run's folder.

        ``ranks`` are the processes of the run; ``callbacks`` report progress.

        Raises:
            ValueError: ``init_from``, the autoencoder and the videos do not fit each other.
            FloatingPointError: the training diverged or collapsed.
        """
        torch.manual_seed(self.training.seed)
        model = self.begin()
        export = partial(self._export, model, ranks)
        train_reconstruction(self, model.autoencoder, folder, ranks, callbacks, export)

    def begin(self) -> VideoModel:
        """Return the model to train: an autoencoder with random weights, or those of ``init_from``.

        Raises:
            ValueError: there is no such model, its autoencoder has weights of other shapes
                or, with a frozen encoder, another config.
        """
        autoencoder, averaged = self.autoencoder.build(), bool(self.training.ema)
        index = ModelIndex(fps=self.data.fps, classes=self.data.classes, ema=averaged)
        if self.init_from is None:
            return VideoModel(index=index, autoencoder=autoencoder)
        trained = VideoModel.from_pretrained(self.init_from)
        if self.freeze_encoder:
            self._check_same_latents(trained.autoencoder)
        fill(autoencoder, autoencoder.resized(trained.autoencoder.state_dict()), self.init_from)
        if not self.freeze_encoder:
            return VideoModel(index=index, autoencoder=autoencoder)
        for module in autoencoder.encoding_modules:
            module.requires_grad_(False)
        return replace(trained, autoencoder=autoencoder)

    def _check_same_latents(self, trained: Any) -> None:
        """Raise a ConfigError unless the autoencoder has the config of ``trained``, its origin.

        Weights may fit although strides, groups or heads differ, which all change the latents.
        """
        pairs = differences(to_dict(trained.config), to_dict(self.autoencoder), "autoencoder")
        changes = [
            f"{name}={'null' if there is None else there} instead of {here}"
            for name, (there, here) in pairs.items()
            if "absent" not in (there, here)  # a field of one kind only: the kind differs too
        ]
        if changes:
            raise ConfigError(
                f"freeze_encoder=true keeps the latents of init_from={self.init_from}, so the "
                f"autoencoder must have its settings: {', '.join(changes)}"
            )

    def _export(self, model: VideoModel, ranks: Ranks, folder: Path) -> None:
        plain = unsharded(model.autoencoder, self.autoencoder.build)
        if ranks.main:
            replace(model, autoencoder=plain).save_pretrained(folder, overwrite=True)
