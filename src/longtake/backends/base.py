"""Interface of a backend: another way than plain PyTorch to run a model's networks."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from longtake.autoencoders.base import VideoAutoencoder
from longtake.diffusion.process import Denoiser


class BackendError(ValueError):
    """A backend is not installed, or cannot run a network."""


@runtime_checkable
class Backend(Protocol):
    """Runs a model's networks in another way than plain PyTorch, with the same weights."""

    @property
    def device(self) -> str:
        """Device to open models on unless another is named; ``auto``: a GPU if there is one."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name of the backend, and those of its settings that change results, as JSON data."""
        ...

    def denoiser(self, network: Denoiser) -> Denoiser:
        """Return a denoiser that predicts as ``network`` does, run by this backend.

        A BackendError if the backend cannot run it.
        """
        ...

    def autoencoder(self, network: VideoAutoencoder) -> VideoAutoencoder:
        """Return an autoencoder that works as ``network`` does, its decoder run by this backend.

        A BackendError if the backend cannot run it.
        """
        ...
