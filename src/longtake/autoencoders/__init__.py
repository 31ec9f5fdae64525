"""Autoencoders: between a clip and its latent."""

from longtake.autoencoders.base import Posterior, StreamDecoder, VideoAutoencoder

__all__ = ["Posterior", "StreamDecoder", "VideoAutoencoder"]
