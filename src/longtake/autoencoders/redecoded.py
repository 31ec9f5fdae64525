"""Autoencoders with another decoder, whose frames may be larger than the autoencoder's own."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, StreamDecoder, VideoAutoencoder
from longtake.autoencoders.streaming import ClipDecoder, WindowDecoder
from longtake.config import ConfigError


class OtherDecoder(nn.Module, ABC):
    """A network that works in place of an autoencoder's decoder, or on the frames it decodes.

    It is saved in the autoencoder's model folder.
    """

    config: Any

    @property
    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weight of the last layer; gradients at it set the adversarial loss's weight (VQGAN)."""

    @abstractmethod
    def beside(self, autoencoder: VideoAutoencoder) -> "OtherFrames":
        """Return ``autoencoder`` with the frames that this network makes of its latents.

        Raises:
            ConfigError: the network is for other latents, or for clips of another size.
        """


class OtherFrames(VideoAutoencoder, ABC):
    """The encoder of an autoencoder, whose weights never change, with another decoder.

    Frames that are larger than the autoencoder's are averaged to its size before they are encoded.

    Args:
        autoencoder: the autoencoder, whose gradients are turned off.
        decoder: the ``OtherDecoder`` that training changes.

    Raises:
        ConfigError: the decoder makes clips whose size is not a multiple of the autoencoder's.
    """

    def __init__(self, autoencoder: VideoAutoencoder, decoder: Any) -> None:
        super().__init__()
        self.autoencoder, self.decoder = autoencoder.requires_grad_(False), decoder
        self.config = decoder.config
        known, clip = autoencoder.spec, decoder.config.clip
        (frames, height, width), self._factor = known.clip, clip[1] // known.clip[1]
        if clip != (frames, height * self._factor, width * self._factor):
            raise ConfigError(
                f"the decoder makes clips of {clip} (frames, height, width), which must be the "
                f"autoencoder's {known.clip} with height and width times one whole number; "
                "set the decoder's clip to that"
            )
        self.spec = replace(known, clip=clip)

    @property
    def trained(self) -> nn.Module:
        return self.decoder

    @property
    def encoding_modules(self) -> Sequence[nn.Module]:
        return (self.autoencoder,)

    @property
    def last_layer(self) -> nn.Parameter:
        return self.decoder.last_layer

    @torch.no_grad()
    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
        """Posterior over the latent of a clip whose pixels are in [-1, 1].

        Where latents have a time axis, each window of the autoencoder's clip length is encoded by
        itself, as in a latent cache.
        """
        small = F.avg_pool3d(video, (1, self._factor, self._factor))
        axis, frames = self.spec.frame_axis, self.spec.clip[0]
        windows = [small] if axis is None else small.split(frames, 2)
        found = [self.autoencoder.encode(window) for window in windows]
        if len(found) == 1:
            return found[0]
        along = 2 if axis is None else axis
        return Posterior(
            mean=torch.cat([part.mean for part in found], along),
            log_variance=torch.cat([part.log_variance for part in found], along),
        )

    @abstractmethod
    def stream_decoder(self, *, clip_overlap: int = 0) -> StreamDecoder:
        """A new decoder of one long video.

        ``clip_overlap`` is the number of frames that clips share; 0 for latents with a time axis. A
        ValueError if clips cannot share that number.
        """


class Redecoded(OtherFrames):
    """An autoencoder whose latents ``decoder``, a ``LightDecoder``, decodes.

    Raises:
        ConfigError: the decoder reads latents of another shape, or makes clips whose size
            is not a multiple of the autoencoder's.
    """

    def __init__(self, autoencoder: VideoAutoencoder, decoder: Any) -> None:
        if decoder.config.latent != autoencoder.spec.shape:
            raise ConfigError(
                f"the decoder reads latents of shape {decoder.config.latent}, but those of the "
                f"autoencoder have shape {autoencoder.spec.shape}; give a decoder for these"
            )
        super().__init__(autoencoder, decoder)

    def decode(self, z: Float[Tensor, "b c ..."]) -> Float[Tensor, "b 3 t h w"]:
        return self.decoder(z)

    def stream_decoder(self, *, clip_overlap: int = 0) -> StreamDecoder:
        """A new decoder of one long video, in windows or, without a time axis, clip by clip.

        ``clip_overlap`` is the number of frames that clips share; 0 for latents with a time axis. A
        ValueError if clips cannot share that number.
        """
        return self.decoder.stream_decoder(self, clip_overlap)


class Enlarged(OtherFrames):
    """An autoencoder whose decoded frames ``decoder``, an ``Enlarger``, enlarges one by one.

    Raises:
        ConfigError: the enlarger's ``clip`` is not the autoencoder's, enlarged by ``factor``.
    """

    def __init__(self, autoencoder: VideoAutoencoder, decoder: Any) -> None:
        super().__init__(autoencoder, decoder)
        if decoder.config.factor != self._factor:
            raise ConfigError(
                f"factor={decoder.config.factor} does not lead from the autoencoder's clips of "
                f"{autoencoder.spec.clip} (frames, height, width) to clip={decoder.config.clip}; "
                f"set factor={self._factor}, or another clip"
            )

    def decode(self, z: Float[Tensor, "b c ..."]) -> Float[Tensor, "b 3 t h w"]:
        return self.decoder(self.autoencoder.decode(z))

    def stream_decoder(self, *, clip_overlap: int = 0) -> StreamDecoder:
        """A new decoder of one long video, which joins enlarged windows or clips.

        ``clip_overlap`` is the number of frames that clips share; 0 for latents with a time axis.

        Raises:
            ValueError: clips cannot share that number of frames.
        """
        if self.spec.frame_axis is None:
            return ClipDecoder(self, clip_overlap)
        self.spec.check_overlap(clip_overlap)
        return WindowDecoder(self)
