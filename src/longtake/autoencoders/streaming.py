"""Decoding a long video from latents as they come, so that memory does not grow."""

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.autoencoders.base import StreamDecoder, VideoAutoencoder
from longtake.config import nearest

MODES = ("blend", "cut")


class WindowDecoder(StreamDecoder):
    """Decodes windows that overlap and joins their pixels.

    Every window has the latent frames of a trained clip, the last one too: it begins earlier, so
    that it ends with the stream. Only a stream that is shorter than a window is decoded at its own
    length. How the latents are cut up when they are pushed makes no difference.

    The official code decodes a long latent whole instead, beyond the length it was trained on;
    its ``overlapped_decode`` cannot be called.

    Args:
        autoencoder: an autoencoder whose latent has a time axis, the first after the channels.
        overlap: latent frames that neighbouring windows share.
        mode: "blend" cross-fades windows over the overlap; "cut" switches in its middle.
    """

    def __init__(
        self, autoencoder: VideoAutoencoder, *, overlap: int = 1, mode: str = "blend"
    ) -> None:
        spec = autoencoder.spec
        if not 0 <= overlap < spec.frames:
            raise ValueError(
                f"overlap={overlap} must be from 0 to {spec.frames - 1}, "
                f"under the clip's {spec.frames} latent frames"
            )
        if mode not in MODES:
            raise ValueError(f"there is no mode {mode!r}; {nearest(mode, MODES)}")
        self._autoencoder = autoencoder
        self._window, self._overlap = spec.frames, overlap
        self._factor = spec.clip[0] // spec.frames
        self._mode = mode
        self._clear()

    @torch.no_grad()
    def push(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 t h2 w2"] | None:
        """Take any number of latent frames; return the frames that are final."""
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
        """Return the frames held back and end the stream."""
        ready = [self._decode()] if self._fresh else []
        if self._held is not None:
            ready.append(self._held)
        self._clear()
        return torch.cat(ready, 2) if ready else None

    def state(self) -> dict[str, Tensor]:
        """The last window's latents and the frames held back; empty before the first push."""
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
        """Latent frames that complete the next window."""
        known = 0 if self._latents is None else self._latents.shape[2]
        if known < self._window:
            return self._window - known
        return self._window - self._overlap - self._fresh

    def _take(self, z: Tensor) -> None:
        parts = [z] if self._latents is None else [self._latents, z]
        self._latents = torch.cat(parts, 2)[:, :, -self._window :].contiguous()
        self._fresh += z.shape[2]

    def _decode(self) -> Tensor:
        """Decode the window of the last latents; hold back what it shares with the next one."""
        assert self._latents is not None
        frames = self._autoencoder.decode(self._latents)
        shared = 0 if self._held is None else self._held.shape[2]
        frames = frames[:, :, -(self._fresh * self._factor + shared) :]
        self._fresh = 0
        final, self._held = _join(self._held, frames, self._overlap * self._factor, self._mode)
        return final


class ClipDecoder(StreamDecoder):
    """Decodes each clip by itself (PVDM), and fades from clip to clip where they overlap.

    Paper and official code have no overlap. But each clip is decoded with its own error,
    whose sudden change at a boundary is seen as a jump; so clips can share frames, which are faded.

    Args:
        autoencoder: an autoencoder whose latent has no time axis.
        overlap: frames that each clip shares with the clip before; with 0 nothing is held back.

    Raises:
        ValueError: the overlap is not shorter than a clip, or the latent has a time axis.
    """

    def __init__(self, autoencoder: VideoAutoencoder, overlap: int = 0) -> None:
        autoencoder.spec.check_overlap(overlap)
        self._autoencoder = autoencoder
        self._cells = autoencoder.spec.shape[-1]
        self._overlap = overlap
        self._held: Tensor | None = None  # the last clip's frames that the next one shares

    @torch.no_grad()
    def push(self, z: Float[Tensor, "b c n"]) -> Float[Tensor, "b 3 t h w"]:
        """Take the latent of a clip, or of some laid end to end; return the frames now final."""
        return torch.cat([self._decode(part) for part in z.split(self._cells, 2)], 2)

    def flush(self) -> Float[Tensor, "b 3 t h w"] | None:
        """Return the frames held back of the last clip and end the stream."""
        held, self._held = self._held, None
        return held

    def state(self) -> dict[str, Tensor]:
        """Frames held back; empty if clips do not overlap, or before the first."""
        return {} if self._held is None else {"held": self._held}

    def restore(self, state: dict[str, Tensor]) -> None:
        device = next(self._autoencoder.parameters()).device
        self._held = state["held"].to(device) if "held" in state else None

    def _decode(self, z: Tensor) -> Tensor:
        """Decode a clip; hold back what the next one shares with it."""
        final, self._held = _join(self._held, self._autoencoder.decode(z), self._overlap)
        return final


class FrameDecoder(StreamDecoder):
    """Decodes each frame by itself, as the autoencoder does, so that nothing is held back."""

    def __init__(self, autoencoder: VideoAutoencoder) -> None:
        self._autoencoder = autoencoder

    @torch.no_grad()
    def push(self, z: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b 3 f h2 w2"]:
        """Take any number of latent frames; return their frames."""
        return self._autoencoder.decode(z)

    def flush(self) -> None:
        """Nothing is held back."""

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue; the next frame does not depend on earlier ones."""


def crossfade(
    old: Float[Tensor, "b 3 t h w"], new: Float[Tensor, "b 3 t h w"], mode: str = "blend"
) -> Float[Tensor, "b 3 t h w"]:
    """Fade between two decodings of the same frames.

    Args:
        old: decoding by the earlier window or clip.
        new: decoding by the later one.
        mode: "blend" fades evenly; "cut" switches in the middle.
    """
    count = old.shape[2]
    position = (torch.arange(count, device=old.device) + 0.5) / count
    share = position if mode == "blend" else (position > 0.5)
    return torch.lerp(old, new, share.to(old.dtype)[:, None, None])


def _join(
    held: Tensor | None, frames: Tensor, overlap: int, mode: str = "blend"
) -> tuple[Tensor, Tensor | None]:
    """Fade from the frames held back to ``frames``; return what is final and what to hold back."""
    if held is not None:
        shared = held.shape[2]
        faded = crossfade(held, frames[:, :, :shared], mode)
        frames = torch.cat([faded, frames[:, :, shared:]], 2)
    final = max(frames.shape[2] - overlap, 0)
    return frames[:, :, :final], frames[:, :, final:].contiguous() if overlap else None
