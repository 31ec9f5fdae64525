"""The shape of a latent, and what its axes stand for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

from longtake.checkpoint import is_finite
from longtake.config import Config, ConfigError, plural

Latent = Float[Tensor, "b c ..."]
"""A batch of latents, one per sample."""
Times = Float[Tensor, "b *f"]
"""Times in [0, 1], one per sample or one per latent frame: 0 is clean, 1 is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpec:
    """Shape and bounds of an autoencoder's latents: all that samplers and rollouts know of it.

    Attributes:
        shape: ``(C, *dims)`` of one clip's latent, without the batch axis.
        clip: frames, height and width, in pixels, of the clip that one such latent encodes.
        frame_axis: axis of a batched latent along which time runs; None if the latent has no time
            axis.
        bounds: least and greatest value that a latent can hold; None if latents are unbounded.
        clip_overlap_frames: number of frames of video that each clip of a long video shares with
            the clip before it; only for latents without a time axis.
    """

    shape: tuple[int, ...]
    clip: tuple[int, int, int]
    frame_axis: int | None
    bounds: tuple[float, float] | None = None
    clip_overlap_frames: int = 0

    @property
    def frames(self) -> int:
        """Number of latent frames of one clip; a ValueError if the latent has no time axis."""
        return self.shape[self.time_axis - 1]

    @property
    def time_axis(self) -> int:
        """Axis of time in a batch of latents, ``(b, c, f, h, w)``: ``frame_axis``, never None.

        A ValueError if the latent has no time axis.
        """
        if self.frame_axis is None:
            raise ValueError(
                f"a latent of shape {self.shape} has no time axis, so single frames of it "
                "cannot condition the next clip; set rollout.kind=next_clip"
            )
        return self.frame_axis

    def pixel_frames(self, z: Latent) -> int:
        """Number of frames of video that ``z``, a batch of latents, decodes to."""
        if self.frame_axis is None:
            return self.clip[0]
        return z.shape[self.frame_axis] * self.clip[0] // self.frames

    def cut(self, z: Latent, frames: int) -> Latent:
        """Trim ``z`` at its end to the fewest latent frames that cover ``frames`` frames of video.

        A latent that has fewer frames, or has no time axis, is returned whole.
        """
        if self.frame_axis is None:
            return z
        fewest = -(-frames * self.frames // self.clip[0])
        return z.narrow(self.frame_axis, 0, min(fewest, z.shape[self.frame_axis]))

    def check_overlap(self, overlap: int) -> None:
        """Raise a ValueError unless neighbouring clips can share ``overlap`` frames of video.

        They can share any number under a clip's, but none if latents have a time axis.
        """
        if overlap and self.frame_axis is not None:
            raise ValueError(
                f"clip_overlap={overlap} must be 0 for latents with a time axis: their "
                "decoder overlaps its windows already"
            )
        if not 0 <= overlap < self.clip[0]:
            raise ValueError(
                f"clip_overlap={overlap} must be from 0 to {self.clip[0] - 1}, "
                f"under the clip's {self.clip[0]} frames"
            )

    def check_drawn(self, drawn: "LatentSpec", model: str) -> None:
        """Raise a ConfigError unless a denoiser samples latents of this shape, time axis aside.

        Args:
            drawn: spec of the latents that the denoiser samples.
            model: path of the autoencoder's folder, for the error message.
        """
        have, want = (
            tuple(size for axis, size in enumerate(spec.shape, 1) if axis != spec.frame_axis)
            for spec in (self, drawn)
        )
        if have != want:
            raise ConfigError(
                f"the denoiser samples latents of {want}, but those of the autoencoder of {model} "
                f"are of {have} (channels, then every axis but time); set denoiser.latent and "
                "denoiser.clip to fit"
            )

    def check_clip(self, drawn: "LatentSpec", model: str) -> None:
        """Raise a ConfigError unless a denoiser's latents decode to the clip that its spec states.

        Args:
            drawn: spec of the latents that the denoiser samples, which ``check_drawn`` accepts.
            model: path of the autoencoder's folder, for the error message.
        """
        latents = 1 if drawn.frame_axis is None else drawn.frames
        window = 1 if self.frame_axis is None else self.frames
        frames, height, width = latents * self.clip[0] // window, *self.clip[1:]
        if drawn.clip != (frames, height, width):
            raise ConfigError(
                f"denoiser.clip={list(drawn.clip)}, but the autoencoder of {model} decodes "
                f"denoiser.latent to {plural(frames, 'frame')} of {height}x{width} pixels; set "
                f"denoiser.clip={[frames, height, width]}"
            )

    def expand(self, level: Times) -> Latent:
        """Reshape ``level``, so that it broadcasts over a batch of latents.

        It holds a number per sample, ``(b)``, or per latent frame, ``(b, f)``, such as times.
        """
        view = [len(level), *[1] * len(self.shape)]
        if level.ndim == 2:
            assert level.shape[1] in (1, self.frames)  # a still has one frame
            view[self.time_axis] = level.shape[1]
        return level.reshape(view)


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplane:
    """Sizes, in positions, of PVDM's three planes, which a latent ``(B, C, N)`` holds end to end.

    Attributes:
        frames: rows of the two motion planes, one per frame of the clip.
        height: rows of the content plane, columns of the first motion plane.
        width: columns of the content plane and of the second motion plane.
    """

    frames: int
    height: int
    width: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of positions of the content plane (H, W) and motion planes (T, H), (T, W)."""
        return self.height * self.width, self.frames * self.height, self.frames * self.width

    def split(
        self, z: Float[Tensor, "b c n"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c t h"], Float[Tensor, "b c t w"]]:
        """Split a latent into content plane and two motion planes, views of the same memory."""
        content, motion_h, motion_w = z.split(self.sizes, dim=2)
        return (
            content.unflatten(2, (self.height, self.width)),
            motion_h.unflatten(2, (self.frames, self.height)),
            motion_w.unflatten(2, (self.frames, self.width)),
        )

    def join(
        self,
        content: Float[Tensor, "b c h w"],
        motion_h: Float[Tensor, "b c t h"],
        motion_w: Float[Tensor, "b c t w"],
    ) -> Float[Tensor, "b c n"]:
        """Flatten three planes and concatenate them into one latent: the inverse of ``split``."""
        return torch.cat([p.flatten(2) for p in (content, motion_h, motion_w)], dim=2)


class LatentScaling(Config):
    """Scales an autoencoder's latents to mean 0 and standard deviation 1 for the denoiser.

    LVDM's convention: ``z_model = scale * (z + shift)``, one shift and one scale for all channels.

    Attributes:
        shift: number that is added to the autoencoder's latents.
        scale: factor, greater than 0, of the shifted latents.
    """

    shift: float = 0.0
    scale: Annotated[float, Gt(0)] = 1.0

    def forward(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Convert the autoencoder's latents to the denoiser's: ``scale * (z + shift)``."""
        return self.scale * (z + self.shift)

    def inverse(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Convert the denoiser's latents to the autoencoder's: ``z / scale - shift``."""
        return z / self.scale - self.shift


def finite(x: Tensor, what: str, rows: Sequence[str], frame: int) -> Tensor:
    """Return ``x`` unchanged if all its values are finite.

    Args:
        x: a batch of latents, pixels or features.
        what: what ``x`` holds, in the plural, for the error message.
        rows: name of each sample of the batch, for the error message.
        frame: index of a frame of video near these values, for the error message.

    Raises:
        FloatingPointError: a value is NaN or infinite; names the first such sample.
    """
    if is_finite(x):
        return x
    row = next(name for name, own in zip(rows, x, strict=True) if not is_finite(own))
    raise FloatingPointError(
        f"{what} of {row} near frame {frame} are not finite (NaN or infinity); use float32, "
        "less guidance or another sampler, or another checkpoint if that does not help"
    )
