"""Checkpoints of a run: folders with all that a resume needs, complete or absent."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict
from torch.distributed.tensor import DTensor

from longtake.checkpoint import CheckpointError, read_tensors, whole_folder, write_tensors
from longtake.distributed import Ranks
from longtake.training.ema import EMA
from longtake.training.methods.base import Method

GATHERED = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)
STATE, WEIGHTS, AVERAGE = "state.json", "weights.safetensors", "ema.safetensors"


@dataclass(kw_only=True)
class TrainState:
    """Contents of a checkpoint: the steps done, networks and monitor, optimizers by phase, EMA."""

    step: int
    method: Method
    optimizers: Mapping[str, torch.optim.Optimizer]
    ema: EMA | None


def save(folder: Path, state: TrainState, ranks: Ranks) -> None:
    """Write a checkpoint. All ranks take part."""
    method, ema = state.method, state.ema
    weights = _gathered(method.module)
    moments: dict[str, Any] = {
        name: state_dict.get_optimizer_state_dict(method.module, optimizer, options=GATHERED)
        for name, optimizer in state.optimizers.items()
        if optimizer.state  # reading the state of an unused optimizer would initialize it
    }
    average: dict[str, Tensor] = {}
    if ema is not None:
        ema.swap()  # on a CPU, gathered weights are the parameters' own memory
        average = {name: x.clone() for name, x in _gathered(method.exported).items()}
        ema.swap()
    if ranks.main:
        plain = {
            "step": state.step,
            "updates": ema.updates if ema else 0,
            "settings": {name: values["param_groups"] for name, values in moments.items()},
            "monitor": method.monitor.state() if method.monitor else {},
        }
        with whole_folder(folder, overwrite=True) as partial:
            write_tensors(partial / WEIGHTS, weights)
            if average:
                write_tensors(partial / AVERAGE, average)
            for name, values in moments.items():
                own = values["state"]  # written as parameter.moment, e.g. conv.weight.exp_avg
                flat = {f"{p}.{moment}": x for p in own for moment, x in own[p].items()}
                write_tensors(partial / f"optimizer_{name}.safetensors", flat)
            (partial / STATE).write_text(json.dumps(plain))
    ranks.barrier()


def load(folder: Path, state: TrainState) -> None:
    """Fill ``state`` from a checkpoint, of this version or of 0.1.

    Raises:
        CheckpointError: the checkpoint does not fit the networks.
    """
    stored = json.loads((folder / STATE).read_text())
    method, options = state.method, state_dict.StateDictOptions(full_state_dict=True)
    former = folder / "average.safetensors"  # version 0.1
    try:
        if state.ema is not None:
            average: Any = read_tensors(former if former.exists() else folder / AVERAGE)
            state_dict.set_model_state_dict(method.exported, average, options=options)
            state.ema.load(method.exported.parameters(), stored["updates"])
        weights: Any = read_tensors(folder / WEIGHTS)
        state_dict.set_model_state_dict(method.module, weights, options=options)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the run's config: {error}") from error
    for name, groups in stored["settings"].items():
        moments: dict[str, dict[str, Tensor]] = {}
        for key, value in read_tensors(folder / f"optimizer_{name}.safetensors").items():
            parameter, moment = key.rsplit(".", 1)
            moments.setdefault(parameter, {})[moment] = value
        optimizer, held = state.optimizers[name], {"state": moments, "param_groups": groups}
        state_dict.set_optimizer_state_dict(
            method.module, optimizer, optim_state_dict=held, options=options
        )
        _match_layout(optimizer)
    followed = stored.get("monitor") or stored.get("watch")  # "watch" in version 0.1
    if followed and method.monitor is not None:
        method.monitor.restore(followed)
    state.step = stored["step"]


M = TypeVar("M", bound=nn.Module)


def unsharded(module: nn.Module, build: Callable[[], M]) -> M:
    """A copy on the CPU of a module that may be sharded, made by ``build`` on all ranks."""
    weights, copy = _gathered(module), build()
    if weights:
        copy.load_state_dict(weights)
    return copy.eval()


def checkpoints(run: Path) -> Sequence[Path]:
    """Complete checkpoints of a run, oldest first."""
    return sorted(p for p in run.glob("step_*") if (p / STATE).exists())


def latest(run: Path) -> Path | None:
    """The last complete checkpoint of a run, or None."""
    return max(checkpoints(run), default=None)


def last_up_to(run: Path, step: int | None) -> Path | None:
    """The last complete checkpoint up to a step; None if there is none or ``step`` is None."""
    names = {path: int(path.name.removeprefix("step_")) for path in checkpoints(run)}
    return max((p for p, n in names.items() if step is not None and n <= step), default=None)


def prune(run: Path, keep: int, last_good_step: int | None = None) -> None:
    """Remove all but the last ``keep`` checkpoints and the last one up to ``last_good_step``."""
    good = last_up_to(run, last_good_step)
    for old in checkpoints(run)[:-keep]:
        if old != good:
            shutil.rmtree(old)


def finite(module: nn.Module) -> bool:
    """True if all weights that this rank holds are finite."""
    own = (p.to_local() if isinstance(p, DTensor) else p for p in module.parameters())
    return all(bool(p.isfinite().all()) for p in own)


def _gathered(module: nn.Module) -> dict[str, Tensor]:
    """Weights on the CPU, whole on the main rank."""
    weights: Any = state_dict.get_model_state_dict(module, options=GATHERED)
    return weights


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the memory layout of their parameters, which fused optimizers rely on."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(value)
