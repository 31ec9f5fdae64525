"""Denoisers: networks that predict from a noisy latent."""

from longtake.denoisers.triplane_unet import TriplaneUNet, TriplaneUNetConfig
from longtake.denoisers.volume_transformer import VolumeTransformer, VolumeTransformerConfig
from longtake.denoisers.volume_unet import VolumeUNet, VolumeUNetConfig

__all__ = [
    "TriplaneUNet",
    "TriplaneUNetConfig",
    "VolumeTransformer",
    "VolumeTransformerConfig",
    "VolumeUNet",
    "VolumeUNetConfig",
]
