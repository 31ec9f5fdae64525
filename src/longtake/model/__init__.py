"""A model folder: autoencoder, role -> denoiser, and how each role is sampled."""

from longtake.model.index import ModelIndex, RoleSampling, Sampling, sampling_with
from longtake.model.video_model import VideoModel

__all__ = ["ModelIndex", "RoleSampling", "Sampling", "VideoModel", "sampling_with"]
