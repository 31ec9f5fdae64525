"""The run that trains a denoiser on an autoencoder's latents."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import MinLen
from pydantic import Field, model_validator
from torch import nn

from longtake import previews
from longtake.checkpoint import weights_hash
from longtake.config import ConfigError
from longtake.data.cache_plan import CachePlan
from longtake.data.latent_cache import ClipLatents
from longtake.data.latents import cached_shape
from longtake.diffusion import Denoiser, Diffusion
from longtake.distributed import Ranks
from longtake.evaluation.during_training import EvaluationPlan, open_evaluation
from longtake.latents import LatentScaling
from longtake.model import Sampling, VideoModel
from longtake.model.index import AUTOENCODER, component_hash
from longtake.registry import AnyDenoiser, AnyTextEncoder
from longtake.rollout import Role
from longtake.run_registry import AnySource
from longtake.runs.base import Count, Run
from longtake.runs.labels import check_labels, labels_read
from longtake.runs.latents import open_held_out, open_latents
from longtake.text import Prompt, TextEncoder
from longtake.training.callbacks import Callbacks
from longtake.training.captions import check_captions, encode_captions
from longtake.training.checkpoint import unsharded
from longtake.training.config import TrainingConfig
from longtake.training.initial_weights import (
    check_text_of_classes,
    start_from,
    text_of_classes,
)
from longtake.training.latent_batches import LatentBatches, TrainingClip
from longtake.training.methods.denoising import Denoising, validation_loss
from longtake.training.trainer import VALIDATION_LOSS, Trainer


class DiffusionRun(Run):
    """Config of a run that trains a denoiser on an autoencoder's latents.

    Attributes:
        model: model whose autoencoder is used: a model folder, a run's folder or the name of a
            model that comes with longtake; its networks of other roles are exported with
            the denoiser, unless a network of first clips is trained on data of another frame rate.
        roles: what the denoiser samples: ``first``: first clips and, unless another network has the
            role ``next``, the clips that continue them; ``interpolator``: clips between two
            keyframes (LVDM). One network may have several roles.
        data: source of the clips that are encoded to the latent cache; each has a whole number of
            autoencoder clips.
        validation: source of held-out clips, at most as long as those of ``data``; the loss on at
            most 64 of them, at fixed noise and timesteps, is logged with each preview, and the
            model with the lowest is kept in the run's folder ``models/best``. None: no such loss.
        cache: which clips are encoded to the latent cache. None: no cache; clips are encoded
            whenever they are drawn, as in both papers' codes, so that each epoch has other starts,
            crops and mirroring. The encoder then runs at every step.
        cache_folder: folder of a latent cache that runs share; None: a folder of this run.
        clip: how training cuts clips from cached ones, and draws their signals.
        scale_latents: whether latents are shifted and scaled to mean 0 and standard deviation 1
            (LVDM). True: with shift and scale of ``init_from`` if it has the same autoencoder,
            otherwise as measured on the cache, or without one on 64 clips; ``measured``: as
            measured in any case; False: not scaled (PVDM). A model with networks of other roles
            keeps its own scaling.
        denoiser: config of the network.
        text_encoder: encoder of captions, for a network that reads text; exported with the model.
            None: training without text.
        init_from: model whose network in the first of ``roles`` gives the initial weights, except
            those that read classes, labels and text, where the two networks' differ. None: random
            weights.
        init_text: whether layers that read text begin with the weights of ``init_from``, if its
            network has them; False: with random ones. ``classes``: with layers for the mean of a
            text that give each caption the embedding of its clip's class, fitted in seconds; the
            others are random.
        freeze_initial: whether the weights of ``init_from`` stay as they are, and only layers that
            read text, and embeddings of classes that its network lacks, are trained.
        diffusion: schedule, prediction and loss.
        sampling: default sampling of the model.
        preview_frames: number of frames of each sampled preview.
        num_previews: number of videos that are sampled for each preview.
        evaluation: how the model is measured every ``training.evaluate_every`` steps.
        training: settings of the training loop.

    Raises:
        ValueError: ``freeze_initial`` or ``init_text=classes`` is set without ``init_from``, or
            ``diffusion.time_per_frame`` contradicts the cases of ``clip.context``.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "component": "roles",
        "start": "init_from",
        "standardise": "scale_latents",
        "look_frames": "preview_frames",
        "look_videos": "num_previews",
    }

    renamed_values: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "roles": {"denoiser": ["first"], "between": ["interpolator"]}
    }

    kind: Literal["diffusion"] = "diffusion"
    model: str
    roles: Annotated[tuple[Role, ...], MinLen(1)] = ("first",)
    data: AnySource
    validation: AnySource | None = None
    cache: CachePlan | None = CachePlan()
    cache_folder: str | None = None
    clip: TrainingClip = TrainingClip()
    scale_latents: bool | Literal["measured"] = True
    denoiser: AnyDenoiser
    text_encoder: AnyTextEncoder | None = Field(default=None, exclude_if=lambda e: e is None)
    init_from: str | None = None
    init_text: bool | Literal["classes"] = Field(default=True, exclude_if=lambda t: t is True)
    freeze_initial: bool = Field(default=False, exclude_if=lambda frozen: not frozen)
    diffusion: Diffusion
    sampling: Sampling = Sampling()
    preview_frames: Count = 64
    num_previews: Count = 4
    evaluation: EvaluationPlan = EvaluationPlan()
    training: TrainingConfig

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, data: Any, info: Any) -> Any:
        """Move a cache's overlap to the denoiser, where files of an earlier format are accepted."""
        parts = ("cache", "denoiser")
        former = isinstance(data, dict) and all(isinstance(data.get(x), dict) for x in parts)
        if not (former and info.context and info.context.get("upgrade")):
            return data
        cache = dict(data["cache"])
        if overlap_frames := cache.pop("overlap", 0):
            denoiser = {**data["denoiser"], "clip_overlap_frames": overlap_frames}
            data = {**data, "denoiser": denoiser}
        return {**data, "cache": cache}

    @model_validator(mode="after")
    def _frozen_weights_are_named(self) -> "DiffusionRun":
        if self.freeze_initial and self.init_from is None:
            raise ValueError("freeze_initial=true freezes the weights of init_from; set that too")
        if self.init_text == "classes" and self.init_from is None:
            raise ValueError("init_text=classes reads classes of init_from; set that too")
        return self

    @model_validator(mode="after")
    def _frame_times_are_stated(self) -> "DiffusionRun":
        cases = self.clip.context.cases if self.clip.context else ()
        drawn, stated = any(case.frame_times for case in cases), self.diffusion.time_per_frame
        if drawn and not stated:
            raise ValueError(
                "clip.context.cases has frame_times, but diffusion.time_per_frame is false; set it "
                "to true, by which the model states that it was trained so"
            )
        if stated and cases and not drawn:
            raise ValueError(
                "diffusion.time_per_frame is true, but clip.context.cases has no "
                "case of kind frame_times; add {kind: frame_times} or set time_per_frame to false"
            )
        return self

    @property
    def inputs(self) -> Mapping[str, Any]:
        given = (
            {"init_from": component_hash(self.init_from, self.roles[0])} if self.init_from else {}
        )
        return {
            "data": self.data.identity(),
            "model": component_hash(self.model, AUTOENCODER),
            **given,
        }

    def execute(self, folder: Path, ranks: Ranks, callbacks: Callbacks) -> None:
        """Encode clips that the latent cache lacks, then train, from the last checkpoint if any.

        ``folder`` is the run's, ``ranks`` are its processes; ``callbacks`` report progress. Raises
        ValueError if networks, data or latent cache do not fit each other, FloatingPointError if
        the training diverged.
        """
        torch.manual_seed(self.training.seed)
        base = VideoModel.from_pretrained(self.model, device=ranks.device)
        trained = VideoModel.from_pretrained(self.init_from) if self.init_from else None
        model = self.begin(base, self.initial_denoiser(trained))
        if self.clip.stills and ranks.size > 1:
            raise ConfigError(
                f"clip.stills={self.clip.stills}: batches of clips and stills are for one process, "
                f"but there are {ranks.size}; set it to 0, or start one process"
            )
        place = Path(self.cache_folder) if self.cache_folder else folder / "latents"
        denoiser, encoder = model.denoisers[self.roles[0]], model.autoencoder
        spec, report = denoiser.spec, callbacks.encoding
        overlap_frames = spec.clip_overlap_frames
        latents = open_latents(
            *(place, self.data, encoder, self.cache, ranks, report),
            overlap_frames=overlap_frames,
            training=self.training,
        )
        held_out = open_held_out(
            *(place, self.validation, encoder, self.cache, ranks), overlap_frames=overlap_frames
        )
        captions = encode_captions(
            [latents, *([] if held_out is None else [held_out])], self.text_encoder
        )
        model = self._with_settings(model, self._scaling(latents, model, trained), captions.encoder)
        batches = LatentBatches(
            *(latents, spec, self.clip, self.diffusion, model.index.latent_scaling),
            seed=self.training.seed,
            reads=denoiser.reads,
            captions=captions.states,
            labels=self.data.label_sizes,
        )
        validation = None if held_out is None else replace(batches, latents=held_out)
        evaluation = self.training.evaluate_every and open_evaluation(
            self.validation or self.data,
            encoder.spec.clip[1:],
            self.evaluation.at_most(self.preview_frames),
            ranks.device,
            model,
        )
        if self.init_text == "classes" and captions.states is not None:
            text_of_classes(denoiser, latents, captions.states)
        method = Denoising(denoiser, self.diffusion, batches, self.training, ranks)
        Trainer(
            method,
            self.training,
            folder,
            ranks,
            preview=partial(self._preview, model, method, ranks, validation, captions.example),
            evaluate=lambda: evaluation.samples(model) if evaluation else {},
            export=partial(self._export, model, denoiser, ranks),
            report=callbacks.training,
        ).fit()

    def initial_denoiser(self, trained: VideoModel | None = None) -> Denoiser:
        """Build the denoiser, with the weights of ``trained``, the opened model ``init_from``.

        If ``trained`` is None, they are random.

        Raises:
            ValueError: ``trained`` has no network in the first of ``roles``, or its weights have
                other names or shapes.
        """
        denoiser = self.denoiser.build()
        if trained is not None:
            network = trained.denoisers.get(self.roles[0])
            if network is None:
                raise ValueError(
                    f"init_from={self.init_from} has no network in the role {self.roles[0]!r}; "
                    "name a model that has one, or leave init_from out"
                )
            start_from(
                denoiser,
                network,
                str(self.init_from),
                freeze=self.freeze_initial,
                with_text=self.init_text is True,
            )
        return denoiser

    def begin(self, base: VideoModel, denoiser: Denoiser) -> VideoModel:
        """Return the model that training begins with; its latents are not scaled yet.

        Nothing is encoded, so that whatever does not fit is refused at once.

        Args:
            base: the opened ``model``.
            denoiser: the initial denoiser.

        Raises:
            ValueError: settings, data and networks do not fit each other.
        """
        check_labels(self.denoiser, self.data)
        base = self._joined(base)
        base.autoencoder.spec.check_drawn(denoiser.spec, self.model)
        base.autoencoder.spec.check_clip(denoiser.spec, self.model)
        self.clip.check(denoiser)
        if self.init_text == "classes":
            check_text_of_classes(denoiser)
        if self.diffusion.time_per_frame and not denoiser.per_frame:
            raise ConfigError(
                "diffusion.time_per_frame=true: this network has one time for all frames; set "
                "denoiser.frame_times=true, or time_per_frame to false"
            )
        spec, encoded = denoiser.spec, base.autoencoder.spec
        for name in ("data", *(["validation"] if self.validation else [])):
            plan = getattr(self, name).plan
            shape = cached_shape(plan, encoded, spec.clip_overlap_frames, name)
            self.clip.check_cached(spec, shape, name)
        check_captions(denoiser, self.text_encoder, self.data)
        base = self._with_settings(base, LatentScaling(), self.text_encoder)
        model = self._with_network(base, denoiser)
        if self.training.sample_every:
            previews.check_samples(model, self.preview_frames)
        return model

    def settled(self) -> "DiffusionRun":
        """Return the run with ``num_classes=auto`` replaced by the data's number of classes.

        It is replaced by None, for a network without classes, if the data has none.
        """
        if getattr(self.denoiser, "num_classes", None) != "auto":
            return self
        number = len(self.data.classes) or None
        denoiser = self.denoiser.model_copy(update={"num_classes": number})
        return self.model_copy(update={"denoiser": denoiser})

    def _joined(self, base: VideoModel) -> VideoModel:
        """The model ``base``, without its networks if they are of another frame rate than the data.

        They are kept if this run trains no network of first clips.
        """
        other_rate = base.index.fps != self.data.fps
        return replace(base, denoisers={}) if other_rate and "first" in self.roles else base

    def _scaling(
        self, latents: ClipLatents, base: VideoModel, trained: VideoModel | None
    ) -> LatentScaling:
        """Scaling of latents by ``scale_latents``: none, as measured, or that of ``trained``.

        ``trained`` is the opened ``init_from``; None if that is not set.
        """
        if not self.scale_latents:
            return LatentScaling()
        if trained is None or self.scale_latents == "measured":
            return latents.latent_scaling
        same = weights_hash(trained.autoencoder) == weights_hash(base.autoencoder)
        return trained.index.latent_scaling if same else latents.latent_scaling

    def _with_settings(
        self, base: VideoModel, scaling: LatentScaling, text_encoder: TextEncoder | None
    ) -> VideoModel:
        """The model ``base`` with the settings of this run.

        ``text_encoder`` may be None if it has none or keeps its own. A ConfigError if networks of
        other roles in it have another diffusion process.
        """
        others = base.denoisers.keys() - set(self.roles)
        index = base.index
        if not others:
            index = index.model_copy(update={"latent_scaling": scaling, "fps": self.data.fps})
        elif index.diffusion is None or not self.diffusion.samples_as(index.diffusion):
            raise ConfigError(
                f"diffusion differs from that of {self.model}, whose networks "
                f"({', '.join(sorted(others))}) this one joins; expected the schedule, prediction "
                f"and time_per_frame of {index.diffusion}"
            )
        changes = {"diffusion": self.diffusion, "sampling": self.sampling}
        named = labels_read(self.denoiser)
        reads = named or getattr(self.denoiser, "num_classes", None) is not None
        classes = self.data.classes if reads else index.classes if others else ()
        changes |= {"classes": classes, "ema": self.training.ema is not None}
        changes |= {"text_encoder": text_encoder or (index.text_encoder if others else None)}
        labels = {name: self.data.label_parts[name] for name in named}
        changes |= {"labels": {**(index.labels if others else {}), **labels}}
        index = index.model_copy(update=changes)
        if not others:
            index = index.model_copy(update={"context_cases": {}})
        return replace(base, index=index.trained(self.roles, self.clip.context_cases))

    def _preview(
        self,
        model: VideoModel,
        method: Denoising,
        ranks: Ranks,
        validation: LatentBatches | None,
        prompt: Prompt | None,
        folder: Path,
    ) -> Mapping[str, float]:
        videos, frames = self.num_previews, self.preview_frames
        previews.samples(model, videos, frames, folder, ranks, prompt)
        if validation is None:
            return {}
        loss = validation_loss(method.losses, validation, self.training.batch, ranks.device)
        return {VALIDATION_LOSS: loss}

    def _export(self, base: VideoModel, denoiser: nn.Module, ranks: Ranks, folder: Path) -> None:
        plain = unsharded(denoiser, self.denoiser.build)
        if ranks.main:
            self._with_network(base, plain).save_pretrained(folder, overwrite=True)

    def _with_network(self, base: VideoModel, denoiser: Any) -> VideoModel:
        return replace(base, denoisers={**base.denoisers, **dict.fromkeys(self.roles, denoiser)})
