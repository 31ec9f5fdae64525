"""Samples clips: a denoiser, the process it was trained on, and how it is sampled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

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
        z: latents of a batch of clips, clean.
        memory: tensors to keep for sampling the clips that follow, such as a key-value cache, by
            the name of the signal that passes each of them to the network.
    """

    z: Latent
    memory: Mapping[str, Tensor] = {}


@dataclass(frozen=True, kw_only=True)
class ClipSampler:
    """Samples latents of clips by a denoiser and a sampler.

    Sample ``i`` of a batch depends on ``seeds[i]`` and the signals of sample ``i`` alone.

    Attributes:
        denoiser: network on its device, in any precision; latents are in float32.
        diffusion: the process that the denoiser was trained on.
        sampler: the rule that steps from noise to a clean latent.
        guidance: the rule that combines conditional and unconditional estimates.
        context_noise: time in [0, 1] of the noise put on context frames (LVDM, conditional latent
            perturbation); 0 leaves them clean.
        pattern: which time each latent frame has at each sampling step.
        guides: networks that guide, by the name of their model, for ``Autoguidance``.
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
                    f"pattern {type(self.pattern).__name__} has; set pattern=Together()"
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
        """Sample clips, one per seed; context frames are clean in input and output.

        Args:
            signals: what the network is conditioned on, by name; one sample per seed.
            seeds: one per clip; all randomness of a clip follows from its seed.
            on_evaluation: called before each evaluation of the network with the number of
                evaluations done and the total number for this clip; an exception in it cancels the
                clip.
            guidance: replaces ``self.guidance``; None does not.

        Raises:
            ValueError: the denoiser does not read a signal, or a signal has not one sample per
                seed.
        """
        self._check(signals, len(seeds))
        sampler = replace(self, guidance=guidance or self.guidance)
        noise = SampleNoise(seeds, self.denoiser.device)
        return Sampled(sampler.sample(signals, noise, on_evaluation))

    def estimator(
        self, signals: Signals, samples: int, guidance: Guidance | None = None
    ) -> Denoise:
        """Return the function that estimates the clean latent, guided, for a batch of ``samples``.

        It is conditioned on ``signals``. ``guidance`` replaces ``self.guidance``; None does not.

        Raises:
            ValueError: the denoiser does not read a signal, or a signal has not one entry per
                sample.
        """
        self._check(signals, samples)
        guided = replace(self, guidance=guidance or self.guidance)
        return guided.guidance(guided._estimator, batch.to(signals, self.denoiser.device))

    @torch.no_grad()
    def sample(
        self, signals: Signals, noise: SampleNoise, on_evaluation: ProgressCallback = no_progress
    ) -> Latent:
        """Sample latents from the random streams of ``noise``, one stream per sample.

        Each sample draws, in this order: the noise on its context frames, if it has any, the
        initial noise, the noise that the sampler adds at its steps.

        Args:
            signals: what the network is conditioned on, by name.
            noise: one random stream per sample.
            on_evaluation: called before each evaluation of the network with the number of
                evaluations done and the total number for this clip.
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

        Args:
            signals: what the network is conditioned on, by name; the signal ``context_noise`` has
                the time of the noise that is on context frames in ``z``. These frames are returned
                as they are.
            z: noisy latents at the first of ``times``.
            times: falling times of each sample, in float64; a sample whose time is constant is not
                changed.
        """
        table = times.to("cpu")
        if "context" in signals:
            table = table[..., None].expand(-1, -1, z.shape[self.spec.time_axis])
            table = frame_times(batch.to(signals, "cpu"), table)
        noise, schedule = SampleNoise(range(len(z)), z.device), self.diffusion.schedule
        bounds = self.spec.bounds
        return self.sampler(self._denoise(signals), z, table, schedule, noise, bounds)

    def _denoise(self, signals: Signals) -> Denoise:
        """The guided estimate, at the time of the frames that are sampled."""
        denoise = self.guidance(self._estimator, signals)
        if "context" in signals and not self.pattern.per_frame:
            return partial(_at_clip_time, denoise, signals)
        return denoise

    def _estimator(self, signals: Signals, guide: str | None = None) -> Denoise:
        """Estimate of the network, or of a guiding one."""
        network = self.denoiser if guide is None else self.guides[guide]
        return self.diffusion.estimator(network, signals)

    def _check(self, signals: Signals, samples: int) -> None:
        """Raise a ValueError unless the network reads the signals, and each has a row a sample."""
        self.denoiser.check_signals(signals)
        for name, signal in signals.items():
            if len(signal.value) != samples:
                raise ValueError(
                    f"the signal {name!r} has {len(signal.value)} rows for {samples} seeds; "
                    "give one row per seed"
                )

    def _times(self, signals: Signals, samples: int) -> TimeTable:
        """Table of the sampling times, in float64 on the host."""
        times = self.sampler.times(self.diffusion.schedule)
        if "context" not in signals and not self.pattern.per_frame:
            return times[:, None].expand(-1, samples)
        table = self.pattern(times, self.spec.frames)[:, None].expand(-1, samples, -1)
        return frame_times(batch.to(signals, "cpu"), table)

    def _noisy(self, signals: Signals, noise: SampleNoise) -> Signals:
        """Signals with noise on the context frames; without those signals if no frame is given."""
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
    """``denoise``, with ``on_evaluation(done, total)`` called before each evaluation."""
    numbers = count()

    def estimate(z: Tensor, t: Tensor) -> Tensor:
        on_evaluation(next(numbers), total)
        return denoise(z, t)

    return estimate


def _at_clip_time(denoise: Denoise, signals: Signals, z: Tensor, t: Tensor) -> Tensor:
    """Estimate at one time per clip: that of its frames that are not context frames."""
    return denoise(z, t.masked_fill(signals["context_mask"].value, 0).amax(1))
