"""The folder of a run: created, continued, or removed."""

import json
import shutil
from pathlib import Path

from longtake import config
from longtake.checkpoint import CheckpointError, ExistsError, write_text
from longtake.distributed import Ranks
from longtake.runs import AnyRun, Callbacks
from longtake.training.log import environment

CONFIG, ENVIRONMENT = "config.yaml", "environment.json"


def start(
    run: AnyRun, folder: Path, ranks: Ranks, callbacks: Callbacks, *, overwrite: bool = False
) -> None:
    """Carry out a run in its folder, or continue it where it stopped.

    The folder is created if absent; a run that is refused before it has made anything leaves
    nothing behind. With ``overwrite``, another run is removed from the folder first.

    Raises:
        ExistsError: the folder holds another run; CheckpointError: it holds something else.
    """
    if ranks.main:
        _claim(run, folder, overwrite)
    ranks.barrier()
    try:
        run.execute(folder, ranks, callbacks)
    except ValueError:
        if ranks.main:
            _withdraw(folder)
        raise


def _claim(run: AnyRun, folder: Path, overwrite: bool) -> None:
    """Write the resolved config, or check that the folder already holds it."""
    path = folder / CONFIG
    if folder.exists() and any(folder.iterdir()) and not path.exists():
        raise CheckpointError(f"{folder} exists and holds no run; choose another folder")
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    if path.exists():
        stored = config.parse(AnyRun, config.read(path), upgrade=True)
        differing = config.differences(config.to_dict(stored), config.to_dict(run))
        if differing.keys() - {"training.steps", "training.cooldown_steps"}:
            reason = f"holds another run (they differ in {', '.join(sorted(differing))})"
            raise ExistsError(folder, reason)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, config.to_yaml(run))
    write_text(folder / ENVIRONMENT, json.dumps(environment(), indent=2) + "\n")


def _withdraw(folder: Path) -> None:
    """Remove the config of a run that was refused before it made anything."""
    claims = {folder / CONFIG, folder / ENVIRONMENT}
    if claims == set(folder.iterdir()):
        for claim in claims:
            claim.unlink()
