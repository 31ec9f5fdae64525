"""Checkpoints of a run: everything to go on, in folders that are whole or absent."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from longtake.checkpoint import CheckpointError, read_tensors, whole_folder, write_tensors
from longtake.distributed import Ranks
from longtake.training.ema import EMA
from longtake.training.stage import Stage
from longtake.training.watch import Watch

Optimizers = Mapping[str, torch.optim.Optimizer]


def save(
    folder: Path,
    step: int,
    stage: Stage,
    optimizers: Optimizers,
    average: EMA | None,
    ranks: Ranks,
    watch: Watch,
) -> None:
    """Write everything needed to go on from ``step``. All processes take part."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: dict[str, Any] = dict(get_model_state_dict(stage.module, options=options))
    moments: dict[str, Any] = {
        name: get_optimizer_state_dict(stage.module, optimizer, options=options)
        for name, optimizer in optimizers.items()
        if optimizer.state  # asking for the state of one that has not begun would begin it
    }
    shadow: dict[str, Any] = {}
    if average is not None:
        average.swap()
        held: dict[str, Any] = get_model_state_dict(stage.averaged, options=options)
        shadow = {k: v.clone() for k, v in held.items()}  # on a CPU it is the parameters' memory
        average.swap()
    if ranks.main:
        state: dict[str, Any] = {
            "step": step,
            "updates": average.updates if average else 0,
            "settings": {},
            "watch": watch.state(),
        }
        with whole_folder(folder, overwrite=True) as partial:
            write_tensors(partial / "weights.safetensors", weights)
            if shadow:
                write_tensors(partial / "average.safetensors", shadow)
            for name, values in moments.items():
                state["settings"][name] = values["param_groups"]
                write_tensors(partial / f"optimizer_{name}.safetensors", _flat(values["state"]))
            (partial / "state.json").write_text(json.dumps(state))
    ranks.barrier()


def load(
    folder: Path, stage: Stage, optimizers: Optimizers, average: EMA | None, watch: Watch
) -> int:
    """Fill everything from a checkpoint and return the step to go on from."""
    state = json.loads((folder / "state.json").read_text())
    options = StateDictOptions(full_state_dict=True)
    if average is not None:
        _set_weights(stage.averaged, read_tensors(folder / "average.safetensors"), options)
        average.load([p.detach().clone() for p in stage.averaged.parameters()], state["updates"])
    _set_weights(stage.module, read_tensors(folder / "weights.safetensors"), options)
    for name in state["settings"]:
        tensors = read_tensors(folder / f"optimizer_{name}.safetensors")
        moments: Any = {"state": _nested(tensors), "param_groups": state["settings"][name]}
        set_optimizer_state_dict(
            stage.module, optimizers[name], optim_state_dict=moments, options=options
        )
        _lay_out(optimizers[name])
    if state.get("watch"):  # checkpoints of version 0.1 have none
        watch.restore(state["watch"])
    return state["step"]


M = TypeVar("M", bound=nn.Module)


def unsharded(module: nn.Module, build: Callable[[], M]) -> M:
    """A copy on the CPU of a module that may be sharded. All processes take part."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(module, options=options)
    copy = build()
    if weights:
        copy.load_state_dict(weights)
    return copy.eval()


def latest(run: Path) -> Path | None:
    """The last whole checkpoint of a run."""
    found = checkpoints(run)
    return found[-1] if found else None


def checkpoints(run: Path) -> Sequence[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted(p for p in run.glob("step_*") if (p / "state.json").exists())


def last_up_to(run: Path, step: int | None) -> Path | None:
    """The last whole checkpoint up to a step; none where that is None."""
    found = [p for p in checkpoints(run) if step is not None and _step(p) <= step]
    return found[-1] if found else None


def prune(run: Path, keep: int, trusted: int | None = None) -> None:
    """Remove all but the last ``keep`` checkpoints, and the last one up to step ``trusted``."""
    sound = last_up_to(run, trusted)
    for old in checkpoints(run)[:-keep]:
        if old != sound:
            shutil.rmtree(old)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def _flat(moments: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Moments of each parameter by one name: the parameter's, a dot, the moment's."""
    return {f"{name}.{k}": v for name, own in moments.items() for k, v in own.items()}


def _nested(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The inverse of ``_flat``."""
    nested: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, moment = key.rsplit(".", 1)
        nested.setdefault(name, {})[moment] = value
    return nested


def finite(module: nn.Module) -> bool:
    """Whether all weights that this process holds are numbers."""
    own = (p.to_local() if isinstance(p, DTensor) else p for p in module.parameters())
    return all(bool(p.isfinite().all()) for p in own)


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the memory layout of their parameters, which fused optimisers rely on."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(value)


def _set_weights(module: nn.Module, weights: dict[str, Any], options: Any) -> None:
    try:
        set_model_state_dict(module, weights, options=options)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the run's config: {error}") from error
