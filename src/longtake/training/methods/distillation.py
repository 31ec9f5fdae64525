"""Distillation: trains a student that samples in a few evaluations what its teacher does in many.

The times of sampling are cut into as many segments as the student has evaluations. The student is a
denoiser like its teacher: one step of DDIM from a segment's start to its end takes it as far as the
teacher's many steps, so that it is sampled by DDIM with ``steps=segments``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Interval
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from longtake.config import Config
from longtake.diffusion import DDIM, AlphaSigma, ClipSampler, Denoiser, Diffusion
from longtake.diffusion.guidance import Unguided
from longtake.diffusion.samplers import TimeTable
from longtake.diffusion.signals import frame_times, impose
from longtake.diffusion.timesteps import UniformTime, grid_times
from longtake.distributed import Ranks
from longtake.latents import Latent
from longtake.training.config import TrainingConfig
from longtake.training.latent_batches import LatentBatches, TrainingBatch
from longtake.training.methods.base import Loss, Method, Phase
from longtake.training.methods.denoising import Denoising


class Jump(NamedTuple):
    """Training target of the student: for each sample, where one step should lead it.

    Attributes:
        before: noisy latents at ``start``.
        after: latents at ``end``, which one step of the student is to reach.
        start: time of each sample at which the student is evaluated.
        end: time of each sample to which its step leads.
    """

    before: Latent
    after: Latent
    start: Float[Tensor, "b"]
    end: Float[Tensor, "b"]


@dataclass(frozen=True)
class Walks:
    """A training batch, with functions that run teacher and student from it without gradients.

    ``teacher`` is guided as it is sampled; ``student`` has the weights that are being trained.
    """

    batch: TrainingBatch
    teacher: ClipSampler
    student: ClipSampler

    def noisy(self, t: Float[Tensor, "b"]) -> Latent:
        """The batch's latents, noised to times ``t``; context frames, to their signal's time."""
        spec, signals = self.teacher.spec, self.batch.signals
        z, times = impose(spec, signals, self.batch.z), frame_times(signals, t)
        return self.teacher.diffusion.add_noise(spec, z, self.batch.noise, times)

    def by(self, sampler: ClipSampler, z: Latent, times: TimeTable) -> Latent:
        """Step ``z`` through falling ``times`` by ``sampler``, the ``teacher`` or ``student``."""
        return sampler.walk(self.batch.signals, z, times)


class Distilled(Config, ABC):
    """How a student learns from its teacher.

    Attributes:
        segments: number of the student's evaluations per clip.
        teacher_steps: number of the teacher's evaluations in one segment.
    """

    segments: Annotated[int, Interval(ge=1, le=4)] = 2
    teacher_steps: Annotated[int, Ge(1)] = 8

    @property
    def borders(self) -> Float[Tensor, "s"]:
        """Times of the segments' ends, falling from 1 to 0, in float64."""
        times = grid_times("trailing", self.segments)
        return torch.tensor(times, dtype=torch.float64, device="cpu")

    @property
    def sampler(self) -> DDIM:
        """The sampler of the student."""
        return DDIM(steps=self.segments)

    @abstractmethod
    def __call__(self, walks: Walks, place: Float[Tensor, "b"]) -> Jump:
        """Make the training target of a batch: where one step of the student should lead.

        Args:
            walks: the batch, and functions that run teacher and student from it.
            place: a random number in [0, 1) per sample, which chooses its times.
        """


class Progressive(Distilled):
    """One stage of progressive distillation (Salimans and Ho 2022) within each segment.

    The teacher steps from a noisy training clip to the segment's end, in as many steps from a later
    start as from the segment's first.

    Attributes:
        segments: number of segments, in each of which the student takes one step.
        teacher_steps: number of steps that the teacher takes to a segment's end.
        starts: number of start times in each segment, evenly spaced. The student is sampled from
            the first alone, which is the only one for ``starts=1``.
    """

    kind: Literal["progressive"] = "progressive"
    starts: Annotated[int, Ge(1)] = 1

    def __call__(self, walks: Walks, place: Float[Tensor, "b"]) -> Jump:
        index, rest = _part(place, self.segments)
        top, end = self.borders[index], self.borders[index + 1]
        start = end + (top - end) * (1 - _part(rest, self.starts)[0] / self.starts)
        z = walks.noisy(start.to(walks.batch.z))
        times = between(start, end, self.teacher_steps)
        return Jump(z, walks.by(walks.teacher, z, times), start, end)


class Consistency(Distilled):
    """Multistep consistency distillation (Heek et al. 2024): equal ends from neighbouring times.

    From a noisy training clip the teacher takes one of its ``teacher_steps`` steps in the segment,
    and the student steps from there to the segment's end. What it reaches is the target: the
    student is trained to reach the same in one step from the noisy clip. Unlike in the paper, the
    target is made with the trained weights, not with an average of them (Song and Dhariwal 2023,
    section 3.2).

    Attributes:
        segments: number of segments, in each of which the student takes one step.
        teacher_steps: number of the teacher's steps into which each segment is divided.
    """

    kind: Literal["consistency"] = "consistency"

    def __call__(self, walks: Walks, place: Float[Tensor, "b"]) -> Jump:
        index, rest = _part(place, self.segments)
        top, end = self.borders[index], self.borders[index + 1]
        step = (top - end) / self.teacher_steps
        start = top - step * _part(rest, self.teacher_steps)[0]
        # The last step ends where the segment does, whatever the rounding.
        following = torch.where(start - step < end + step / 2, end, start - step)
        z = walks.noisy(start.to(walks.batch.z))
        near = walks.by(walks.teacher, z, torch.stack([start, following]))
        return Jump(z, walks.by(walks.student, near, torch.stack([following, end])), start, end)


class Regression(Distilled):
    """Regression on the teacher's whole trajectory from noise, at the student's own latents.

    The times from 1 to 0 are cut into ``segments`` of equal length. Teacher and student start from
    the same noise. The student starts a segment where its own steps have led it, and is trained to
    end it where the teacher does (after Luhman and Luhman 2021, who do so in one step), so that it
    learns to correct its own errors.

    Attributes:
        segments: number of segments, in each of which the student takes one step.
        teacher_steps: number of steps that the teacher takes in each segment.
    """

    kind: Literal["regression"] = "regression"

    def __call__(self, walks: Walks, place: Float[Tensor, "b"]) -> Jump:
        index, _ = _part(place, self.segments)
        start, end = self.borders[index], self.borders[index + 1]
        noise = walks.noisy(torch.ones_like(walks.batch.t))
        whole = [between(a, b, self.teacher_steps) for a, b in self.borders.unfold(0, 2, 1)]
        own = self.borders[: self.segments, None].maximum(start)
        taught = torch.cat([torch.ones(1), *(part[1:] for part in whole)])[:, None].maximum(end)
        z = walks.by(walks.student, noise, own)
        return Jump(z, walks.by(walks.teacher, noise, taught), start, end)


AnyDistilled = Annotated[Progressive | Consistency | Regression, Field(discriminator="kind")]
"""Settings of a variant of distillation."""


@dataclass(eq=False)
class Distillation(Method):
    """Trains a student of a denoiser on batches of a latent cache.

    Attributes:
        student: network to train, of the same kind as the teacher's and with its weights at first.
        teacher: samples clips by the trained network, guided; neither trained nor saved.
        variant: how the student learns.
        data: batches of clips; the times in them choose from where to where the student steps.
        settings: settings of the training loop.
        ranks: processes of the run.
    """

    student: Denoiser
    teacher: ClipSampler
    variant: Distilled
    data: LatentBatches
    settings: TrainingConfig
    ranks: Ranks

    def __post_init__(self) -> None:
        self.module = self.exported = network = self.student
        guides = self.teacher.guides.values()
        self.frozen = tuple(x.requires_grad_(False) for x in (self.teacher.denoiser, *guides))
        optimizer, loss = self.settings.optimizer, self._loss
        main = Phase(name="main", log_key="loss", module=network, optimizer=optimizer, loss=loss)
        self.phases = (main,)
        process = self.teacher.diffusion
        self._process = process.model_copy(update={"loss_on": "generated"})
        self._teacher = replace(self.teacher, sampler=DDIM())
        self._walker = replace(self._teacher, denoiser=network, guidance=Unguided(), guides={})
        uniform = {"timestep_sampling": UniformTime(), "time_per_frame": False}
        self.data = replace(self.data, diffusion=process.model_copy(update=uniform))

    def batches(self, first_step: int) -> Iterator[Sequence[TrainingBatch]]:
        """Yield this rank's micro-batches of each step from ``first_step`` on, forever.

        Raises:
            ValueError: the batch cannot be divided among processes and micro-batches.
        """
        drawn = Denoising(self.student, self._process, self.data, self.settings, self.ranks)
        return drawn.batches(first_step)

    def _loss(self, batch: TrainingBatch, step: int) -> Loss:
        del step
        return Loss(self.losses(batch).mean(), {})

    def losses(self, batch: TrainingBatch) -> Float[Tensor, "b"]:
        """Loss of each sample of a batch: of the student against what the teacher leads to."""
        return self.taught(batch).losses(self._process, self.student)

    def taught(self, batch: TrainingBatch) -> TrainingBatch:
        """Return the batch with the clean latents and noise that the student is to predict."""
        jump = self.variant(Walks(batch, self._teacher, self._walker), batch.t.cpu())
        z, noise = implied(self._process, self.student, jump)
        if "context_mask" in batch.signals:
            given = batch.signals["context_mask"].value
            given = self.student.spec.expand(given.to(noise.dtype)) > 0
            noise = torch.where(given, batch.noise, noise)
        stills = batch.stills and self.taught(batch.stills)
        return replace(batch, z=z, noise=noise, t=jump.start.to(z), stills=stills)


def implied(process: Diffusion, network: Denoiser, jump: Jump) -> tuple[Latent, Latent]:
    """Clean latent and noise of which the latents at both ends of a jump are mixtures.

    With r = sigma_end / sigma_start, one step of DDIM to the end is z_end = r * z_start +
    (alpha_end - r * alpha_start) * x0.
    """
    expand = network.spec.expand
    a, b = (
        AlphaSigma(*(expand(x).to(jump.before) for x in process.schedule(t)))
        for t in (jump.start, jump.end)
    )
    ratio = b.sigma / a.sigma
    z = (jump.after - ratio * jump.before) / (b.alpha - ratio * a.alpha)
    return z, (jump.before - a.alpha * z) / a.sigma


def between(
    start: Float[Tensor, "*b"], end: Float[Tensor, "*b"], steps: int
) -> Float[Tensor, "s *b"]:
    """Evenly spaced times from ``start`` to ``end``, both included."""
    share = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps
    share = share.reshape(-1, *[1] * start.ndim)
    return torch.where(share < 1, start + (end - start) * share, end)


def _part(place: Float[Tensor, "b"], parts: int) -> tuple[Tensor, Float[Tensor, "b"]]:
    """Which of ``parts`` equal parts of [0, 1) a place is in, and its place within the part."""
    scaled = place.double() * parts
    index = scaled.long().clamp(0, parts - 1)
    return index, scaled - index
