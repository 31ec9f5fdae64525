"""longtake: train, sample and evaluate latent video diffusion models, above all for long video.

The names of ``__all__`` are imported from their modules when they are first used, so that
``import longtake`` itself loads neither torch nor diffusers.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "Autoregressive": "rollout",
    "CheckpointError": "checkpoint",
    "ClassifierFree": "diffusion",
    "ConfigError": "config",
    "DDIM": "diffusion",
    "DDPM": "diffusion",
    "Denoiser": "diffusion",
    "Diffusion": "diffusion",
    "DiffusersSampler": "diffusion",
    "Hierarchical": "rollout",
    "Job": "generate",
    "LatentSpec": "latents",
    "LongVideo": "generate",
    "ModelIndex": "model",
    "NextClip": "rollout",
    "OneClip": "rollout",
    "Request": "rollout",
    "Rollout": "rollout",
    "Sampler": "diffusion",
    "Sampling": "model",
    "VideoAutoencoder": "autoencoders",
    "VideoModel": "model",
    "VideoWriter": "video",
    "open_video": "video",
    "presets": "runs",
    "read_run": "runs",
    "shipped_models": "hub",
    "write_videos": "generate",
}
"""Module of each public name; ``__init__.pyi`` says the same to type checkers."""

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
