"""Losses of autoencoders."""

from longtake.losses.autoencoder import AutoencoderLoss, AutoencoderLossConfig

__all__ = ["AutoencoderLoss", "AutoencoderLossConfig"]
