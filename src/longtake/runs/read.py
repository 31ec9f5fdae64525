"""Runs of all kinds, and their configs in YAML files and presets."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field

from longtake import config
from longtake.config import ConfigError
from longtake.runs.autoencoder import AutoencoderRun
from longtake.runs.decoder import DecoderRun
from longtake.runs.diffusion import DiffusionRun
from longtake.runs.distillation import DistillationRun

AnyRun = Annotated[
    AutoencoderRun | DiffusionRun | DistillationRun | DecoderRun, Field(discriminator="kind")
]
"""Config of a run, as a preset or another YAML file holds it."""


def presets() -> dict[str, Path]:
    """YAML file of each preset that comes with longtake, by the preset's name."""
    root = Path(str(resources.files("longtake") / "presets"))
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}


def read_run(preset: str, overrides: Sequence[str] = ()) -> AnyRun:
    """Read a run's config from a YAML file, or from the preset of this name.

    ``overrides`` are changes as ``a.b=value``.

    Raises:
        ConfigError: there is no such preset, or the config is not valid.
    """
    known = presets()
    path = known.get(preset, Path(preset))
    if not path.exists():
        raise ConfigError(f"there is no preset {preset!r}; {config.nearest(preset, list(known))}")
    return config.load(path, AnyRun, overrides)


def check_origins(run: AnyRun) -> None:
    """Raise a ConfigError if a model that a run names is to be trained by another preset first."""
    for setting in ("model", "init_from", "teacher"):
        name = getattr(run, setting, None)
        if name is None or Path(name).exists() or Path(name).parent != Path("runs"):
            continue
        if (preset := Path(name).name) in presets():
            raise ConfigError(
                f"{setting}={name}: no such folder; the preset {preset} trains it, so train "
                f"with that first, or set {setting} to another model"
            )
