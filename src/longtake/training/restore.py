"""Copies a stored checkpoint into the networks, optimizers and EMA of a training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from longtake.checkpoint import CheckpointError, check_finite
from longtake.training.checkpoint import (
    AVERAGE,
    WEIGHTS,
    Stored,
    TrainState,
    moments_file,
    parameters_of,
)

MOMENTS = frozenset({"step", "exp_avg", "exp_avg_sq"})
EARLIER = "remove the checkpoint's folder to continue from the one before it"
OF_THE_CONFIG = ("betas", "weight_decay")  # of an optimizer; the trainer sets the rate


def restore(stored: Stored, state: TrainState) -> None:
    """Copy a stored checkpoint into networks, optimizers, EMA and monitor of ``state``.

    Nothing is changed if a CheckpointError is raised.

    Raises:
        CheckpointError: a tensor is missing, not finite or has another shape; the message names it.
        ValueError: the monitor's state is broken or of other discriminators.
    """
    from torch.distributed.checkpoint import state_dict  # takes half a CPU second

    method, folder = state.method, stored.folder
    options = state_dict.StateDictOptions(full_state_dict=True)
    _check_fit(stored.weights, method.module, folder / WEIGHTS)
    if state.ema is not None and stored.average is not None:
        _check_fit(stored.average, method.exported, folder / AVERAGE)
    elif state.ema is not None and not stored.state.files:
        raise CheckpointError(f"{folder}: lacks the EMA of the weights, {AVERAGE}; {EARLIER}")
    if stored.state.step and not stored.moments:
        raise CheckpointError(f"{folder}: lacks the moments of every optimizer; {EARLIER}")
    for name in stored.moments:
        _check_moments(stored, name, state)
    if state.ema is not None and stored.average is not None:
        average: Any = stored.average
        state_dict.set_model_state_dict(method.exported, average, options=options)
        state.ema.load(stored.state.updates)
    weights: Any = stored.weights
    state_dict.set_model_state_dict(method.module, weights, options=options)
    if state.ema is not None and stored.average is None:  # the run that saved it kept no average
        state.ema.load(0)
    for name, moments in stored.moments.items():
        groups = [group.model_dump() for group in stored.state.settings[name]]
        optimizer, held = state.optimizers[name], {"state": moments, "param_groups": groups}
        own = [{key: group[key] for key in OF_THE_CONFIG} for group in optimizer.param_groups]
        state_dict.set_optimizer_state_dict(
            method.module, optimizer, optim_state_dict=held, options=options
        )
        for group, settings in zip(optimizer.param_groups, own, strict=True):
            group.update(settings)
        _match_layout(optimizer)
    if stored.state.monitor and method.monitor is not None:
        method.monitor.restore(stored.state.monitor)
    state.step = stored.state.step


def _check_fit(given: Mapping[str, Tensor], module: nn.Module, origin: Path) -> None:
    """Raise a CheckpointError unless tensors are finite, with names and shapes as in ``module``."""
    own = module.state_dict()
    fault = ""
    if missing := sorted(own.keys() - given.keys()):
        fault = f"lacks {missing[0]!r} (and {len(missing) - 1} more)"
    elif extra := sorted(given.keys() - own.keys()):
        fault = f"has an unknown {extra[0]!r} (and {len(extra) - 1} more)"
    elif misfits := sorted(name for name in own if own[name].shape != given[name].shape):
        found, expected = (tuple(held[misfits[0]].shape) for held in (given, own))
        fault = f"{misfits[0]!r} has shape {found}, expected {expected}"
    if fault:
        raise CheckpointError(f"the checkpoint does not fit the run's config: {origin}: {fault}")
    check_finite(given, origin)


def _check_moments(stored: Stored, name: str, state: TrainState) -> None:
    """Raise a CheckpointError unless ``stored`` has valid moments for the optimizer ``name``."""
    path, moments = stored.folder / moments_file(name), stored.moments[name]
    if name not in state.optimizers:
        raise CheckpointError(
            f"{path}: the checkpoint has an optimizer {name!r}, which the run's config lacks; it "
            f"has {' and '.join(state.optimizers)}. Continue with the config that was trained"
        )
    groups, shapes = stored.state.settings[name], dict(state.method.module.named_parameters())
    required = parameters_of(group.model_dump() for group in groups)
    if stored.state.unused is None:
        required &= moments.keys()
    else:
        required -= {*stored.state.unused.get(name, ())}
    for parameter in sorted(required | moments.keys()):
        own = moments.get(parameter, {})
        if parameter not in shapes:
            raise CheckpointError(
                f"{path}: has moments of {parameter!r}, which this run's networks do not "
                f"have; {EARLIER}"
            )
        if lacking := MOMENTS - own.keys():
            raise CheckpointError(f"{path}: lacks {parameter}.{min(lacking)}; {EARLIER}")
        shape = shapes[parameter].shape
        if any(own[moment].shape != shape for moment in MOMENTS - {"step"}):
            raise CheckpointError(
                f"{path}: moments of {parameter!r} are not of its shape, {tuple(shape)}; {EARLIER}"
            )
        check_finite({f"{parameter}.{moment}": own[moment] for moment in MOMENTS}, path)
        if own["exp_avg_sq"].min() < 0 or not own["step"].min() >= 0:
            raise CheckpointError(f"{path}: moments of {parameter!r} are negative; {EARLIER}")


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the memory layout of their parameters, which fused optimizers rely on."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(value)
