"""``model_index.json``: everything about a model that is not a component's own config."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, model_validator

from longtake.checkpoint import CONFIG, CheckpointError, read_config
from longtake.config import Config
from longtake.diffusion import Diffusion
from longtake.hub import INDEX
from longtake.latents import LatentScaling
from longtake.model.sampling import Sampling
from longtake.registry import AnyAutoencoder, AnyDenoiser
from longtake.rollout import Role

AUTOENCODER = "autoencoder"
FOLDERS: Mapping[Role, str] = {
    "first": "denoiser",
    "next": "next",
    "interpolator": "interpolator",
}
"""Folder of the network that fills a role and none before it."""


class ModelIndex(Config):
    """Settings of a model.

    Attributes:
        format: version of the folder's format.
        fps: frame rate of the model's videos, in frames per second.
        latent_scaling: scaling of the autoencoder's latents for the denoisers.
        diffusion: schedule and prediction of the denoisers; None without denoisers.
        sampling: default sampling settings.
        classes: names of the labels.
        ema: whether the denoisers' weights are an exponential moving average over training.
        made_by: the checkpoint that the model was converted from; empty for a trained one.
        roles: folder of the network that fills each role. One network may fill several; without
            ``next``, the network of ``first`` continues videos too.
        weights: SHA-256 of each component's weight file, by folder.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "standardisation": "latent_scaling",
        "averaged": "ema",
    }

    format: Literal[2] = 2
    fps: float = 25.0
    latent_scaling: LatentScaling = LatentScaling()
    diffusion: Diffusion | None = None
    sampling: Sampling = Sampling()
    classes: tuple[str, ...] = ()
    ema: bool = True
    made_by: str = ""
    roles: dict[Role, str] = {}  # noqa: RUF012 (pydantic copies it)
    weights: dict[str, str] = {}  # noqa: RUF012

    @model_validator(mode="after")
    def _components_have_a_use(self) -> "ModelIndex":
        if self.weights and self.weights.keys() != {AUTOENCODER, *self.roles.values()}:
            raise ValueError(
                f"weights are of {', '.join(sorted(self.weights))}, expected {AUTOENCODER} and the "
                f"networks of roles: {', '.join(sorted(set(self.roles.values()))) or 'none'}"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The configs of a model folder.

    Attributes:
        index: settings of the model.
        components: config of each component, by folder.
    """

    index: ModelIndex
    components: dict[str, BaseModel]


def read_model_files(folder: Path) -> ModelFiles:
    """Read the configs of a model folder of this format or of format 1.

    Raises:
        CheckpointError: a file is missing or not JSON; ConfigError: it does not fit.
    """
    moved: dict[str, Any] = {}
    path = folder / INDEX
    index: ModelIndex = read_config(path, ModelIndex, lambda data: _format_2(data, moved))
    if AUTOENCODER not in index.weights:
        raise CheckpointError(f"{path}: its weights name no {AUTOENCODER}")
    components = {}
    for name in index.weights:
        kind: Any = AnyAutoencoder if name == AUTOENCODER else AnyDenoiser
        changes = moved if name == index.roles.get("first") else {}
        components[name] = read_config(
            folder / name / CONFIG, kind, lambda data, c=changes: data | c
        )
    return ModelFiles(index=index, components=components)


def _format_2(data: dict[str, Any], moved: dict[str, Any]) -> dict[str, Any]:
    """Upgrade an index of format 1; what moves to the denoiser's config goes to ``moved``."""
    if data.get("format") != 1:
        return data
    folders: Mapping[Role, str] = {"first": "denoiser", "interpolator": "between"}
    roles = {role: name for role, name in folders.items() if name in data.get("weights", {})}
    if data.get("overlap"):
        moved["clip_overlap_frames"] = data["overlap"]
    return {k: v for k, v in data.items() if k != "overlap"} | {"format": 2, "roles": roles}
