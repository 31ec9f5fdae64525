"""Samples clips: a denoiser, the process it was trained on, and how it is sampled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.config import plural
from longtake.diffusion import signals as batch
from longtake.diffusion.guidance import Guidance, Unguided
from longtake.diffusion.process import Denoiser, Diffusion
from longtake.diffusion.samplers import Denoise, Sampler, TimeTable
from longtake.diffusion.signals import CONTEXT, Signals, context_signals, frame_times, impose
from longtake.diffusion.timesteps import TimePattern, Together
from longtake.latents import Latent, LatentSpec
from longtake.noise import SampleNoise
from longtake.progress import ProgressCallback, no_progress


class Sampled(NamedTuple):
    """Result of a clip sampler.

    Attributes:
        z: clean latents, one clip per seed.
        memory: tensors for sampling the next clip, such as a key-value cache, by the name of the
            signal that passes each of them to the network.
    """

    z: Latent
    memory: Mapping[str, Tensor] = {}


@dataclass(frozen=True, kw_only=True)
class ClipSampler:
    """Samples latents of clips by a denoiser and a sampler.

    Each clip of a batch depends on its own seed and its own rows of the signals alone.

    Attributes:
        denoiser: network on its device, in any precision; latents are in float32.
        diffusion: the process that the denoiser was trained on.
        sampler: the rule that steps from noise to a clean latent.
        guidance: the rule that combines conditional and unconditional estimates.
        context_noise: time in [0, 1] of the noise put on context frames, those that are given
            (LVDM, conditional latent perturbation); 0 leaves them clean.
        pattern: which time each latent frame has at each sampling step.
        guides: networks that guide, by the name of their model, for ``Autoguidance``.

    Raises:
        ValueError: the sampler or denoiser does not support the per-frame times of ``pattern``, the
            sampler cannot use the noise schedule, or ``guidance`` names a signal that the denoiser
            does not read or a model that is not in ``guides``.
    """

    denoiser: Denoiser
    diffusion: Diffusion
    sampler: Sampler
    guidance: Guidance = Unguided()  # noqa: RUF009
    context_noise: float = 0.0
    pattern: TimePattern = Together()  # noqa: RUF009
    guides: Mapping[str, Denoiser] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in (self.sampler, self.denoiser):
            if self.pattern.per_frame and not part.per_frame:
                raise ValueError(
                    f"{type(part).__name__} does not support per-frame times, which the time "
                    f"pattern {type(self.pattern).__name__} has; set pattern.kind=together"
                )
        self.guidance.check(self.denoiser.reads, self.guides)
        self.sampler.times(self.diffusion.schedule)  # raises where it cannot follow the schedule

    @property
    def spec(self) -> LatentSpec:
        """Shape and bounds of the latents that are sampled."""
        return self.denoiser.spec

    @property
    def reads(self) -> frozenset[str]:
        """Names of the signals that the denoiser reads."""
        return self.denoiser.reads

    def __call__(
        self,
        signals: Signals,
        seeds: Sequence[int],
        on_evaluation: ProgressCallback = no_progress,
        guidance: Guidance | None = None,
    ) -> Sampled:
        """Sample clips, one per seed; context frames are clean in ``signals`` and in the result.

        Args:
            signals: what the network is conditioned on, by name; one sample per seed.
            seeds: one per clip; all randomness of a clip follows from its seed.
            on_evaluation: called before each guided estimate, for which guidance may evaluate
                networks more than once, with the number of estimates done and the total number for
                this clip; an exception in it cancels the clip.
            guidance: replaces ``self.guidance``; None keeps it.

        Raises:
            ValueError: the denoiser does not read a signal or lacks one that it needs, a signal has
                not one sample per seed, or ``guidance`` does not suit the denoiser.
        """
        self._check(signals, len(seeds))
        sampler = replace(self, guidance=guidance or self.guidance)
        noise = SampleNoise(seeds, self.denoiser.device)
        return Sampled(sampler.sample(signals, noise, on_evaluation))

    def estimator(
        self, signals: Signals, samples: int, guidance: Guidance | None = None
    ) -> Denoise:
        """Return a function of noisy latents and times: the guided estimate of the clean latents.

        Args:
            signals: what the network is conditioned on, by name.
            samples: number of latents in a batch; each signal has a row for each.
            guidance: replaces ``self.guidance``; None keeps it.

        Raises:
            ValueError: the denoiser does not read a signal or lacks one that it needs, a signal has
                another number of rows, or ``guidance`` does not suit the denoiser.
        """
        self._check(signals, samples)
        guided = replace(self, guidance=guidance or self.guidance)
        return guided.guidance(guided._estimator, batch.to(signals, self.denoiser.device))

    @torch.no_grad()
    def sample(
        self, signals: Signals, noise: SampleNoise, on_evaluation: ProgressCallback = no_progress
    ) -> Latent:
        """Sample clean latents from the random streams of ``noise``, one stream per sample.

        Each sample draws, in this order: the noise on its context frames, if it has any, the
        initial noise, the noise that the sampler adds at its steps.

        Args:
            signals: what the network is conditioned on, by name.
            noise: one random stream per sample.
            on_evaluation: called before each guided estimate, for which guidance may evaluate
                networks more than once, with the number of estimates done and the total number for
                this clip.
        """
        signals = batch.to(signals, self.denoiser.device)
        noisy = self._noisy(signals, noise)
        z = impose(self.spec, noisy, noise.normal(self.spec.shape))
        times = self._times(noisy, len(z))
        denoise = counted(self._denoise(noisy), on_evaluation, len(times) - 1)
        schedule, bounds = self.diffusion.schedule, self.spec.bounds
        return impose(self.spec, signals, self.sampler(denoise, z, times, schedule, noise, bounds))

    @torch.no_grad()
    def walk(self, signals: Signals, z: Latent, times: Float[Tensor, "s b"]) -> Latent:
        """Step noisy latents through given times, by the sampler and guidance of this object.

        The noise that a stochastic sampler adds is the same in every call.

        Args:
            signals: what the network is conditioned on, by name; the signal ``context_noise`` has
                the time of the noise that is on context frames in ``z``. These frames are returned
                as they are.
            z: noisy latents at the first of ``times``.
            times: falling times in [0, 1], a row per time and a column per sample, in float64; a
                sample whose time is constant is not changed.

        Returns:
            the latents at the last of ``times``.
        """
        table = times.to("cpu")
        if "context" in signals:
            table = table[..., None].expand(-1, -1, z.shape[self.spec.time_axis])
            table = frame_times(batch.to(signals, "cpu"), table)
        noise, schedule = SampleNoise(range(len(z)), z.device), self.diffusion.schedule
        bounds = self.spec.bounds
        return self.sampler(self._denoise(signals), z, table, schedule, noise, bounds)

    def _denoise(self, signals: Signals) -> Denoise:
        """Guided estimator; unless ``pattern`` is per frame, called with one time per clip."""
        denoise = self.guidance(self._estimator, signals)
        if "context" in signals and not self.pattern.per_frame:
            return partial(_at_clip_time, denoise, signals)
        return denoise

    def _estimator(self, signals: Signals, guide: str | None = None) -> Denoise:
        """Estimator of the guiding network of the model ``guide``; None: of the denoiser."""
        network = self.denoiser if guide is None else self.guides[guide]
        return self.diffusion.estimator(network, signals)

    def _check(self, signals: Signals, samples: int) -> None:
        """Raise a ValueError unless the network reads ``signals``, each with a row per sample."""
        self.denoiser.check_signals(signals)
        for name, signal in signals.items():
            if len(signal.value) != samples:
                raise ValueError(
                    f"the signal {name!r} has {plural(len(signal.value), 'row')} for "
                    f"{plural(samples, 'seed')}; give one row per seed"
                )

    def _times(self, signals: Signals, samples: int) -> TimeTable:
        """Times of all sampling steps, per sample or per latent frame, in float64 on the CPU."""
        times = self.sampler.times(self.diffusion.schedule)
        if "context" not in signals and not self.pattern.per_frame:
            return times[:, None].expand(-1, samples)
        table = self.pattern(times, self.spec.frames)[:, None].expand(-1, samples, -1)
        return frame_times(batch.to(signals, "cpu"), table)

    def _noisy(self, signals: Signals, noise: SampleNoise) -> Signals:
        """Put noise on the context frames of ``signals``; drop their signals if there are none."""
        if "context" not in signals:
            return signals
        z, mask, t = (signals[name].value for name in CONTEXT)
        if self.context_noise > 0:
            times = torch.full_like(t, self.context_noise)
            z = self.diffusion.add_noise(self.spec, z, noise.normal(self.spec.shape), times)
            t = torch.where(t < 0, t, times)
        if (mask.any(1) | (t >= 0)).any():
            return {**signals, **context_signals(z, mask, t)}
        return {name: signal for name, signal in signals.items() if name not in CONTEXT}


def counted(denoise: Denoise, on_evaluation: ProgressCallback, total: int) -> Denoise:
    """Wrap ``denoise`` so that each call first calls ``on_evaluation(calls so far, total)``."""
    numbers = count()

    def estimate(z: Tensor, t: Tensor) -> Tensor:
        on_evaluation(next(numbers), total)
        return denoise(z, t)

    return estimate


def _at_clip_time(denoise: Denoise, signals: Signals, z: Tensor, t: Tensor) -> Tensor:
    """Call ``denoise`` at one time per clip, the greatest of its frames that are not context.

    ``t`` has a time per latent frame.
    """
    return denoise(z, t.masked_fill(signals["context_mask"].value, 0).amax(1))
