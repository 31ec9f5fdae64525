"""A model as one object: autoencoder, a denoiser for each role, and settings of sampling."""

from longtake.model.index import ModelIndex, RoleSampling, Sampling, sampling_with
from longtake.model.video_model import VideoModel

__all__ = ["ModelIndex", "RoleSampling", "Sampling", "VideoModel", "sampling_with"]
