"""Autoencoders: between a clip and its latent."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.latents import LatentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """A diagonal Gaussian over latents.

    Attributes:
        mean: mean and mode.
        log_variance: logarithm of the variance, clamped to [-30, 20].
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
        """Take latents; return the frames that are final, None if there are none."""

    @abstractmethod
    def flush(self) -> Float[Tensor, "b 3 t h w"] | None:
        """Return the frames held back, None if there are none, and end the stream."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Tensors, of constant size, from which ``restore`` continues bit for bit."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from where ``state`` was taken, by a decoder of the same settings."""


class VideoAutoencoder(nn.Module, ABC):
    """Encodes clips to latents and decodes them.

    Weights may be in any precision: inputs are converted to it, and results back to the precision
    of the input, so that posteriors and cross-fades of a half-precision network are float32.

    Attributes:
        spec: latent of a clip of the trained size.
    """

    spec: LatentSpec

    @property
    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last layer, whose gradients balance the adversarial loss."""

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
            clip_overlap: frames that each clip pushed shares with the clip before, across which
                the video fades from one to the other; 0 for latents with a time axis.

        Raises:
            ValueError: clips cannot share that number of frames.
        """

    @torch.no_grad()
    def stream_decode(
        self, latents: Iterable[Tensor], *, clip_overlap: int = 0
    ) -> Iterator[Float[Tensor, "b 3 t h w"]]:
        """Decode latents as they come, in the memory of one clip; see ``stream_decoder``."""
        decoder = self.stream_decoder(clip_overlap=clip_overlap)
        for z in latents:
            if (frames := decoder.push(z)) is not None:
                yield frames
        if (frames := decoder.flush()) is not None:
            yield frames


def in_precision_of(network: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """``x`` in the precision of a network's weights, and a function that converts a result back."""
    dtype = next(network.parameters()).dtype
    if x.dtype == dtype:
        return x, lambda result: result
    return x.to(dtype), lambda result: result.to(x.dtype)


def check_divisible(
    sizes: Mapping[str, int], factors: Iterable[int], name: str = "", note: str = ""
) -> None:
    """Raise a ValueError if the factor of an axis does not divide its size.

    The message has ``name`` before the factor, the nearest sizes that it divides, and ``note``.
    """
    for (axis, size), factor in zip(sizes.items(), factors, strict=True):
        if size % factor:
            below, above = size // factor * factor, (size // factor + 1) * factor
            valid = f"{axis}s are {below} and {above}" if below else f"{axis} is {above}"
            raise ValueError(
                f"{axis} {size} is not divisible by {name}{factor}; the nearest valid {valid}{note}"
            )
