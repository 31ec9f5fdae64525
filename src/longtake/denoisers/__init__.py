"""Denoisers: networks that predict from a noisy latent."""

from longtake.denoisers.volume_unet import VolumeUNet, VolumeUNetConfig

__all__ = ["VolumeUNet", "VolumeUNetConfig"]
