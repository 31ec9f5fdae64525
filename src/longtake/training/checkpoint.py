"""Checkpoints of a run: folders with all that a resume needs, complete or absent."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from longtake.training.methods.base import Method

STATE, WEIGHTS, AVERAGE = "state.json", "weights.safetensors", "ema.safetensors"


@dataclass(kw_only=True)
class TrainState:
    """Contents of a checkpoint.

    Attributes:
        step: number of steps done.
        method: trained networks, and the monitor.
        optimizers: optimizer of each phase, by the phase's name.
        ema: average of the exported weights; None for none.
    """

    step: int
    method: Method
    optimizers: Mapping[str, torch.optim.Optimizer]
    ema: EMA | None


def save(folder: Path, state: TrainState, ranks: Ranks) -> None:
    """Write a checkpoint. All ranks take part."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    method, ema = state.method, state.ema
    weights: dict[str, Any] = dict(get_model_state_dict(method.module, options=options))
    moments: dict[str, Any] = {
        name: get_optimizer_state_dict(method.module, optimizer, options=options)
        for name, optimizer in state.optimizers.items()
        if optimizer.state  # reading the state of an unused optimizer would initialize it
    }
    average: dict[str, Any] = {}
    if ema is not None:
        ema.swap()
        held: dict[str, Any] = get_model_state_dict(method.exported, options=options)
        average = {k: v.clone() for k, v in held.items()}  # on a CPU, the parameters' own memory
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
                write_tensors(partial / f"optimizer_{name}.safetensors", _flat(values["state"]))
            (partial / STATE).write_text(json.dumps(plain))
    ranks.barrier()


def load(folder: Path, state: TrainState) -> None:
    """Fill ``state`` from a checkpoint, of this version or of 0.1.

    Raises:
        CheckpointError: the checkpoint does not fit the networks.
    """
    stored = json.loads((folder / STATE).read_text())
    method, options = state.method, StateDictOptions(full_state_dict=True)
    if state.ema is not None:
        path = folder / AVERAGE
        former = folder / "average.safetensors"  # version 0.1
        _set_weights(method.exported, read_tensors(former if former.exists() else path), options)
        shadow = [p.detach().clone() for p in method.exported.parameters()]
        state.ema.load(shadow, stored["updates"])
    _set_weights(method.module, read_tensors(folder / WEIGHTS), options)
    for name, groups in stored["settings"].items():
        tensors = read_tensors(folder / f"optimizer_{name}.safetensors")
        moments: Any = {"state": _nested(tensors), "param_groups": groups}
        optimizer = state.optimizers[name]
        set_optimizer_state_dict(
            method.module, optimizer, optim_state_dict=moments, options=options
        )
        _match_layout(optimizer)
    followed = stored.get("monitor") or stored.get("watch")  # "watch" in version 0.1
    if followed and method.monitor is not None:
        method.monitor.restore(followed)
    state.step = stored["step"]


M = TypeVar("M", bound=nn.Module)


def unsharded(module: nn.Module, build: Callable[[], M]) -> M:
    """A copy on the CPU of a module that may be sharded. All ranks take part.

    Args:
        module: source of the weights.
        build: makes a module of the same architecture.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(module, options=options)
    copy = build()
    if weights:
        copy.load_state_dict(weights)
    return copy.eval()


def checkpoints(run: Path) -> Sequence[Path]:
    """Complete checkpoints of a run, oldest first."""
    return sorted(p for p in run.glob("step_*") if (p / STATE).exists())


def latest(run: Path) -> Path | None:
    """The last complete checkpoint of a run, or None."""
    return next(iter(reversed(checkpoints(run))), None)


def last_up_to(run: Path, step: int | None) -> Path | None:
    """The last complete checkpoint up to a step; None if there is none or ``step`` is None."""
    found = [p for p in checkpoints(run) if step is not None and _step(p) <= step]
    return found[-1] if found else None


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


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def _flat(moments: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Moments named ``parameter.moment``, e.g. ``conv.weight.exp_avg``."""
    return {f"{name}.{k}": v for name, own in moments.items() for k, v in own.items()}


def _nested(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Inverse of ``_flat``."""
    nested: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, moment = key.rsplit(".", 1)
        nested.setdefault(name, {})[moment] = value
    return nested


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the memory layout of their parameters, which fused optimizers rely on."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(value)


def _set_weights(module: nn.Module, weights: dict[str, Any], options: Any) -> None:
    try:
        set_model_state_dict(module, weights, options=options)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the run's config: {error}") from error
