"""Signals: what a denoiser is conditioned on, as a map of names, and every batch operation on it.

A network reads some signals by name. Three signals describe context frames, which are frames of the
clip that are given (LVDM prediction and interpolation). In the null estimate of guidance the frames
stay in their places in the noisy latent, but the network neither reads which they are nor, by
default, the noise on them.

=================  ===========================================================  ===============
``context``        latent that holds the frames, clean; other values are unused  itself
``context_mask``   True where a frame is given, ``(b, f)``                       False
``context_noise``  time of the noise on them, ``(b)``; ``ABSENT``: not embedded  ``ABSENT``
=================  ===========================================================  ===============
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Interval, Le
from jaxtyping import Bool, Float, Int
from pydantic import model_validator
from torch import Tensor

from longtake.config import Config
from longtake.latents import Latent, LatentSpec

ABSENT = -1
"""A label, or a noise time, that is not given: it adds nothing to the embedding."""

CONTEXT = ("context", "context_mask", "context_noise")
"""What a network that reads context frames declares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A tensor that a network is conditioned on, with one row per sample.

    Its ``null``, of the same shape, replaces its ``value`` in the null estimate of guidance.
    """

    value: Tensor
    null: Tensor

    def __post_init__(self) -> None:
        if self.value.shape != self.null.shape:
            raise ValueError(
                f"a signal's null of shape {tuple(self.null.shape)} stands for a value of shape "
                f"{tuple(self.value.shape)}; give both one row per sample, padded to one length"
            )


Signals = Mapping[str, Signal]
"""A batch's signals by name; a name that is missing is absent from the whole batch."""


def label_signal(labels: Sequence[int] | Tensor) -> Signals:
    """Class indices, one per sample; ``ABSENT`` for a sample without one."""
    value = torch.as_tensor(labels)
    return {"label": Signal(value=value, null=torch.full_like(value, ABSENT))}


def draw_label(label: int, dropout: float, generator: torch.Generator) -> Signals:
    """The label of one training sample, withheld with probability ``dropout``."""
    withheld = torch.rand((), generator=generator).item() < dropout
    return label_signal([ABSENT if withheld else label])


def text_signal(
    states: Float[Tensor, "b n d"], empty: Float[Tensor, "b m d"] | None = None
) -> Signals:
    """Token states of prompts, padded to one length.

    ``empty`` has the states of the empty prompt, which the official LVDM sampler contrasts with,
    in the same shape; None: zeros.
    """
    return {"text": Signal(value=states, null=torch.zeros_like(states) if empty is None else empty)}


def previous_signal(z: Latent) -> Signals:
    """Whole latents of the previous clips (PVDM); zeros for a sample without one."""
    return {"previous": Signal(value=z, null=torch.zeros_like(z))}


def context_signals(
    z: Latent, mask: Bool[Tensor, "b f"], noise_time: Float[Tensor, "b"]
) -> Signals:
    """Signals of the context frames of a batch; sampling or the loss puts the noise on them.

    ``z`` is clean, and ``mask`` is True where a frame is given. A little noise keeps errors from
    piling up over a long rollout (LVDM, conditional latent perturbation): ``noise_time`` in [0, 1]
    is its time, 0 leaves the frames clean, and ``ABSENT`` withholds its level from the network.
    """
    return {
        "context": Signal(value=z, null=z),
        "context_mask": Signal(value=mask, null=torch.zeros_like(mask)),
        "context_noise": Signal(value=noise_time, null=torch.full_like(noise_time, ABSENT)),
    }


def context_frames(
    spec: LatentSpec, frames: Mapping[int, Latent], signals: Signals | None = None
) -> Signals:
    """Context frames from a map of latent frame index to clean latent frame, of at least one.

    They are added to ``signals``; where both give a frame, that of ``frames`` holds.
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
    """No context frame, and no noise level embedded (LVDM, unconditional)."""
    return context_signals(
        torch.zeros(batch, *spec.shape),
        torch.zeros(batch, spec.frames, dtype=torch.bool),
        torch.full((batch,), float(ABSENT)),
    )


def impose(spec: LatentSpec, signals: Signals, z: Latent) -> Latent:
    """Replace the frames of a latent by the context frames, if there are any."""
    if "context" not in signals:
        return z
    given = spec.expand(signals["context_mask"].value.to(z.dtype)).bool()
    return torch.where(given, signals["context"].value, z)


def frame_times(signals: Signals, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Time of each frame: its own where it is a context frame, ``t`` where it is not.

    ``t`` is ``(b)``, ``(b, f)`` or a table of these, ``(steps, b, f)``.
    """
    if "context" not in signals:
        return t
    own = signals["context_noise"].value.clamp_min(0)[:, None]
    return torch.where(signals["context_mask"].value, own, t if t.ndim > 1 else t[:, None])


class ContextPlan(Config):
    """How training draws context frames, one draw per sample (LVDM, prediction and interpolation).

    With probability ``interpolate`` the two ends of the clip are given (or every ``every``-th
    frame), with probability ``predict`` its first frames, else nothing: the unconditional case,
    which unconditional guidance needs.

    Attributes:
        predict: probability of prediction; the paper's prediction model has 0.5.
        interpolate: probability of interpolation; the paper's interpolation model has 0.9.
        first_frames: in prediction, the possible counts of first frames.
        every: distance of context frames in interpolation; None gives the two ends.
        noise_levels: conditional latent perturbation: the noise on context frames is that of a
            uniform step in 0..noise_levels-1 of 1000; 0 leaves them clean. The paper's is 250.
        embed_noise_level: ``always`` gives the network a noise level for samples without context
            frames too, as the official training does (its sampler does not); ``context`` gives it
            only with context frames, so that training and sampling agree.
    """

    renamed: ClassVar[Mapping[str, str]] = {"previous": "first_frames", "tell": "embed_noise_level"}
    renamed_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "embed_noise_level": {"known": "context"}
    }

    predict: Annotated[float, Interval(ge=0, le=1)] = 0.5
    interpolate: Annotated[float, Interval(ge=0, le=1)] = 0.0
    first_frames: tuple[Annotated[int, Ge(1)], ...] = (1,)
    every: Annotated[int, Ge(2)] | None = None
    noise_levels: Annotated[int, Ge(0), Le(1000)] = 250
    embed_noise_level: Literal["context", "always"] = "context"

    @model_validator(mode="after")
    def _probabilities(self) -> "ContextPlan":
        if (total := self.predict + self.interpolate) > 1:
            raise ValueError(f"predict + interpolate is {total}, must be at most 1; lower one")
        return self

    def mask(self, frames: int, case: float, pick: float) -> Bool[Tensor, "f"]:
        """Mask of one clip of that many latent frames, True where a frame is given.

        ``case`` selects interpolation, prediction or neither, and ``pick`` one of ``first_frames``;
        both are uniform in [0, 1).
        """
        mask = torch.zeros(frames, dtype=torch.bool)
        if case < self.interpolate:
            mask[[0, -1] if self.every is None else slice(None, None, self.every)] = True
        elif case < self.interpolate + self.predict:
            mask[: self.first_frames[int(pick * len(self.first_frames))]] = True
        return mask

    def draw(self, z: Float[Tensor, "c f ..."], generator: torch.Generator) -> Signals:
        """Context frames of one training sample, as a batch of one; ``z`` is its clean latent."""
        case, pick, level = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        mask = self.mask(z.shape[1], case, pick)
        embedded = bool(mask.any()) or self.embed_noise_level == "always"
        time = (int(level * self.noise_levels) + 1) / 1000 if self.noise_levels else 0.0
        noise_time = torch.tensor([time if embedded else float(ABSENT)])
        return context_signals(z[None], mask[None], noise_time)


def check_read(network: str, reads: Collection[str], names: Collection[str]) -> None:
    """Raise a ValueError unless a network that reads some signals reads all of these."""
    if unread := sorted({*names} - {*reads}):
        raise ValueError(
            f"{network} does not read the signal {unread[0]!r}; it reads "
            f"{', '.join(sorted(reads)) or 'none'}; leave it out or choose a model that was "
            "trained with it"
        )


def values(signals: Signals) -> dict[str, Tensor]:
    """The value of each signal, as a network reads it."""
    return {name: signal.value for name, signal in signals.items()}


def null(signals: Signals, keep: Collection[str] = ()) -> Signals:
    """The batch with the null value of every signal but those to keep."""
    return {
        name: signal if name in keep else Signal(value=signal.null, null=signal.null)
        for name, signal in signals.items()
    }


def rows(signals: Signals, index: Int[Tensor, "n"]) -> Signals:
    """The signals of some samples of the batch, in the order of ``index``."""
    return _map(signals, lambda x: x[index.to(x.device)])


def to(signals: Signals, device: torch.device | str) -> Signals:
    """Move signals to a device, floats in float32; a network casts them to its own precision."""
    return _map(signals, lambda x: x.to(device, torch.float32 if x.is_floating_point() else None))


def cat(parts: Sequence[Signals]) -> Signals:
    """Several batches of the same signals as one batch."""
    assert all(part.keys() == parts[0].keys() for part in parts)
    return {
        name: Signal(
            value=torch.cat([part[name].value for part in parts]),
            null=torch.cat([part[name].null for part in parts]),
        )
        for name in parts[0]
    }


def _map(signals: Signals, f: Callable[[Tensor], Tensor]) -> Signals:
    return {name: Signal(value=f(s.value), null=f(s.null)) for name, s in signals.items()}
