"""longtake: train, sample, serve and judge latent video diffusion models, above all long ones."""

__version__ = "0.1.0"
