"""The folder of a run: started, continued, or removed."""

import json
import shutil
from pathlib import Path
from typing import Any

from longtake import config
from longtake.checkpoint import CheckpointError, ExistsError, write_text
from longtake.distributed import Ranks
from longtake.runs import AnyRun, AutoencoderRun, Callbacks, DiffusionRun
from longtake.training.log import environment

CONFIG, ENVIRONMENT = "config.yaml", "environment.json"


def start(
    run: AutoencoderRun | DiffusionRun,
    folder: Path,
    ranks: Ranks,
    callbacks: Callbacks,
    *,
    overwrite: bool = False,
) -> None:
    """Carry out a run in its folder, or continue it where it stopped.

    A run that is refused before it has made anything leaves nothing behind.

    Args:
        run: training to run.
        folder: folder of the run; created if absent.
        ranks: processes of the job.
        callbacks: called with progress.
        overwrite: remove another run from the folder first.

    Raises:
        ExistsError: the folder holds another run; CheckpointError: it holds something else.
    """
    if ranks.main:
        if overwrite:
            remove(folder)
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
        CheckpointError: the folder holds something that is not a run.
    """
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder} holds no run and is not removed; choose another folder")
    shutil.rmtree(folder)


def _claim(run: AutoencoderRun | DiffusionRun, folder: Path) -> None:
    """Write the resolved config, or check that the folder already holds it."""
    path = folder / CONFIG
    if path.exists():
        stored = config.parse(AnyRun, config.read(path), upgrade=True)
        differing = _differences(config.to_dict(stored), config.to_dict(run))
        if differing - {"training.steps", "training.cooldown_steps"}:
            reason = f"holds another run (they differ in {', '.join(sorted(differing))})"
            raise ExistsError(folder, reason)
    elif folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} exists and holds no run; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, config.to_yaml(run))
    write_text(folder / ENVIRONMENT, json.dumps(environment(), indent=2) + "\n")


def _withdraw(folder: Path) -> None:
    """Remove the config of a run that was refused before it made anything."""
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
