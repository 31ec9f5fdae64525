"""Denoisers: networks that predict from a noisy latent."""
