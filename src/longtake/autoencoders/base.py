"""Interfaces of autoencoders, which encode clips of video to latents and decode latents."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.latents import LatentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """The diagonal Gaussian over latents that an autoencoder's encoder predicts.

    Attributes:
        mean: mean, which is also the mode.
        log_variance: logarithm of the variance, clamped to [-30, 20].
    """

    mean: Float[Tensor, "b ..."]
    log_variance: Float[Tensor, "b ..."]

    def sample(self, noise: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Return the latent ``mean + std * noise``, where ``noise`` is standard normal."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def kl(self) -> Float[Tensor, "b"]:
        """KL divergence to the standard normal, summed over every axis but the batch.

        The official LVDM code sums over three of the four axes in this function and over the fourth
        in its loss; the totals agree.
        """
        each = self.mean**2 + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * each.flatten(1).sum(1)


class StreamDecoder(ABC):
    """Decodes the latents of a long video piece by piece, in constant memory; can be resumed."""

    @abstractmethod
    def push(self, z: Float[Tensor, "b c ..."]) -> Float[Tensor, "b 3 t h w"] | None:
        """Take the next latents; return the frames that are now final, or None if none are.

        ``z`` has any number of latent frames or, if latents have no time axis, of whole clips laid
        end to end.
        """

    @abstractmethod
    def flush(self) -> Float[Tensor, "b 3 t h w"] | None:
        """Return the frames still held back, None if there are none, and end the stream."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Tensors by name, of constant size, from which ``restore`` continues bit for bit."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from the ``state()`` of a decoder that was built with the same arguments."""


class VideoAutoencoder(nn.Module, ABC):
    """Encodes clips to latents and decodes latents to clips.

    Weights may be in any precision: an input is converted to the weights' precision, and the result
    back to the input's, so that posteriors and cross-fades of a half-precision network are float32.

    Attributes:
        spec: shape and bounds of the latent of a clip of the trained size.
    """

    spec: LatentSpec

    @property
    def trained(self) -> nn.Module:
        """The module whose weights training changes: this autoencoder, or its decoder alone."""
        return self

    @property
    @abstractmethod
    def encoding_modules(self) -> Sequence[nn.Module]:
        """The modules that latents depend on; decoding uses none of them."""

    @property
    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weight of the decoder's last layer.

        The adversarial loss's weight is a ratio of gradients at it (VQGAN, eq. 7).
        """

    def resized(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return ``weights``, of such an autoencoder for another clip size, in this one's shapes.

        Weights whose shapes do not depend on the size stay as they are. The result is a start for
        training; it does not encode as well as trained weights.
        """
        return weights

    @abstractmethod
    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Posterior over the latent of a clip whose pixels are in [-1, 1]."""

    @abstractmethod
    def decode(self, z: Float[Tensor, "b c ..."]) -> Float[Tensor, "b 3 t h w"]:
        """Pixels of the clip that a latent encodes, about in [-1, 1]; not clamped."""

    @abstractmethod
    def stream_decoder(self, *, clip_overlap: int = 0) -> StreamDecoder:
        """A new decoder for one long video.

        Args:
            clip_overlap: number of frames of video that each clip shares with the clip before it,
                over which the two cross-fade; must be 0 for latents with a time axis.

        Raises:
            ValueError: clips cannot share that number of frames.
        """

    @torch.no_grad()
    def stream_decode(
        self, latents: Iterable[Tensor], *, clip_overlap: int = 0
    ) -> Iterator[Float[Tensor, "b 3 t h w"]]:
        """Decode an iterable of latents in the memory of one clip, by a new ``stream_decoder``.

        ``clip_overlap`` is the number of frames that clips share; 0 for latents with a time axis.

        Raises:
            ValueError: clips cannot share that number of frames.
        """
        decoder = self.stream_decoder(clip_overlap=clip_overlap)
        for z in latents:
            if (frames := decoder.push(z)) is not None:
                yield frames
        if (frames := decoder.flush()) is not None:
            yield frames


def in_precision_of(network: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Convert ``x`` to the dtype of a network's weights.

    Returns:
        the converted tensor, and a function that converts a tensor to the dtype ``x`` had.
    """
    dtype = next(network.parameters()).dtype
    if x.dtype == dtype:
        return x, lambda result: result
    return x.to(dtype), lambda result: result.to(x.dtype)


def check_divisible(
    sizes: Mapping[str, int], factors: Iterable[int], name: str = "", note: str = ""
) -> None:
    """Raise a ValueError if an axis is not a multiple of its factor.

    Args:
        sizes: size of each axis, by the axis's name.
        factors: factor of each axis, in the order of ``sizes``.
        name: text before the factor in the message, such as ``patch=``.
        note: text at the end of the message.
    """
    for (axis, size), factor in zip(sizes.items(), factors, strict=True):
        if size % factor:
            below, above = size // factor * factor, (size // factor + 1) * factor
            valid = f"{axis}s are {below} and {above}" if below else f"{axis} is {above}"
            raise ValueError(
                f"{axis} {size} is not divisible by {name}{factor}; the nearest valid {valid}{note}"
            )
