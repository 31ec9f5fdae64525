"""Sources of videos, training clips cut from them, and latent caches."""
