"""A light decoder for the latents of the tiny model, to frames of twice their size."""

from longtake.autoencoders import LightVolumeDecoderConfig

LARGE = LightVolumeDecoderConfig(
    clip=(8, 32, 32),
    volume=(2, 4, 4, 4),
    latent_width=8,
    latent_blocks=0,
    frame_width=4,
    fine_width=4,
)
