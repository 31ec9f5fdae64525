"""Batches of cached latents for training a denoiser, all that is random about them drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from jaxtyping import Float
from torch import Tensor

from longtake.config import Config
from longtake.data.latents import LatentCache
from longtake.data.order import Order
from longtake.diffusion import Diffusion
from longtake.diffusion.signals import Signals, previous_signal
from longtake.diffusion.signals import signal as batch
from longtake.diffusion.signals.context import ContextPlan
from longtake.diffusion.signals.label import draw_label
from longtake.latents import LatentScaling, LatentSpec
from longtake.noise import SampleNoise, derive, generator


class TrainingClip(Config):
    """Which part of a cached clip a denoiser is trained on, and what is given of it.

    Attributes:
        stride: distance of neighbouring latent frames; LVDM's keyframes have 4.
        label_dropout: share of samples whose label is withheld, for classifier-free guidance.
        known: which frames are given; None for a model without frame conditions.
        previous: share of samples that go on from the clip before; the others are told of none.
            PVDM's is 0.3 for UCF-101 and 0.2 for SkyTimelapse. Unlike the official code, which
            draws once a batch, each sample has a draw of its own.
    """

    stride: Annotated[int, Ge(1)] = 1
    label_dropout: Annotated[float, Interval(ge=0, le=1)] = 0.1
    known: ContextPlan | None = None
    previous: Annotated[float, Interval(ge=0, le=1)] = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """Everything random about a batch, drawn: the loss is a function of it and the weights."""

    z: Float[Tensor, "b ..."]
    noise: Float[Tensor, "b ..."]
    t: Float[Tensor, "b *f"]
    signals: Signals

    def to(self, device: torch.device) -> "TrainingBatch":
        """On a device."""
        return TrainingBatch(
            z=self.z.to(device),
            noise=self.noise.to(device),
            t=self.t.to(device),
            signals=batch.to(self.signals, device),
        )


class LatentBatches:
    """Batches of a cache: sample ``n`` is a function of the seed and ``n`` alone."""

    def __init__(
        self,
        cache: LatentCache,
        spec: LatentSpec,
        plan: TrainingClip,
        diffusion: Diffusion,
        standardisation: LatentScaling,
        *,
        seed: int,
        reads: frozenset[str],
    ) -> None:
        self._cache, self._spec, self._plan = cache, spec, plan
        self._diffusion, self._standardisation = diffusion, standardisation
        self._seed, self._reads = seed, reads
        self._order = Order(seed, len(cache))
        self._cut = _cutter(cache, spec, plan, reads)

    def __call__(self, numbers: Sequence[int]) -> TrainingBatch:
        """The samples of these numbers."""
        rows = [self._sample(number) for number in numbers]
        noise = SampleNoise([derive(self._seed, "noise", number) for number in numbers])
        return TrainingBatch(
            z=torch.cat([z for z, _ in rows]),
            t=self._diffusion.draw_time(noise),
            noise=noise.normal(self._spec.shape),
            signals=batch.cat([signals for _, signals in rows]),
        )

    def _sample(self, number: int) -> tuple[Float[Tensor, "1 c ..."], Signals]:
        epoch, item = self._order(number)
        random = generator(self._seed, "sample", epoch, item)
        cached = self._cache[item]
        z = cached.posterior.sample(torch.randn(cached.posterior.mean.shape, generator=random))
        z, signals = self._cut(self._standardisation.forward(z), random)
        if self._plan.known is not None:
            signals = {**signals, **self._plan.known.draw(z[0], random)}
        if "label" in self._reads:
            signals = {**signals, **draw_label(cached.label, self._plan.label_dropout, random)}
        return z, signals


Cut = Callable[[Tensor, torch.Generator], tuple[Tensor, Signals]]
"""From a cached clip's latent what is trained on, and the clip before it, if that is read."""


def _cutter(cache: LatentCache, spec: LatentSpec, plan: TrainingClip, reads: frozenset[str]) -> Cut:
    if "previous" not in reads and plan.previous:
        raise ValueError(
            f"clip.previous={plan.previous}, but this denoiser does not read the clip before; "
            "set clip.previous=0 or choose a denoiser with previous=true"
        )
    if spec.frame_axis is None:
        return _Clips(cache, spec, plan, reads)
    return _Frames(cache, spec, plan)


class _Frames:
    """Latent frames from a random start."""

    def __init__(self, cache: LatentCache, spec: LatentSpec, plan: TrainingClip) -> None:
        self._stride = plan.stride
        self._span = (spec.frames - 1) * plan.stride + 1
        if self._span > cache.shape[1]:
            raise ValueError(
                f"{spec.frames} latent frames with stride {plan.stride} span {self._span}, but a "
                f"cached clip has {cache.shape[1]}; cache longer clips or lower the stride"
            )

    def __call__(self, z: Tensor, random: torch.Generator) -> tuple[Tensor, Signals]:
        start = int(torch.randint(z.shape[2] - self._span + 1, (), generator=random))
        return z[:, :, start : start + self._span : self._stride], {}


class _Clips:
    """One of several whole clips that are laid end to end, and the one before it or zeros (PVDM).

    Unlike the official code, which encodes windows that start at any frame anew at every step,
    clips start where the cache's clips do: a clip's length apart, less the cache's overlap.
    """

    def __init__(
        self, cache: LatentCache, spec: LatentSpec, plan: TrainingClip, reads: frozenset[str]
    ) -> None:
        self._cells = spec.shape[-1]
        self._share = plan.previous
        self._told = "previous" in reads
        if plan.stride != 1 or plan.known is not None:
            raise ValueError(
                "these latents have no axis of time, so clip.stride and clip.known cannot be given"
            )
        if cache.shape[-1] < self._cells * (1 + (plan.previous > 0)):
            raise ValueError(
                f"a cached video has {cache.shape[-1] // self._cells} clip, but "
                f"clip.previous={plan.previous} needs a second one after it; "
                f"cache videos of {2 * spec.clip[0]} frames, less cache.overlap, or more "
                "(data.plan.frames)"
            )

    def __call__(self, z: Tensor, random: torch.Generator) -> tuple[Tensor, Signals]:
        clips = z.split(self._cells, dim=-1)
        goes_on = torch.rand((), generator=random).item() < self._share
        place = int(torch.randint(int(goes_on), len(clips), (), generator=random))
        before = clips[place - 1] if goes_on else torch.zeros_like(clips[place])
        return clips[place], previous_signal(before) if self._told else {}
