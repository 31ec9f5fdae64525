"""The folder of a run: claimed by one config, gone on with, left clean, removed."""

import json
import shutil
from pathlib import Path
from typing import Any

from longtake import config
from longtake.checkpoint import CheckpointError, write_text
from longtake.distributed import Ranks
from longtake.runs import AnyRun, AutoencoderRun, Callbacks, DiffusionRun
from longtake.training.log import environment

CONFIG, ENVIRONMENT = "config.yaml", "environment.json"


def start(
    run: AutoencoderRun | DiffusionRun,
    folder: Path,
    ranks: Ranks,
    callbacks: Callbacks,
) -> None:
    """Carry out a run in its folder; a folder that holds the same run goes on where it stopped.

    A run that is refused before it has made anything leaves nothing behind.

    Raises:
        CheckpointError: the folder holds something else.
    """
    if ranks.main:
        _claim(run, folder)
    ranks.barrier()
    try:
        run.execute(folder, ranks, callbacks)
    except ValueError:
        if ranks.main:
            _withdraw(folder)
        raise


def remove(folder: Path) -> None:
    """Remove a run's folder, if there is one.

    Raises:
        CheckpointError: the folder holds something that is no run.
    """
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder} holds no run and is not removed; choose another folder")
    shutil.rmtree(folder)


def _claim(run: AutoencoderRun | DiffusionRun, folder: Path) -> None:
    """Write the resolved config, or check that the folder holds it already."""
    path = folder / CONFIG
    if path.exists():
        stored = config.parse(AnyRun, config.read(path), upgrade=True)
        differing = _differences(config.to_dict(stored), config.to_dict(run))
        if differing - {"training.steps", "training.cooldown_steps"}:
            raise CheckpointError(
                f"{folder} holds another run (they differ in {', '.join(sorted(differing))}); "
                "choose another folder or pass --overwrite"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} exists and holds no run; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, config.to_yaml(run))
    write_text(folder / ENVIRONMENT, json.dumps(environment(), indent=2) + "\n")


def _withdraw(folder: Path) -> None:
    """Take back a claim that nothing came of."""
    claims = {folder / CONFIG, folder / ENVIRONMENT}
    if claims == set(folder.iterdir()):
        for claim in claims:
            claim.unlink()


def _differences(a: Any, b: Any, path: str = "") -> set[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        return {
            found
            for key in a.keys() | b.keys()
            for found in _differences(a.get(key), b.get(key), f"{path}.{key}".lstrip("."))
        }
    return set() if a == b else {path}
