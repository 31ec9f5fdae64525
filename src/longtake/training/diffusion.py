"""Training a denoiser on cached latents: LVDM's short, prediction and interpolation, and PVDM."""

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
from longtake.diffusion import Condition, Diffusion
from longtake.diffusion.condition import ABSENT
from longtake.latents import LatentScaling, LatentSpec
from longtake.noise import SampleNoise, derive, generator
from longtake.training.masks import KnownFramesPlan


class ClipOfLatents(Config):
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
    known: KnownFramesPlan | None = None
    previous: Annotated[float, Interval(ge=0, le=1)] = 0.0


@dataclass(frozen=True, kw_only=True)
class DiffusionBatch:
    """Everything random about a batch, drawn: the loss is a function of it and the weights."""

    z: Float[Tensor, "b ..."]
    noise: Float[Tensor, "b ..."]
    t: Float[Tensor, "b"]
    condition: Condition

    def to(self, device: torch.device) -> "DiffusionBatch":
        """On a device."""
        return DiffusionBatch(
            z=self.z.to(device),
            noise=self.noise.to(device),
            t=self.t.to(device),
            condition=self.condition.to(device, torch.float32),
        )


class LatentBatches:
    """Batches of a cache: sample ``n`` is a function of the seed and ``n`` alone."""

    def __init__(
        self,
        cache: LatentCache,
        spec: LatentSpec,
        plan: ClipOfLatents,
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

    def __call__(self, numbers: Sequence[int]) -> DiffusionBatch:
        """The samples of these numbers."""
        rows = [self._sample(number) for number in numbers]
        condition = Condition.cat([row.condition for row in rows])
        seeds = [derive(self._seed, "noise", number) for number in numbers]
        noise = SampleNoise(seeds)
        return DiffusionBatch(
            z=torch.cat([row.z for row in rows]),
            t=self._diffusion.draw_time(noise),
            noise=noise.normal(self._spec.shape),
            condition=condition,
        )

    def _sample(self, number: int) -> "_Row":
        epoch, item = self._order(number)
        random = generator(self._seed, "sample", epoch, item)
        cached = self._cache[item]
        z = cached.posterior.sample(torch.randn(cached.posterior.mean.shape, generator=random))
        z, previous = self._cut(self._standardisation.forward(z), random)
        known = self._plan.known and self._plan.known.draw(z[0], random)
        withheld = torch.rand((), generator=random).item() < self._plan.label_dropout
        label = torch.tensor([ABSENT if withheld else cached.label])
        return _Row(
            z=z,
            condition=Condition(
                known=known, previous=previous, label=label if "label" in self._reads else None
            ),
        )


Cut = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor | None]]
"""From a cached clip's latent what is trained on, and what was before it, if that is read."""


def _cutter(
    cache: LatentCache, spec: LatentSpec, plan: ClipOfLatents, reads: frozenset[str]
) -> Cut:
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

    def __init__(self, cache: LatentCache, spec: LatentSpec, plan: ClipOfLatents) -> None:
        self._stride = plan.stride
        self._span = (spec.frames - 1) * plan.stride + 1
        if self._span > cache.shape[1]:
            raise ValueError(
                f"{spec.frames} latent frames with stride {plan.stride} span {self._span}, but a "
                f"cached clip has {cache.shape[1]}; cache longer clips or lower the stride"
            )

    def __call__(self, z: Tensor, random: torch.Generator) -> tuple[Tensor, None]:
        start = int(torch.randint(z.shape[2] - self._span + 1, (), generator=random))
        return z[:, :, start : start + self._span : self._stride], None


class _Clips:
    """One of several whole clips that are laid end to end, and the one before it or zeros (PVDM).

    Unlike the official code, which encodes windows that start at any frame anew at every step,
    clips start where the cache's clips do: a clip's length apart, less the cache's overlap.
    """

    def __init__(
        self, cache: LatentCache, spec: LatentSpec, plan: ClipOfLatents, reads: frozenset[str]
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

    def __call__(self, z: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        clips = z.split(self._cells, dim=-1)
        goes_on = torch.rand((), generator=random).item() < self._share
        place = int(torch.randint(int(goes_on), len(clips), (), generator=random))
        before = clips[place - 1] if goes_on else torch.zeros_like(clips[place])
        return clips[place], before if self._told else None


@dataclass(frozen=True, kw_only=True)
class _Row:
    z: Float[Tensor, "1 c *dims"]
    condition: Condition
