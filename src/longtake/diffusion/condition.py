"""What a denoiser may look at besides the noisy latent."""

from collections.abc import Callable, Sequence
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
        z: latent that holds the given frames. They are clean where a clip is asked for or a loss is
            taken, which put noise on them; what a denoiser sees has it.
        mask: True where a frame is given.
        t: time of that noise in [0, 1]; 0 is clean, negative: not told to the network. A little
            noise keeps errors from piling up over a long rollout (LVDM, conditional latent
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
        empty_text: those of the empty prompt, of the same shape: what ``null`` puts in the place of
            ``text``, as the official LVDM sampler does. Where None, zeros, as in training here.
    """

    known: KnownFrames | None = None
    previous: Float[Tensor, "b ..."] | None = None
    label: Int[Tensor, "b"] | None = None
    text: Float[Tensor, "b n d"] | None = None
    empty_text: Float[Tensor, "b m d"] | None = None

    def __post_init__(self) -> None:
        if self.empty_text is None:
            return
        wanted = None if self.text is None else tuple(self.text.shape)
        if tuple(self.empty_text.shape) != wanted:
            raise ValueError(
                f"empty_text of shape {tuple(self.empty_text.shape)} stands in for text of shape "
                f"{wanted}; give both, one row a sample, padded to one length"
            )

    @property
    def given(self) -> tuple[str, ...]:
        """Names of what a network has to read: all that is not None and stands in for nothing."""
        names = (field.name for field in fields(self) if field.name != "empty_text")
        return tuple(name for name in names if getattr(self, name) is not None)

    def null(self, *, tell_noise: bool = False) -> "Condition":
        """The same batch with nothing given: what classifier-free guidance contrasts with.

        Args:
            tell_noise: tell the noise level of known frames nevertheless, as the official LVDM
                training does and its sampler does not.
        """
        known = self.known
        if known is not None:
            t = known.t if tell_noise else torch.full_like(known.t, ABSENT)
            known = replace(known, mask=torch.zeros_like(known.mask), t=t)
        text = None if self.text is None else torch.zeros_like(self.text)
        return Condition(
            known=known,
            previous=None if self.previous is None else torch.zeros_like(self.previous),
            label=None if self.label is None else torch.full_like(self.label, ABSENT),
            text=text if self.empty_text is None else self.empty_text,
            empty_text=self.empty_text,
        )

    def rows(self, index: Int[Tensor, "n"]) -> "Condition":
        """The condition of some samples of the batch, in the order of ``index``."""
        return self._map(lambda x: x[index.to(x.device)])

    @staticmethod
    def cat(parts: "Sequence[Condition]") -> "Condition":
        """Several batches of equal kind as one."""
        known = [part.known for part in parts if part.known is not None]
        assert len(known) in (0, len(parts))
        return Condition(
            known=KnownFrames(
                z=torch.cat([k.z for k in known]),
                mask=torch.cat([k.mask for k in known]),
                t=torch.cat([k.t for k in known]),
            )
            if known
            else None,
            previous=_cat([part.previous for part in parts]),
            label=_cat([part.label for part in parts]),
            text=_cat([part.text for part in parts]),
            empty_text=_cat([part.empty_text for part in parts]),
        )

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Condition":
        """Move tensors to a device, floating ones to a dtype; times keep theirs, for precision."""
        moved = self._map(lambda x: x.to(device, dtype if x.is_floating_point() else None))
        if self.known is None or moved.known is None:
            return moved
        return replace(moved, known=replace(moved.known, t=self.known.t.to(device)))

    def _map(self, f: Callable[[Tensor], Tensor]) -> "Condition":
        known = self.known
        return Condition(
            known=known and KnownFrames(z=f(known.z), mask=f(known.mask), t=f(known.t)),
            previous=None if self.previous is None else f(self.previous),
            label=None if self.label is None else f(self.label),
            text=None if self.text is None else f(self.text),
            empty_text=None if self.empty_text is None else f(self.empty_text),
        )


def _cat(parts: Sequence[Tensor | None]) -> Tensor | None:
    given = [part for part in parts if part is not None]
    assert len(given) in (0, len(parts))
    return torch.cat(given) if given else None
