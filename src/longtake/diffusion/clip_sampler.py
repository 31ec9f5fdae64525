"""Draws clips: a denoiser, what it was trained on, and how it is sampled, as one function."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.diffusion.condition import Condition, KnownFrames
from longtake.diffusion.guidance import Guidance, Unguided
from longtake.diffusion.process import Denoiser, Diffusion
from longtake.diffusion.sampler import Sampler
from longtake.latents import LatentSpec
from longtake.noise import SampleNoise


@dataclass(frozen=True, kw_only=True)
class ClipSampler:
    """Draws latents of clips, row ``i`` from ``seeds[i]`` and row ``i`` of the condition alone.

    Attributes:
        denoiser: on the device where it computes; the walk itself is in float32.
        diffusion: what it was trained on.
        sampler: from noise to a clip.
        guidance: how conditional and unconditional estimates combine.
        context_noise: time in [0, 1] of the noise on given frames while a clip is drawn (LVDM,
            conditional latent context_noise); 0 leaves them clean.
    """

    denoiser: Denoiser
    diffusion: Diffusion
    sampler: Sampler
    guidance: Guidance = Unguided()  # noqa: RUF009
    context_noise: float = 0.0

    @property
    def spec(self) -> LatentSpec:
        """The latents that are drawn."""
        return self.denoiser.spec

    @property
    def reads(self) -> frozenset[str]:
        """Fields of ``Condition`` that the network reads."""
        return self.denoiser.reads

    def __call__(self, condition: Condition, seeds: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Latents; frames that are given come back as they were given, without noise.

        Args:
            condition: given frames in it are clean.
            seeds: one a clip.

        Raises:
            ValueError: the denoiser does not read a part of the condition, or it has not a row a
                seed.
        """
        _check_rows(condition, len(seeds))
        return self.draw(condition, SampleNoise(seeds, self._device))

    @torch.no_grad()
    def draw(self, condition: Condition, noise: SampleNoise) -> Float[Tensor, "b ..."]:
        """Latents from a source of noise.

        A sample draws, in this order: the noise on its given frames if there is any, the noise the
        walk starts from, what the sampler adds.
        """
        condition = condition.to(self._device, torch.float32)
        given = condition.known
        if given is not None:
            condition = replace(condition, known=self._perturbed(given, noise))
        z = self.sampler(
            partial(self._estimate, condition),
            noise.normal(self.spec.shape),
            self.diffusion.schedule,
            noise,
            self.spec.bounds,
        )
        return z if given is None else given.impose(self.spec, z)

    def _estimate(
        self, condition: Condition, z_t: Float[Tensor, "b ..."], t: float
    ) -> Float[Tensor, "b ..."]:
        if condition.known is not None:
            z_t = condition.known.impose(self.spec, z_t)
        return self.guidance(partial(self.diffusion.denoise, self.denoiser), z_t, t, condition)

    def _perturbed(self, given: KnownFrames, noise: SampleNoise) -> KnownFrames | None:
        """Given frames with noise on them; None where none is given and no noise is told."""
        z, t = given.z, given.t
        if self.context_noise > 0:
            times = torch.full_like(t, self.context_noise)
            z = self.diffusion.add_noise(self.spec, z, noise.normal(self.spec.shape), times)
            t = torch.where(t < 0, t, times)
        if not (given.mask.any(1) | (t >= 0)).any():
            return None
        return KnownFrames(z=z, mask=given.mask, t=t)

    @property
    def _device(self) -> torch.device:
        return next(self.denoiser.parameters(), torch.empty(0)).device


def _check_rows(condition: Condition, rows: int) -> None:
    for field in fields(condition):
        part = getattr(condition, field.name)
        if part is None:
            continue
        found = len(part.mask if isinstance(part, KnownFrames) else part)
        if found != rows:
            raise ValueError(
                f"condition {field.name!r} has {found} rows for {rows} seeds; give one row a seed"
            )
