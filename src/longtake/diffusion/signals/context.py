"""Context frames: frames of the clip that are given (LVDM, prediction and interpolation).

Three signals describe them. In the null estimate of guidance the frames stay in their places in the
noisy latent, but the network neither reads which they are nor, by default, the noise on them.

=================  ===========================================================  ===============
signal             value                                                        null
=================  ===========================================================  ===============
``context``        latent that holds the frames, clean; other values are unused  itself
``context_mask``   True where a frame is given, ``(b, f)``                       False
``context_noise``  time of the noise on them, ``(b)``; ``ABSENT``: not embedded  ``ABSENT``
=================  ===========================================================  ===============
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Interval, Le
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from longtake.config import Config, plural
from longtake.diffusion.signals.context_cases import (
    AnyContextCase,
    ContextCase,
    Ends,
    Every,
    First,
    Nothing,
    chosen,
)
from longtake.diffusion.signals.signal import ABSENT, Signal, Signals
from longtake.latents import Latent, LatentSpec

CONTEXT = ("context", "context_mask", "context_noise")
"""Names of the signals that a network which reads context frames declares in ``reads``."""


def context_signals(
    z: Latent, mask: Bool[Tensor, "b f"], noise_time: Float[Tensor, "b"]
) -> Signals:
    """Signals for the context frames of a batch of latents.

    Args:
        z: latents whose context frames are clean; values of other frames are not used.
        mask: True where a latent frame is a context frame.
        noise_time: time in [0, 1] of the noise that the loss puts on context frames, so that errors
            do not accumulate over a long rollout (LVDM, conditional latent perturbation); 0 leaves
            them clean, and so does ``ABSENT`` (-1), which is not embedded. Sampling puts the noise
            of ``context_noise`` of its ``ClipSampler`` on them instead.
    """
    return {
        "context": Signal(value=z, null=z),
        "context_mask": Signal(value=mask, null=torch.zeros_like(mask)),
        "context_noise": Signal(value=noise_time, null=torch.full_like(noise_time, ABSENT)),
    }


def context_frames(
    spec: LatentSpec, frames: Mapping[int, Latent], signals: Signals | None = None
) -> Signals:
    """Add context frames, without noise, to signals, and return all of them.

    Args:
        spec: shape of the latents.
        frames: clean latent frames ``(b, c, h, w)`` by their index in the clip; at least one.
        signals: signals to add to; a context frame in them is replaced by one of the same index.
            None: there are none.
    """
    first = next(iter(frames.values()))
    before = {**no_context(spec, len(first)), **(signals or {})}
    z = before["context"].value.to(first, copy=True)
    mask = before["context_mask"].value.to(first.device, copy=True)
    for index, frame in frames.items():
        z.select(spec.time_axis, index).copy_(frame)
        mask[:, index] = True
    return {**before, **context_signals(z, mask, first.new_zeros(len(first)))}


def no_context(spec: LatentSpec, batch: int) -> Signals:
    """The three signals of context frames for ``batch`` samples that have none.

    Latents and mask are all zero; the noise time is ``ABSENT`` (-1), which is not embedded.
    """
    return context_signals(
        torch.zeros(batch, *spec.shape),
        torch.zeros(batch, spec.frames, dtype=torch.bool),
        torch.full((batch,), float(ABSENT)),
    )


def impose(spec: LatentSpec, signals: Signals, z: Latent) -> Latent:
    """Return ``z`` with the context frames in ``signals`` in their places, if there are any."""
    if "context" not in signals:
        return z
    given = spec.expand(signals["context_mask"].value.to(z.dtype)).bool()
    return torch.where(given, signals["context"].value, z)


def frame_times(signals: Signals, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Time of each latent frame: for a context frame the time of its noise, otherwise ``t``.

    ``t`` is ``(b)``, ``(b, f)`` or a table of these, ``(steps, b, f)``. Without context frames in
    ``signals`` it is returned unchanged.
    """
    if "context" not in signals:
        return t
    own = signals["context_noise"].value.clamp_min(0)[:, None]
    return torch.where(signals["context_mask"].value, own, t if t.ndim > 1 else t[:, None])


class ContextPlan(Config):
    """How training chooses context frames, independently for each sample (LVDM).

    With probability ``interpolate`` the first and the last latent frame of the clip are context
    frames (or every ``every``-th), with probability ``predict`` its first frames; otherwise there
    are none, the unconditional case, which classifier-free guidance needs. ``cases`` states any
    other mixture.

    Attributes:
        predict: probability of prediction; 0.5 in the paper's prediction model.
        interpolate: probability of interpolation; 0.9 in the paper's interpolation model.
        first_frames: numbers of first frames that prediction chooses from with equal probability.
        every: distance between context frames in interpolation, in latent frames; None: only the
            first and the last frame.
        cases: weighted cases to draw from, instead of the four settings above; empty: use those.
        noise_levels: the noise on context frames is that of a timestep of 1000, uniform in
            0..noise_levels-1 (LVDM, conditional latent perturbation; 250 in the paper); 0 leaves
            them clean.
        embed_noise_level: ``always`` embeds a noise level for samples without context frames too,
            as the official training does (but not its sampler); ``context`` embeds it only for
            samples with context frames, so that training and sampling agree.

    Raises:
        ValueError: ``predict`` and ``interpolate`` add up to more than 1, or ``cases`` is given
            with one of the four settings that it replaces.
    """

    renamed: ClassVar[Mapping[str, str]] = {"previous": "first_frames", "tell": "embed_noise_level"}
    renamed_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "embed_noise_level": {"known": "context"}
    }

    predict: Annotated[float, Interval(ge=0, le=1)] = 0.5
    interpolate: Annotated[float, Interval(ge=0, le=1)] = 0.0
    first_frames: tuple[Annotated[int, Ge(1)], ...] = (1,)
    every: Annotated[int, Ge(2)] | None = None
    cases: tuple[AnyContextCase, ...] = Field(default=(), exclude_if=lambda cases: not cases)
    noise_levels: Annotated[int, Ge(0), Le(1000)] = 250
    embed_noise_level: Literal["context", "always"] = "context"

    @model_validator(mode="after")
    def _probabilities(self) -> "ContextPlan":
        if (total := self.predict + self.interpolate) > 1:
            raise ValueError(f"predict + interpolate is {total}, must be at most 1; lower one")
        own = type(self).model_fields
        both = [name for name in PAPERS if getattr(self, name) != own[name].default]
        if self.cases and both:
            raise ValueError(f"cases and {both[0]} cannot be combined; leave out {both[0]}")
        return self

    @property
    def mixture(self) -> Sequence[ContextCase]:
        """The weighted cases from which training draws context frames."""
        if self.cases:
            return self.cases
        between = Ends() if self.every is None else Every(distance=self.every)
        papers = (
            (between, self.interpolate),
            (First(counts=self.first_frames), self.predict),
            (Nothing(), 1 - self.interpolate - self.predict),
        )
        return [case.model_copy(update={"weight": share}) for case, share in papers if share > 0]

    def check(self, frames: int) -> None:
        """Raise a ValueError unless every case leaves a latent frame of ``frames`` to generate."""
        for case in self.mixture:
            if frames < case.least_frames:
                raise ValueError(
                    f"the context frames of {type(case).__name__} leave none of the clip's "
                    f"{plural(frames, 'latent frame')} to generate; clips must have "
                    f"{case.least_frames} or more: give fewer context frames, or lengthen "
                    "denoiser.latent"
                )

    def draw(self, z: Float[Tensor, "c f ..."], generator: torch.Generator) -> "DrawnContext":
        """Draw the context frames of one training sample, whose clean latent is ``z``."""
        place, pick, level = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        case = chosen(self.mixture, place)
        mask = case.mask(z.shape[1], pick, generator)
        embedded = bool(mask.any()) or self.embed_noise_level == "always"
        time = (int(level * self.noise_levels) + 1) / 1000 if self.noise_levels else 0.0
        noise_time = torch.tensor([time if embedded else float(ABSENT)])
        return DrawnContext(context_signals(z[None], mask[None], noise_time), case.frame_times)


PAPERS = ("predict", "interpolate", "first_frames", "every")
"""Settings of a ``ContextPlan`` that describe the papers' two models; ``cases`` replaces them."""


class DrawnContext(NamedTuple):
    """Context frames drawn for one training sample.

    They are given as signals for a batch of one, with whether each latent frame has its own time.
    """

    signals: Signals
    frame_times: bool
