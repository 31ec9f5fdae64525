"""Decoding a long video from latents as they come, so that memory does not grow."""

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.autoencoders.base import StreamDecoder, VideoAutoencoder
from longtake.config import nearest

MODES = ("blend", "cut")


class WindowDecoder(StreamDecoder):
    """Decodes a long latent in overlapping windows and joins their pixels.

    Every window has as many latent frames as a clip in training, or ``window`` of them. So has the
    last one, which begins earlier, so that it ends where the video ends. Only a video shorter than
    a window is decoded at its own length. The result does not depend on how many latent frames each
    ``push`` brings.

    The official code decodes a long latent whole instead, beyond the length it was trained on; its
    ``overlapped_decode`` cannot be called.

    Args:
        autoencoder: an autoencoder whose latent has a time axis, the first after the channels.
        overlap: number of latent frames that neighbouring windows share.
        mode: "blend" cross-fades two windows over their overlap; "cut" switches from one to the
            other in its middle.
        window: number of latent frames of a window; None: of a clip in training.

    Raises:
        ValueError: ``overlap`` is not less than a window, there is no such ``mode``, or the latent
            has no time axis.
    """

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        *,
        overlap: int = 1,
        mode: str = "blend",
        window: int | None = None,
    ) -> None:
        spec = autoencoder.spec
        size = window or spec.frames
        if not 0 <= overlap < size:
            raise ValueError(
                f"overlap={overlap} must be from 0 to {size - 1}, "
                f"under the {'clip' if window is None else 'window'}'s {size} latent frames"
            )
        if mode not in MODES:
            raise ValueError(f"there is no mode {mode!r} to join windows; {nearest(mode, MODES)}")
        self._autoencoder = autoencoder
        self._window, self._overlap = size, overlap
        self._factor = spec.clip[0] // spec.frames
        self._mode = mode
        self._clear()

    @torch.no_grad()
    def push(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 t h2 w2"] | None:
        """Take any number of latent frames; return the frames now final, or None."""
        ready = []
        while z.shape[2]:
            room = self._room()
            self._take(z[:, :, :room])
            if z.shape[2] >= room:
                ready.append(self._decode())
            z = z[:, :, room:]
        return torch.cat(ready, 2) if ready else None

    @torch.no_grad()
    def flush(self) -> Float[Tensor, "b 3 t h w"] | None:
        """Return the frames still held back, None if there are none, and end the stream."""
        ready = [self._decode()] if self._fresh else []
        if self._held is not None:
            ready.append(self._held)
        self._clear()
        return torch.cat(ready, 2) if ready else None

    def state(self) -> dict[str, Tensor]:
        """Latents of the last window and the frames held back; empty before the first ``push``."""
        if self._latents is None:
            return {}
        held = {} if self._held is None else {"held": self._held}
        return {"latents": self._latents, "fresh": torch.tensor(self._fresh), **held}

    def restore(self, state: dict[str, Tensor]) -> None:
        device = next(self._autoencoder.parameters()).device
        self._latents, self._held = (
            state[name].to(device) if name in state else None for name in ("latents", "held")
        )
        self._fresh = int(state.get("fresh", 0))

    def _clear(self) -> None:
        self._latents: Tensor | None = None  # of the last window, or all there are
        self._held: Tensor | None = None  # frames that the next window fades from
        self._fresh = 0  # latent frames that no window has decoded

    def _room(self) -> int:
        """Number of latent frames that the next window still lacks."""
        known = 0 if self._latents is None else self._latents.shape[2]
        if known < self._window:
            return self._window - known
        return self._window - self._overlap - self._fresh

    def _take(self, z: Tensor) -> None:
        parts = [z] if self._latents is None else [self._latents, z]
        self._latents = torch.cat(parts, 2)[:, :, -self._window :].contiguous()
        self._fresh += z.shape[2]

    def _decode(self) -> Tensor:
        """Decode the last window; return its final frames, hold back those the next one shares."""
        assert self._latents is not None
        frames = self._autoencoder.decode(self._latents)
        shared = 0 if self._held is None else self._held.shape[2]
        frames = frames[:, :, -(self._fresh * self._factor + shared) :]
        self._fresh = 0
        final, self._held = _join(self._held, frames, self._overlap * self._factor, self._mode)
        return final


class ClipDecoder(StreamDecoder):
    """Decodes each clip of a long video by itself (PVDM) and cross-fades the frames that two share.

    In the paper and the official code clips share no frames. But each clip is decoded with its own
    error, so that a clip boundary is seen as a jump; sharing frames hides it.

    Args:
        autoencoder: an autoencoder whose latent has no time axis.
        overlap: number of frames of video that each clip shares with the clip before it.

    Raises:
        ValueError: ``overlap`` is not from 0 to a clip's frames minus 1.
    """

    def __init__(self, autoencoder: VideoAutoencoder, overlap: int = 0) -> None:
        autoencoder.spec.check_overlap(overlap)
        self._autoencoder = autoencoder
        self._positions = autoencoder.spec.shape[-1]
        self._overlap = overlap
        self._held: Tensor | None = None  # the last clip's frames that the next one shares

    @torch.no_grad()
    def push(self, z: Float[Tensor, "b c n"]) -> Float[Tensor, "b 3 t h w"]:
        """Take the concatenated latents of one or more clips; return the frames now final."""
        return torch.cat([self._decode(part) for part in z.split(self._positions, 2)], 2)

    def flush(self) -> Float[Tensor, "b 3 t h w"] | None:
        """Return the frames held back for a cross-fade, None if there are none; end the stream."""
        held, self._held = self._held, None
        return held

    def state(self) -> dict[str, Tensor]:
        """Frames held back for the next cross-fade; empty if there are none."""
        return {} if self._held is None else {"held": self._held}

    def restore(self, state: dict[str, Tensor]) -> None:
        device = next(self._autoencoder.parameters()).device
        self._held = state["held"].to(device) if "held" in state else None

    def _decode(self, z: Tensor) -> Tensor:
        """Decode a clip; return its final frames, hold back those that the next clip shares."""
        final, self._held = _join(self._held, self._autoencoder.decode(z), self._overlap)
        return final


class FrameDecoder(StreamDecoder):
    """Decodes each frame of a long video by itself, as ``autoencoder`` does; holds none back."""

    def __init__(self, autoencoder: VideoAutoencoder) -> None:
        self._autoencoder = autoencoder

    @torch.no_grad()
    def push(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 f h2 w2"]:
        """Take any number of latent frames; return the frame of video of each."""
        return self._autoencoder.decode(z)

    def flush(self) -> None:
        """Return None, since no frame is held back."""

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Read nothing from ``state``, since no frame depends on earlier frames."""


def crossfade(
    old: Float[Tensor, "b 3 t h w"], new: Float[Tensor, "b 3 t h w"], mode: str = "blend"
) -> Float[Tensor, "b 3 t h w"]:
    """Fade from one decoding of some frames to another decoding of the same frames.

    Args:
        old: the frames as the earlier window or clip decodes them.
        new: the frames as the later window or clip decodes them.
        mode: "blend" fades linearly; "cut" switches from ``old`` to ``new`` in the middle.
    """
    count = old.shape[2]
    position = (torch.arange(count, device=old.device) + 0.5) / count
    share = position if mode == "blend" else (position > 0.5)
    return torch.lerp(old, new, share.to(old.dtype)[:, None, None])


def _join(
    held: Tensor | None, frames: Tensor, overlap: int, mode: str = "blend"
) -> tuple[Tensor, Tensor | None]:
    """Fade from the frames held back to ``frames``; return what is final and what to hold back.

    The last ``overlap`` frames are held back; None if ``overlap`` is 0.
    """
    if held is not None:
        shared = held.shape[2]
        faded = crossfade(held, frames[:, :, :shared], mode)
        frames = torch.cat([faded, frames[:, :, shared:]], 2)
    final = max(frames.shape[2] - overlap, 0)
    return frames[:, :, :final], frames[:, :, final:].contiguous() if overlap else None
