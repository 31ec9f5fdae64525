"""What a denoiser may look at besides the noisy latent."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longtake.latents import LatentSpec

ABSENT = -1
"""A label or noise time that is not given: it adds nothing to the embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFrames:
    """Frames of the clip that are given (LVDM prediction and interpolation).

    Attributes:
        z: latent that holds the given frames, with noise of time ``t`` on them already.
        mask: True where a frame is given.
        t: time of that noise in [0, 1]; 0 is clean, negative: not told to the network. A little
            noise keeps errors from piling up over a long rollout (LVDM conditional latent
            perturbation).
    """

    z: Float[Tensor, "b ..."]
    mask: Bool[Tensor, "b f"]
    t: Float[Tensor, "b"]

    def impose(self, spec: LatentSpec, z_t: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Put the given frames in the place of noisy ones."""
        given = spec.expand(self.mask.to(z_t.dtype)).bool()
        return torch.where(given, self.z, z_t)

    def frame_times(self, t: Float[Tensor, "b"]) -> Float[Tensor, "b f"]:
        """Time of each frame: ``self.t`` where it is given, ``t`` where it is not."""
        return torch.where(self.mask, self.t.clamp_min(0)[:, None], t[:, None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Everything that conditions a clip. None means absent for the whole batch.

    Attributes:
        known: frames of this clip that are given (LVDM).
        previous: latent of the clip before; zeros where there is none (PVDM).
        label: class index; ``ABSENT`` (-1) for a sample without one.
        text: token states of a prompt.
    """

    known: KnownFrames | None = None
    previous: Float[Tensor, "b ..."] | None = None
    label: Int[Tensor, "b"] | None = None
    text: Float[Tensor, "b n d"] | None = None

    def null(self, *, tell_noise: bool = True) -> "Condition":
        """The same batch with nothing given: what classifier-free guidance contrasts with.

        Args:
            tell_noise: keep the noise level of known frames in the embedding, as in training;
                the official LVDM sampler leaves it out.
        """
        known = self.known
        if known is not None:
            t = known.t if tell_noise else torch.full_like(known.t, ABSENT)
            known = replace(known, mask=torch.zeros_like(known.mask), t=t)
        return Condition(
            known=known,
            previous=None if self.previous is None else torch.zeros_like(self.previous),
            label=None if self.label is None else torch.full_like(self.label, ABSENT),
            text=None if self.text is None else torch.zeros_like(self.text),
        )

    def rows(self, index: Int[Tensor, "n"]) -> "Condition":
        """The condition of some samples of the batch, in the order of ``index``."""
        return _map(self, lambda x: x[index])

    @staticmethod
    def cat(parts: "list[Condition]") -> "Condition":
        """Several batches of equal kind as one."""
        first = parts[0]
        return Condition(**{
            f.name: None
            if getattr(first, f.name) is None
            else _cat([getattr(part, f.name) for part in parts])
            for f in fields(first)
        })

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Condition":
        """Move tensors to a device, floating ones to a dtype."""
        return _map(self, lambda x: x.to(device, dtype if x.is_floating_point() else None))


def _map(value, f):
    if value is None or isinstance(value, Tensor):
        return None if value is None else f(value)
    return type(value)(**{x.name: _map(getattr(value, x.name), f) for x in fields(value)})


def _cat(values):
    if isinstance(values[0], Tensor):
        return torch.cat(values)
    return type(values[0])(**{
        x.name: _cat([getattr(v, x.name) for v in values]) for x in fields(values[0])
    })
