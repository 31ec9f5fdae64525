"""Decoding a long video in windows of the trained length, so that memory does not grow."""

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
        autoencoder: one whose latent has a time axis, the first after the channels.
        overlap: latent frames that neighbouring windows share.
        mode: "blend" fades from one window to the next across the overlap; "cut" changes over in
            its middle.
    """

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        *,
        overlap: int = 1,
        mode: str = "blend",
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
        """Take any number of latent frames; return the frames that are final by now."""
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
        """The frames still held back; what is pushed next begins another stream."""
        ready = [self._decode()] if self._fresh else []
        if self._held is not None:
            ready.append(self._held)
        self._clear()
        return torch.cat(ready, 2) if ready else None

    def state(self) -> dict[str, Tensor]:
        """The last window's latents and the pixels held back; nothing before the first push."""
        if self._latents is None:
            return {}
        held = {} if self._held is None else {"held": self._held}
        return {"latents": self._latents, "fresh": torch.tensor(self._fresh), **held}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where ``state`` was taken, by a decoder of the same settings."""
        self._clear()
        if not state:
            return
        device = next(self._autoencoder.parameters()).device
        self._latents = state["latents"].to(device)
        self._held = state["held"].to(device) if "held" in state else None
        self._fresh = int(state["fresh"])

    def _clear(self) -> None:
        self._latents: Tensor | None = None  # of the last window, or all there are
        self._held: Tensor | None = None  # pixels that the next window has a share in
        self._fresh = 0  # latent frames that no window has decoded

    def _room(self) -> int:
        """Latent frames that the next window waits for."""
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
        if self._held is not None:
            joined = crossfade(self._held, frames[:, :, :shared], self._mode)
            frames = torch.cat([joined, frames[:, :, shared:]], 2)
        self._fresh = 0
        final = max(frames.shape[2] - self._overlap * self._factor, 0)
        self._held = frames[:, :, final:].contiguous() if self._overlap else None
        return frames[:, :, :final]


def crossfade(
    old: Float[Tensor, "b 3 t h w"], new: Float[Tensor, "b 3 t h w"], mode: str = "blend"
) -> Float[Tensor, "b 3 t h w"]:
    """Frames that were decoded twice, from the first decoding to the second.

    Args:
        old: as the earlier window or clip has them.
        new: as the later one has them.
        mode: "blend" fades evenly; "cut" changes over in the middle.
    """
    count = old.shape[2]
    position = (torch.arange(count, device=old.device) + 0.5) / count
    share = position if mode == "blend" else (position > 0.5)
    return torch.lerp(old, new, share.to(old.dtype)[:, None, None])
