"""What networks are trained on, beyond the diffusion loss itself."""

from longtake.losses.autoencoder import AutoencoderLoss, AutoencoderLossConfig, Losses

__all__ = ["AutoencoderLoss", "AutoencoderLossConfig", "Losses"]
