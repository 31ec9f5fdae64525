"""What runs the networks of a model while videos are made, where that is not torch."""

from collections.abc import Mapping
from typing import Any, Protocol

from longtake.autoencoders.base import VideoAutoencoder
from longtake.diffusion.process import Denoiser


class BackendError(ValueError):
    """A backend is not installed, or cannot run a network."""


class Backend(Protocol):
    """Runs networks in another way than torch does, with the same weights."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Plain data: name and settings that change what is computed."""
        ...

    def denoiser(self, network: Denoiser) -> Denoiser:
        """A denoiser of the same weights that predicts by this backend."""
        ...

    def autoencoder(self, network: VideoAutoencoder) -> VideoAutoencoder:
        """An autoencoder of the same weights that decodes by this backend."""
        ...
