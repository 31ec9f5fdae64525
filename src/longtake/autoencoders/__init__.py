"""Autoencoders: between a clip and its latent."""

from longtake.autoencoders.base import Posterior, StreamDecoder, VideoAutoencoder
from longtake.autoencoders.framewise import FramewiseAutoencoder, FramewiseAutoencoderConfig
from longtake.autoencoders.streaming import WindowDecoder
from longtake.autoencoders.triplane import TriplaneAutoencoder, TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoder, VolumeAutoencoderConfig

__all__ = [
    "FramewiseAutoencoder",
    "FramewiseAutoencoderConfig",
    "Posterior",
    "StreamDecoder",
    "TriplaneAutoencoder",
    "TriplaneAutoencoderConfig",
    "VideoAutoencoder",
    "VolumeAutoencoder",
    "VolumeAutoencoderConfig",
    "WindowDecoder",
]
