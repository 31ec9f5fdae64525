"""Autoencoders: between a clip and its latent."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.latents import LatentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """A diagonal Gaussian over latents.

    Attributes:
        mean: its mode too.
        log_variance: clamped to [-30, 20].
    """

    mean: Float[Tensor, "b ..."]
    log_variance: Float[Tensor, "b ..."]

    def sample(self, noise: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Draw with given standard normal noise."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def kl(self) -> Float[Tensor, "b"]:
        """KL divergence to the standard normal, summed over every axis but the batch.

        Unlike the official LVDM code, which sums three of a volume's four axes first; its loss
        sums the rest, so the totals agree.
        """
        each = self.mean**2 + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * each.flatten(1).sum(1)


class StreamDecoder(ABC):
    """Decodes latents as they come, in constant memory, and can be stopped and resumed."""

    @abstractmethod
    def push(self, z: Float[Tensor, "b c ..."]) -> Float[Tensor, "b 3 t h w"] | None:
        """Take latents, return the frames that are final by now, None where none are."""

    @abstractmethod
    def flush(self) -> Float[Tensor, "b 3 t h w"] | None:
        """The frames still held back; the stream ends here."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What ``restore`` needs to go on bit for bit: a few tensors, whatever has passed."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where ``state`` was taken."""


class VideoAutoencoder(nn.Module, ABC):
    """A clip in, a latent out, and back.

    Attributes:
        spec: the latent of a clip of the trained size.
    """

    spec: LatentSpec

    @property
    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last layer, where adversarial gradients are weighed."""

    @abstractmethod
    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Posterior of a clip in [-1, 1]."""

    @abstractmethod
    def decode(self, z: Float[Tensor, "b c ..."]) -> Float[Tensor, "b 3 t h w"]:
        """Clip of a latent, in [-1, 1] up to overshoot."""

    @abstractmethod
    def stream_decoder(self, *, clip_overlap: int = 0) -> StreamDecoder:
        """A fresh decoder for a long video.

        Args:
            clip_overlap: frames that each clip pushed shares with the clip before, so that the
                video fades from one to the other; only for latents without a time axis.

        Raises:
            ValueError: clips cannot share so many frames.
        """

    @torch.no_grad()
    def stream_decode(
        self, latents: Iterable[Tensor], *, clip_overlap: int = 0
    ) -> Iterator[Float[Tensor, "b 3 t h w"]]:
        """Decode latents as they come, in the memory of a clip; see ``stream_decoder``."""
        decoder = self.stream_decoder(clip_overlap=clip_overlap)
        for z in latents:
            frames = decoder.push(z)
            if frames is not None:
                yield frames
        frames = decoder.flush()
        if frames is not None:
            yield frames
