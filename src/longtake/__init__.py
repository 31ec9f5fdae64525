"""longtake: train, sample and evaluate latent video diffusion models, above all for long video.

The names of ``__all__`` are imported from their modules when they are first used, so that
``import longtake`` itself loads neither torch nor diffusers.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "autoencoders": "VideoAutoencoder",
    "checkpoint": "CheckpointError",
    "config": "ConfigError",
    "diffusion": "ClassifierFree DDIM DDPM Denoiser Diffusion DiffusersSampler Sampler",
    "generate": "LongVideo",
    "hub": "shipped_models",
    "jobs": "Job write_videos",
    "latents": "LatentSpec",
    "model": "ModelIndex Sampling VideoModel",
    "rollout": "Autoregressive DiffusionForcing Fifo Hierarchical NextClip OneClip Request Rollout",
    "runs": "presets read_run",
    "video": "VideoWriter open_video",
}
"""Public names of each module; ``__init__.pyi`` says the same to type checkers."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
