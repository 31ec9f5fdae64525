"""Checkpoints of a run: folders with all that a resume needs, complete or absent."""

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, NonNegativeInt
from torch import Tensor, nn

from longtake.checkpoint import (
    CheckpointError,
    file_hash,
    is_finite,
    read_tensors,
)
from longtake.config import ConfigError, parse
from longtake.distributed import Ranks
from longtake.documents import DocumentError, read_json
from longtake.files import remove
from longtake.training import shards
from longtake.training.ema import EMA
from longtake.training.methods.base import Method

LOGGER = logging.getLogger("longtake")
GATHERED: Mapping[str, Any] = {"full_state_dict": True, "cpu_offload": True}
"""Options of ``weights_of``, by which tensors are whole, and on the CPU of the main rank alone."""

STATE, WEIGHTS, AVERAGE = "state.json", "weights.safetensors", "ema.safetensors"
FORMER_AVERAGE = "average.safetensors"  # version 0.1
AVERAGES = ("average", "ema")
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""A text without slashes, so that a file of this name is in the checkpoint's folder."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(kw_only=True)
class TrainState:
    """The parts of a training that a checkpoint saves.

    Attributes:
        step: number of steps done.
        method: its ``module`` has the weights, its ``monitor`` the state of early stopping.
        optimizers: optimizer of each phase of a step, by the phase's name.
        ema: moving average of the exported weights; None for none.
    """

    step: int
    method: Method
    optimizers: Mapping[str, torch.optim.Optimizer]
    ema: EMA | None


class ParameterGroup(BaseModel):
    """One entry of an optimizer's ``param_groups``: names of parameters and settings such as lr."""

    model_config = ConfigDict(extra="allow")
    params: tuple[str, ...]


class StateFile(BaseModel):
    """Contents of a checkpoint's ``state.json``.

    Attributes:
        step: number of training steps done.
        updates: number of updates of the EMA.
        settings: ``param_groups`` of each optimizer that has taken a step, by its phase's name.
        unused: names of the parameters for which each of these optimizers has no moments yet; None
            in files of earlier versions.
        monitor: state of the training monitor.
        files: SHA-256 of the checkpoint's other files; empty in files of earlier versions.
        shapes: shapes of all tensors if the files hold shards of them, by ``STEM/NAME``: stem of
            the file that would hold the tensor whole, and its name there; None if files hold whole
            tensors.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")

    step: NonNegativeInt
    updates: NonNegativeInt = 0
    settings: dict[Name, tuple[ParameterGroup, ...]]
    unused: dict[Name, tuple[str, ...]] | None = None
    monitor: dict[str, Any] = Field({}, validation_alias=AliasChoices("monitor", "watch"))
    files: dict[Name, Sha256] = {}
    shapes: dict[str, shards.Shape] | None = None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A checkpoint read from disk: complete, but not yet compared with the networks.

    Attributes:
        folder: the checkpoint's folder.
        state: contents of ``state.json``.
        weights: trained weights by name.
        average: EMA weights by name; None if the checkpoint has none.
        moments: optimizer state, by phase, parameter and name of the moment.
    """

    folder: Path
    state: StateFile
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    moments: Mapping[str, Mapping[str, Mapping[str, Tensor]]]


def by_file(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group tensors named ``STEM/NAME`` by the stem of their file, then by name."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        stem, _, name = key.partition("/")
        found.setdefault(stem, {})[name] = tensor
    return found


def newest(run: Path, ranks: Ranks) -> Stored | None:
    """Read the last complete checkpoint of a run; None if it has none. All ranks must call it.

    Incomplete checkpoints after it are renamed, not deleted.

    Raises:
        CheckpointError: there are checkpoints, but none is complete.
    """
    torn: list[tuple[Path, str]] = []
    for folder in reversed(_folders(run)):
        stored, fault = None, ""
        try:
            stored = read(folder)
        except CheckpointError as error:
            fault = str(error)
        if ranks.any_rank(stored is None):
            torn.append((folder, fault or f"{folder}: broken for another process"))
            continue
        if ranks.main:
            for other, fault in torn:
                _set_aside(other, f"{fault}; training continues after step {_step(folder)}")
        return stored
    if torn:
        raise CheckpointError(
            f"{run}: no checkpoint is complete; train in another folder; fault of the last: "
            f"{torn[0][1]}"
        )
    return None


def read(folder: Path) -> Stored:
    """Read a run's checkpoint of this version or of 0.1.

    Raises a CheckpointError if it is not complete.
    """
    path = folder / STATE
    try:
        state: StateFile = parse(StateFile, read_json(_inside(folder, STATE)))
    except (ConfigError, DocumentError) as error:
        raise CheckpointError(f"{path}: broken: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if state.step != _step(folder):
        raise CheckpointError(
            f"{path}: broken: it is of step {state.step}, its folder of step {_step(folder)}"
        )
    for name, expected in state.files.items():
        if file_hash(_inside(folder, name)) != expected:
            raise CheckpointError(f"{folder / name}: broken: it is not the file that was saved")
    files = _tensors(folder, state)
    moments: dict[str, dict[str, dict[str, Tensor]]] = {name: {} for name in state.settings}
    for name, own in moments.items():
        for key, value in files[Path(moments_file(name)).stem].items():
            parameter, _, moment = key.rpartition(".")
            own.setdefault(parameter, {})[moment] = value
    averages = [files[stem] for stem in AVERAGES if stem in files]
    return Stored(
        folder=folder,
        state=state,
        weights=files[Path(WEIGHTS).stem],
        average=averages[0] if averages else None,
        moments=moments,
    )


def _tensors(folder: Path, state: StateFile) -> dict[str, dict[str, Tensor]]:
    """Read a checkpoint's tensors: by the stem of their file, then by name.

    A CheckpointError if weights or moments are missing.
    """
    required = [WEIGHTS, *map(moments_file, state.settings)]
    if state.shapes is None:
        there = [name for name in (FORMER_AVERAGE, AVERAGE) if (folder / name).exists()]
        return {Path(n).stem: read_tensors(_inside(folder, n)) for n in (*required, *there)}
    paths = [_inside(folder, name) for name in state.files]
    try:
        found = by_file(shards.assembled(paths, state.shapes))
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    if lacking := [name for name in required if Path(name).stem not in found]:
        raise CheckpointError(f"{folder}: has no shards of {lacking[0]}")
    return found


def parameters_of(groups: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names of the parameters of an optimizer's groups."""
    return {name for group in groups for name in group["params"]}


def moments_file(name: str) -> str:
    """Name of the file with the moments of the optimizer of the phase ``name``."""
    return f"optimizer_{name}.safetensors"


def _inside(folder: Path, name: str) -> Path:
    """Path of a checkpoint's file; CheckpointError if it is missing or a link out of ``folder``."""
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path}: missing")
    if path.resolve().parent != folder.resolve():
        raise CheckpointError(f"{path}: is a link out of the checkpoint, to {path.resolve()}")
    return path


M = TypeVar("M", bound=nn.Module)


def unsharded(module: nn.Module, build: Callable[[], M]) -> M:
    """Copy a module that may be sharded to the CPU, in evaluation mode. All ranks must call it.

    ``build`` makes a module of the same architecture. Only the main rank's copy gets the weights.
    """
    weights, copy = weights_of(module, GATHERED), build()
    if weights:
        copy.load_state_dict(weights)
    return copy.eval()


def checkpoints(run: Path) -> Sequence[Path]:
    """Folders of the complete checkpoints of a run, oldest first."""
    return [folder for folder in _folders(run) if (folder / STATE).exists()]


def latest(run: Path) -> Path | None:
    """Folder of the last complete checkpoint of a run; None if it has none."""
    return max(checkpoints(run), default=None, key=_step)


def last_up_to(run: Path, step: int | None) -> Path | None:
    """Folder of the last complete checkpoint of a run whose step is at most ``step``.

    None if there is none or ``step`` is None.
    """
    up_to = [path for path in checkpoints(run) if step is not None and _step(path) <= step]
    return up_to[-1] if up_to else None


def prune(run: Path, keep: int, last_good_step: int | None = None, keep_every: int = 0) -> None:
    """Remove a run's old checkpoints.

    Args:
        run: the run's folder.
        keep: number of last checkpoints to keep.
        last_good_step: keep the last checkpoint up to this step too; None: no such step.
        keep_every: keep checkpoints whose step is a multiple of this number; 0: none.
    """
    good = last_up_to(run, last_good_step)
    for old in checkpoints(run)[:-keep]:
        if old != good and not (keep_every and _step(old) % keep_every == 0):
            hidden = old.with_name(f".{old.name}.partial")  # a kill leaves no half of it in place
            remove(hidden)
            old.replace(hidden)
            remove(hidden)


def _folders(run: Path) -> list[Path]:
    """Folders of checkpoints, whole or not, oldest first."""
    found = (path for path in run.glob("step_*") if path.name[5:].isdecimal() and path.is_dir())
    return sorted(found, key=_step)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))


def _set_aside(folder: Path, fault: str) -> None:
    """Rename an incomplete checkpoint to ``torn_...`` and log ``fault``, why it is incomplete."""
    aside = folder.with_name(f"torn_{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    folder.replace(aside)
    LOGGER.warning("%s; it is kept as %s", fault, aside.name)


def finite(module: nn.Module) -> bool:
    """Whether all weights of the module that this rank holds are finite."""
    from torch.distributed.tensor import DTensor

    own = (p.to_local() if isinstance(p, DTensor) else p for p in module.parameters())
    return all(is_finite(p) for p in own)


def weights_of(module: nn.Module, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of a module by name.

    ``options`` are fields of torch's ``StateDictOptions``. With ``checkpoint.GATHERED``, weights
    are whole, and on the CPU of the main rank alone.
    """
    from torch.distributed.checkpoint import state_dict  # takes half a CPU second

    given = state_dict.StateDictOptions(**options)
    weights: Any = state_dict.get_model_state_dict(module, options=given)
    return weights
