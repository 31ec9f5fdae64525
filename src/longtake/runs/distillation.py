"""The run that distils a trained denoiser to a student of few evaluations."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import MinLen

from longtake import previews
from longtake.backends import Backend, OpenVINO
from longtake.config import ConfigError
from longtake.data.cache_plan import CachePlan
from longtake.data.latent_cache import LatentCache
from longtake.data.latents import cached_shape
from longtake.diffusion import ClipSampler, Denoiser, Unguided
from longtake.distributed import Ranks
from longtake.evaluation.during_training import EvaluationPlan, open_evaluation
from longtake.model import RoleSampling, Sampling, VideoModel
from longtake.model.index import component_hash
from longtake.registry import AnyGuidance, AnyTextEncoder
from longtake.rollout import Role
from longtake.run_registry import AnySource
from longtake.runs.base import Count, Run
from longtake.runs.latents import open_held_out, open_latents
from longtake.text import Prompt
from longtake.training.callbacks import Callbacks
from longtake.training.captions import check_captions, encode_captions
from longtake.training.checkpoint import unsharded
from longtake.training.config import TrainingConfig
from longtake.training.latent_batches import LatentBatches, TrainingClip
from longtake.training.methods.denoising import validation_loss
from longtake.training.methods.distillation import AnyDistilled, Distillation, Progressive
from longtake.training.trainer import VALIDATION_LOSS, Trainer

BACKENDS: Mapping[str, Callable[[], Backend | None]] = {"torch": lambda: None, "openvino": OpenVINO}


class Beginning(NamedTuple):
    """What a distillation begins with.

    Attributes:
        model: the teacher's model with the student, whose weights are the teacher's, in its roles.
        teacher: samples clips by the teacher, guided as the student learns it.
    """

    model: VideoModel
    teacher: ClipSampler


class DistillationRun(Run):
    """Config of a run that distils a model's denoiser to a student of 1 to 4 evaluations.

    The student is a network like the teacher's and begins with its weights. The exported model is
    the teacher with the student in ``roles``, sampled by DDIM with as many steps as the student has
    evaluations.

    Attributes:
        teacher: model that is distilled: a model folder, a run's folder or the name of a model that
            comes with longtake.
        roles: what the student samples, as in ``DiffusionRun``; it learns from the teacher's
            network in the first of them.
        data: source of the clips that are encoded to the latent cache, as in the teacher's run.
        validation: source of held-out clips; the loss on at most 64 of them, at fixed noise and
            times, is logged with each preview, and the model with the lowest is kept in the run's
            folder ``models/best``. None: no such loss.
        cache: which clips are encoded to the latent cache; None: clips are encoded whenever
            they are drawn.
        cache_folder: folder of a latent cache that runs share; None: a folder of this run.
        clip: how training cuts clips from cached ones, and draws their signals.
        guidance: guidance of the teacher, which the student learns and is sampled without; None:
            the teacher's own in the first of ``roles``.
        variant: how the student learns, and its number of evaluations.
        teacher_backend: what runs the teacher; ``openvino`` is for CPUs and needs the extra
            ``fast``.
        preview_frames: number of frames of each sampled preview.
        num_previews: number of videos that are sampled for each preview.
        evaluation: how the student is measured every ``training.evaluate_every`` steps.
        training: settings of the training loop.
    """

    kind: Literal["distillation"] = "distillation"
    teacher: str
    roles: Annotated[tuple[Role, ...], MinLen(1)]
    data: AnySource
    validation: AnySource | None = None
    cache: CachePlan | None = CachePlan()
    cache_folder: str | None = None
    clip: TrainingClip = TrainingClip()
    guidance: AnyGuidance | None = None
    variant: AnyDistilled = Progressive()
    teacher_backend: Literal["torch", "openvino"] = "torch"
    preview_frames: Count = 64
    num_previews: Count = 4
    evaluation: EvaluationPlan = EvaluationPlan()
    training: TrainingConfig

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {
            "data": self.data.identity(),
            "teacher": component_hash(self.teacher, self.roles[0]),
        }

    def execute(self, folder: Path, ranks: Ranks, callbacks: Callbacks) -> None:
        """Encode clips that the latent cache lacks, then train, from the last checkpoint if any.

        ``folder`` is the run's, ``ranks`` are its processes; ``callbacks`` report progress.

        Raises:
            ValueError: the teacher, the clips and the classes do not fit each other, or the latent
                cache is of something else.
            FloatingPointError: the training diverged.
        """
        torch.manual_seed(self.training.seed)
        model = VideoModel.from_pretrained(self.teacher, device=ranks.device)
        with_student, walk = self.begin(model)
        teacher = self._network(model)
        student, text_encoder = with_student.denoisers[self.roles[0]], self._text_encoder(model)
        place = Path(self.cache_folder) if self.cache_folder else folder / "latents"
        latents = open_latents(
            *(place, self.data, model.autoencoder, self.cache, ranks, callbacks.encoding),
            overlap_frames=teacher.spec.clip_overlap_frames,
            training=self.training,
        )
        held_out = open_held_out(
            *(place, self.validation, model.autoencoder, self.cache, ranks),
            overlap_frames=teacher.spec.clip_overlap_frames,
        )
        captions = encode_captions(
            [latents, *([] if held_out is None else [held_out])], text_encoder
        )
        assert model.index.diffusion is not None
        batches = LatentBatches(
            *(latents, teacher.spec, self.clip, model.index.diffusion, model.index.latent_scaling),
            seed=self.training.seed,
            reads=teacher.reads,
            captions=captions.states,
            labels=self.data.label_sizes,
        )
        method = Distillation(student, walk, self.variant, batches, self.training, ranks)
        evaluation = self.training.evaluate_every and open_evaluation(
            self.validation or self.data,
            model.autoencoder.spec.clip[1:],
            self.evaluation.at_most(self.preview_frames),
            ranks.device,
            with_student,
        )
        Trainer(
            method,
            self.training,
            folder,
            ranks,
            preview=partial(self._preview, with_student, method, ranks, held_out, captions.example),
            evaluate=lambda: evaluation.samples(with_student) if evaluation else {},
            export=partial(self._export, with_student, student, teacher, ranks),
            report=callbacks.training,
        ).fit()

    def begin(self, model: VideoModel) -> Beginning:
        """Return what training begins with; ``model`` is the opened ``teacher``.

        Nothing is encoded, so that whatever does not fit is refused at once.

        Raises:
            ValueError: the model's network cannot be distilled on the data.
            BackendError: the backend cannot run the teacher.
        """
        self._check(model)
        teacher = self._network(model)
        overlap_frames = teacher.spec.clip_overlap_frames
        for name in ("data", *(["validation"] if self.validation else [])):
            plan = getattr(self, name).plan
            shape = cached_shape(plan, model.autoencoder.spec, overlap_frames, name)
            self.clip.check_cached(teacher.spec, shape, name)
        check_captions(teacher, self._text_encoder(model), self.data)
        student = copy.deepcopy(teacher).train()
        index = model.index.trained(self.roles, self.clip.context_cases)
        with_student = replace(
            model,
            index=index.model_copy(update={"sampling": self._sampling(model)}),
            denoisers={**model.denoisers, **dict.fromkeys(self.roles, student)},
        )
        if self.training.sample_every:
            previews.check_samples(with_student, self.preview_frames)
        walk = model.clip_sampler(
            *(self.roles[0], self._guided(model.index.sampling), BACKENDS[self.teacher_backend]())
        )
        return Beginning(with_student, walk)

    def _text_encoder(self, model: VideoModel) -> AnyTextEncoder | None:
        """The text encoder of ``model``, if the teacher reads text; else None."""
        return model.index.text_encoder if "text" in self._network(model).reads else None

    def _check(self, model: VideoModel) -> None:
        """Raise a ValueError unless the model's network can be distilled on the data."""
        if self.roles[0] not in self._filled(model):
            raise ConfigError(
                f"roles: {self.teacher} has no network in the role {self.roles[0]!r}, only in "
                f"{', '.join(sorted(model.denoisers)) or 'none'}"
            )
        network, parts = self._network(model), self.data.label_parts
        classes = "label" not in network.reads or model.index.classes == self.data.classes
        if not classes or any(parts.get(k) != v for k, v in model.index.labels.items()):
            raise ConfigError(
                f"data: its classes are not those of {self.teacher}; give the data that the model "
                "was trained on"
            )
        if model.index.sampling.pattern.per_frame:
            raise ConfigError(
                f"{self.teacher} is sampled with a time per frame, and a student cannot be; set "
                "sampling.pattern.kind=together in its model_index.json"
            )
        self.clip.check(network)

    @staticmethod
    def _filled(model: VideoModel) -> set[Role]:
        """Roles that the model has a network for; that of ``first`` samples next clips too."""
        return set(model.denoisers) | ({"next"} if "first" in model.denoisers else set())

    def _network(self, model: VideoModel) -> Denoiser:
        role = self.roles[0]
        return model.denoisers[role if role in model.denoisers else "first"]

    def _guided(self, sampling: Sampling) -> Sampling:
        """The teacher's sampling, with the guidance that the student learns."""
        alone = sampling.of(self.roles[0])
        return alone.model_copy(update={"guidance": self.guidance}) if self.guidance else alone

    def _sampling(self, model: VideoModel) -> Sampling:
        """The teacher's sampling, with the student's sampler, unguided, in the student's roles."""
        sampling, roles = model.index.sampling, set(self.roles)
        own = RoleSampling(sampler=self.variant.sampler, guidance=Unguided())
        if "first" in roles and "next" not in model.denoisers:
            roles.add("next")
        for role in sorted(roles):
            if role in sampling.rollout.adds:
                sampling = sampling.in_role(role, own)
        return sampling

    def _preview(
        self,
        model: VideoModel,
        method: Distillation,
        ranks: Ranks,
        held_out: LatentCache | None,
        prompt: Prompt | None,
        folder: Path,
    ) -> Mapping[str, float]:
        videos, frames = self.num_previews, self.preview_frames
        previews.samples(model, videos, frames, folder, ranks, prompt)
        if held_out is None:
            return {}
        data = replace(method.data, latents=held_out)
        loss = validation_loss(method.losses, data, self.training.batch, ranks.device)
        return {VALIDATION_LOSS: loss}

    def _export(
        self, model: VideoModel, student: Denoiser, teacher: Denoiser, ranks: Ranks, folder: Path
    ) -> None:
        plain = unsharded(student, lambda: copy.deepcopy(teacher).cpu())
        networks = {role: plain if x is student else x for role, x in model.denoisers.items()}
        if ranks.main:
            index = model.index.model_copy(update={"ema": self.training.ema is not None})
            whole = replace(model, index=index, denoisers=networks)
            whole.save_pretrained(folder, overwrite=True)
