"""An autoencoder whose latents another network decodes, perhaps to larger frames."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior, StreamDecoder, VideoAutoencoder
from longtake.autoencoders.light import LightDecoder
from longtake.config import ConfigError


class Redecoded(VideoAutoencoder):
    """The encoder of an autoencoder, whose weights never change, with another decoder.

    Frames that are larger than the autoencoder's are averaged to its size before they are encoded.

    Args:
        autoencoder: the autoencoder, whose gradients are turned off.
        decoder: a decoder of its latents.

    Raises:
        ConfigError: the decoder does not fit the autoencoder.
    """

    def __init__(self, autoencoder: VideoAutoencoder, decoder: LightDecoder) -> None:
        super().__init__()
        self.autoencoder, self.decoder = autoencoder.requires_grad_(False), decoder
        self.config = decoder.config
        known, clip = autoencoder.spec, decoder.config.clip
        (frames, height, width), self._factor = known.clip, clip[1] // known.clip[1]
        if decoder.config.latent != known.shape:
            raise ConfigError(
                f"the decoder reads latents of {decoder.config.latent}, but those of the "
                f"autoencoder are {known.shape}"
            )
        if clip != (frames, height * self._factor, width * self._factor):
            raise ConfigError(
                f"the decoder makes clips of {clip} (frames, height, width), which must be the "
                f"autoencoder's {known.clip} with height and width times a whole number"
            )
        self.spec = replace(known, clip=clip)

    @property
    def trained(self) -> nn.Module:
        return self.decoder

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

    def decode(self, z: Float[Tensor, "b c ..."]) -> Float[Tensor, "b 3 t h w"]:
        return self.decoder(z)

    def stream_decoder(self, *, clip_overlap: int = 0) -> StreamDecoder:
        """A new decoder of one long video, in windows whose joints do not show."""
        return self.decoder.stream_decoder(self, clip_overlap)
