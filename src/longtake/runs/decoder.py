"""The run that trains another decoder of a model's latents."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import nn

from longtake.autoencoders.redecoded import OtherFrames
from longtake.checkpoint import fill
from longtake.distributed import Ranks
from longtake.evaluation.during_training import EvaluationPlan
from longtake.losses.autoencoder import AutoencoderLossConfig
from longtake.model import VideoModel
from longtake.model.index import AUTOENCODER, DecoderName, component_hash, decoder_folder
from longtake.registry import AnyDecoder
from longtake.run_registry import AnySource
from longtake.runs.base import Count, Run
from longtake.runs.reconstruction import train_reconstruction
from longtake.training.callbacks import Callbacks
from longtake.training.checkpoint import unsharded
from longtake.training.config import OptimizerConfig, TrainingConfig
from longtake.training.monitor import CollapseRule


class DecoderRun(Run):
    """Config of a run that trains another decoder of the latents of a trained autoencoder.

    The autoencoder stays as it is, and so do all networks that sample its latents.

    Attributes:
        model: folder or name of the model whose autoencoder encodes the clips; it is exported with
            the decoder added.
        name: name by which the model's users choose the decoder.
        data: source of the training clips, which have the height and width of the decoder's
            ``clip`` and, for latents with a time axis, as many frames or a multiple of them.
        validation: source of the held-out clips that previews reconstruct, by whose mean squared
            error ``models/best`` is chosen as in an ``AutoencoderRun``. None: previews are of
            ``data``.
        decoder: config of the network.
        loss: loss of the reconstructions, with its discriminators.
        discriminator: optimizer of each discriminator.
        collapse: when adversarial training counts as collapsed and the run ends with an error;
            None: never.
        adversarial_steps: number of steps from the first discriminator's start to the end of the
            run; None: the run ends after ``training.steps`` steps.
        init_from: model whose decoder of this name gives the initial weights; None: random ones.
        crop: height and width of the random crop of each clip to train on; None for whole frames,
            which latents without a time axis need.
        num_previews: number of clips that are reconstructed for each preview.
        evaluation: how reconstructions are measured every ``training.evaluate_every`` steps.
        training: settings of the training loop.

    Raises:
        ValueError: clips of ``data`` or ``validation`` have not the size of the decoder's.
    """

    kind: Literal["decoder"] = "decoder"
    model: str
    name: DecoderName = "light"
    data: AnySource
    validation: AnySource | None = None
    decoder: AnyDecoder
    loss: AutoencoderLossConfig = AutoencoderLossConfig(reduction="mean")
    discriminator: OptimizerConfig = OptimizerConfig(betas=(0.5, 0.9))
    collapse: CollapseRule | None = CollapseRule()
    adversarial_steps: Count | None = None
    init_from: str | None = None
    crop: tuple[Count, Count] | None = None
    num_previews: Count = 4
    evaluation: EvaluationPlan = EvaluationPlan()
    training: TrainingConfig

    @model_validator(mode="after")
    def _clips_have_the_size(self) -> "DecoderRun":
        for name in ("data", "validation"):
            source = getattr(self, name)
            if source is None:
                continue
            (frames, *size), plan = self.decoder.clip, source.plan
            if [plan.height, plan.width] != size or plan.frames % frames:
                raise ValueError(
                    f"{name}.plan has clips of {plan.frames}x{plan.height}x{plan.width} (frames, "
                    f"height, width), but the decoder makes {frames}x{size[0]}x{size[1]}; set "
                    f"{name}.plan to that"
                )
        return self

    @property
    def inputs(self) -> Mapping[str, Any]:
        folder = decoder_folder(self.name)
        given = {"init_from": component_hash(self.init_from, folder)} if self.init_from else {}
        hashed = component_hash(self.model, AUTOENCODER)
        return {"data": self.data.identity(), "model": hashed, **given}

    def execute(self, folder: Path, ranks: Ranks, callbacks: Callbacks) -> None:
        """Train from the start, or from the last checkpoint in ``folder``, the run's folder.

        ``ranks`` are the processes of the run; ``callbacks`` report progress.

        Raises:
            ValueError: the model, the decoder and the videos do not fit each other.
            FloatingPointError: the training diverged or collapsed.
        """
        torch.manual_seed(self.training.seed)
        base = VideoModel.from_pretrained(self.model, device=ranks.device)
        both = self.begin(base)
        export = partial(self._export, base, both.decoder, ranks)
        train_reconstruction(self, both, folder, ranks, callbacks, export)

    def begin(self, base: VideoModel) -> OtherFrames:
        """Return the autoencoder of ``base``, the opened ``model``, with the decoder to train.

        The decoder has random weights or those of ``init_from``.

        Raises:
            ValueError: the decoder is for another autoencoder, or ``init_from`` has none of this
                name and architecture.
        """
        decoder = self.decoder.build()
        if self.init_from is not None:
            trained = VideoModel.from_pretrained(self.init_from).decoder(self.name)
            fill(decoder, trained.state_dict(), self.init_from)
        return decoder.beside(base.autoencoder)

    def _export(self, base: VideoModel, decoder: nn.Module, ranks: Ranks, folder: Path) -> None:
        plain: Any = unsharded(decoder, self.decoder.build)
        if ranks.main:
            model = replace(base, decoders={**base.decoders, self.name: plain})
            model.save_pretrained(folder, overwrite=True)
