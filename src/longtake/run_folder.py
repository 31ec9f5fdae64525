"""The folder of a run: started, continued, forked, or removed."""

import json
import logging
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from longtake import config
from longtake.checkpoint import CheckpointError, ExistsError, whole_folder, write_text
from longtake.distributed import Ranks
from longtake.documents import DocumentError, read_json_like
from longtake.files import locked
from longtake.page.document import PAGE
from longtake.page.run_page import followed, write_run_page
from longtake.runs import AnyRun, Callbacks, check_origins
from longtake.training import checkpoint
from longtake.training.log import LOG, environment, read_log
from longtake.training.tracker import check_tracker

LOGGER = logging.getLogger("longtake")
CONFIG, ENVIRONMENT, INPUTS, LOCK = "config.yaml", "environment.json", "inputs.json", ".lock"
BEGUN = {LOCK, f".{CONFIG}.partial"}
"""Names of files that a run leaves if it is killed before it has written its config."""

CLAIM = {CONFIG, ENVIRONMENT, INPUTS, LOG, PAGE, "tensorboard", "wandb"}
"""Names of files that a run may have written before its config or data are refused."""

OWN = (
    ".step_*",
    ".model.*",
    "models/.step_*",
    "models/.best.*",
    ".config.*",
    ".environment.*",
    ".inputs.*",
    ".index.*",
)
"""Patterns of the names under which a run's files are written before they are whole."""

FREE = (
    *("adversarial_steps", "cache.batch", "cache_folder", "num_previews", "preview_frames"),
    *("evaluation", "sampling", "validation", "training.accumulate", "training.cooldown_steps"),
    *("training.evaluate_every", "training.export_every", "training.keep", "training.keep_every"),
    *("training.log_every", "training.sample_every", "training.save_every", "training.steps"),
    *("training.background_gb", "training.tracker", "training.workers", "training.shards"),
)
"""Paths of settings that may change in the middle of a run: no training step depends on them."""

ENCODED = ("data", "model", "cache.", "denoiser.clip_overlap_frames")
"""Beginnings of the paths of settings that cached latents depend on."""


class OtherRunError(ExistsError):
    """The folder holds a run with other settings or data."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)


def start(
    run: AnyRun,
    folder: Path,
    ranks: Ranks,
    callbacks: Callbacks,
    *,
    overwrite: bool = False,
    fork: Path | None = None,
) -> None:
    """Carry out a run in a folder, or continue it where it stopped.

    A run that is refused before it has made anything leaves nothing behind.

    Args:
        run: config of the run.
        folder: the run's folder.
        ranks: the processes of the run.
        callbacks: functions that are called with the progress.
        overwrite: first remove everything in the folder in which the run is carried out, also an
            unfinished run with this config, which then begins again.
        fork: carry out the run in this folder instead, from the last checkpoint of the run in
            ``folder``, which stays as it is.

    Raises:
        ExistsError: the folder holds another run.
        InUseError: another process trains in the folder.
        CheckpointError: the folder holds other files than a run's, or there is nothing to fork.
        ValueError: the run's data is missing, or its settings do not fit the data or the processes.
    """
    place = fork or folder
    check_tracker(run.training.tracker)
    run.training.check_processes(ranks.size)
    there = {p.name for p in place.iterdir()} if ranks.main and place.exists() else set()
    if there - BEGUN and not _is_run(place):
        raise CheckpointError(f"{place} exists and holds no run; choose another folder")
    check_origins(run)
    with ranks.first_on_machine():  # one reads the videos' headers, the others find them on disk
        run = run.settled()
        inputs = json.loads(json.dumps(run.inputs))  # what they lack is an error before any change
    with _claimed(place, ranks, overwrite):
        try:
            if ranks.main:
                _settle(run, place, inputs)
                if fork and not checkpoint.checkpoints(fork):
                    _copy(folder, fork, run, inputs)
            ranks.barrier()
            with ExitStack() as open_page:
                if ranks.main:
                    write = partial(write_run_page, place)
                    report = open_page.enter_context(followed(write, callbacks.training))
                    callbacks = replace(callbacks, training=report)
                run.execute(place, ranks, callbacks)
        except ValueError:
            if ranks.main:
                _withdraw(place)
            raise


@contextmanager
def _claimed(folder: Path, ranks: Ranks, overwrite: bool) -> Generator[None]:
    """Context manager that locks a run's folder for this job, and removes a new folder left empty.

    ``overwrite``: remove what the folder holds.
    """
    if not ranks.main:
        yield
        return
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder, folder / LOCK):
            for path in folder.iterdir() if overwrite else ():
                if path.name != LOCK:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


def _settle(run: AnyRun, folder: Path, inputs: Mapping[str, Any]) -> None:
    """Write a run's config, inputs and environment; an OtherRunError if the folder has others.

    What a killed process left is removed.
    """
    _tidy(folder)
    if (folder / CONFIG).exists():
        changes = _changes(run, folder, inputs)
        if changes and checkpoint.checkpoints(folder):
            raise OtherRunError(
                f"{folder} holds another run: {config.describe_differences(changes)}; use what it "
                "was started with, choose another folder, or set fork=NEW to start a run in the "
                "folder NEW from this one's last checkpoint"
            )
        if any(name.startswith(ENCODED) for name in changes):
            _keep_latents(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, config.to_yaml(run))
    write_text(folder / INPUTS, json.dumps(inputs, indent=1) + "\n")
    write_text(folder / ENVIRONMENT, json.dumps(environment(), indent=2) + "\n")


def _changes(run: AnyRun, folder: Path, inputs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings and inputs (data, models) that the result depends on and the folder has otherwise.

    Returns the folder's value and the run's, by name.
    """
    stored = config.parse(AnyRun, config.read(folder / CONFIG), upgrade=True)
    found = config.differences(config.to_dict(stored), config.to_dict(run))
    changes = {name: pair for name, pair in found.items() if not _below(name, FREE)}
    path = folder / INPUTS
    before = _read_inputs(path, inputs) if path.exists() else {}
    for name in before.keys() & inputs.keys():  # what a path leads to counts, not its spelling
        changes = {key: pair for key, pair in changes.items() if not _below(key, (name,))}
        changes |= config.differences(before[name], inputs[name], name)
    return changes


def _read_inputs(path: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Read a run's ``inputs.json``, to compare with ``expected``; CheckpointError if broken."""
    try:
        found = read_json_like(path, expected)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except DocumentError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: is a {type(found).__name__}, expected a JSON object")
    return found


def _copy(source: Path, fork: Path, run: AnyRun, inputs: Mapping[str, Any]) -> None:
    """Begin a fork with the last checkpoint of another run, and its latents if they fit."""
    stored = checkpoint.newest(source, Ranks()) if _is_run(source) else None
    if stored is None:
        raise CheckpointError(f"{source}: no run with a checkpoint to fork from")
    latents, changes = source / "latents", _changes(run, source, inputs)
    if latents.is_dir() and not any(name.startswith(ENCODED) for name in changes):
        shutil.copytree(latents, fork / "latents", copy_function=_link, dirs_exist_ok=True)
    log = source / LOG
    if log.exists():
        write_text(fork / LOG, "".join(f"{line}\n" for line in read_log(log)))
    with whole_folder(fork / stored.folder.name) as partial:
        shutil.copytree(stored.folder, partial, dirs_exist_ok=True)


def _link(source: str, to: str) -> None:
    """Make a hard link ``to`` to the file ``source``, or a copy where links are impossible."""
    Path(to).unlink(missing_ok=True)
    try:
        os.link(source, to)
    except OSError:
        shutil.copy2(source, to)


def _tidy(folder: Path) -> None:
    """Remove unfinished files and folders that a killed process left; what they replace stays."""
    for left in [path for pattern in OWN for path in folder.glob(pattern)]:
        if left.suffix not in (".old", ".partial"):
            continue
        place = left.with_name(left.stem[1:])
        if left.suffix == ".old" and not place.exists():
            left.replace(place)
        else:
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _keep_latents(folder: Path) -> None:
    """Rename a run's latent cache of other settings, so that nothing takes it for this run's."""
    latents = folder / "latents"
    if latents.is_dir():
        number = len([*folder.glob("latents_*")])
        latents.replace(folder / f"latents_{number}")
        LOGGER.warning(
            "%s: is a latent cache of other settings; it is kept as latents_%d", latents, number
        )


def _withdraw(folder: Path) -> None:
    """Remove what describes a run that was refused before it made anything."""
    log, latents = folder / LOG, folder / "latents"
    made = {path.name for path in folder.iterdir()} - CLAIM - {LOCK}
    if latents.is_dir() and not any(latents.iterdir()):
        made.discard(latents.name)
    if made or (log.exists() and log.stat().st_size):
        return
    for name in (*CLAIM, latents.name):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).exists()


def _below(name: str, settings: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in settings)
