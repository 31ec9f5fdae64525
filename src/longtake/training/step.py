"""One training step: gradients of its micro-batches, then an update of each phase's weights."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from longtake.distributed import Ranks, full_tensor
from longtake.training.checkpoint import TrainState
from longtake.training.config import TrainingConfig
from longtake.training.methods.base import Phase


def train_step(
    state: TrainState, settings: TrainingConfig, ranks: Ranks, batch: Sequence[Any]
) -> dict[str, Tensor]:
    """Train on this rank's micro-batches of one step, in place; return its values to log by name.

    Args:
        state: networks, optimizers, EMA and the number of steps done.
        settings: settings of the training loop.
        ranks: the processes of the run.
        batch: micro-batches of the step, as the method's ``batches`` yields them.
    """
    method = state.method
    values: dict[str, Tensor] = {}
    active = set()
    for micro in batch:
        for phase in method.phases:
            found = _backward(state, settings, ranks, phase, micro, len(batch))
            for name, value in found.items():
                active.add(phase.name)
                values[name] = values.get(name, 0) + value.detach() / len(batch)
    for phase in method.phases:
        if phase.name in active:
            _update(state, settings, phase, values)
    if state.ema:
        state.ema.update()
    state.step += 1
    if method.monitor:
        method.monitor.observe(state.step, [micro.statistics for micro in batch])
    return values


def _backward(
    state: TrainState, settings: TrainingConfig, ranks: Ranks, phase: Phase, micro: Any, parts: int
) -> Mapping[str, Tensor]:
    """Add a phase's gradients of one of ``parts`` micro-batches; return loss and its parts.

    Return nothing while the phase is inactive.
    """
    device, precision = ranks.device.type, settings.precision
    half = precision == "bfloat16" or (precision == "auto" and device == "cuda")
    cast = torch.autocast(device, torch.bfloat16, enabled=half)
    with _frozen_except(state.method.module, phase.module), cast:
        loss = phase.loss(micro, state.step)
        if loss is None:
            return {}
        (loss.total * (1 / parts)).backward()
    return {phase.log_key: loss.total, **loss.parts}


def _update(
    state: TrainState, settings: TrainingConfig, phase: Phase, values: dict[str, Tensor]
) -> None:
    """Update a phase's weights by their gradients, whose norm is added to ``values`` if clipped."""
    config, optimizer = phase.optimizer, state.optimizers[phase.name]
    if config.clip_norm is not None:
        norm = nn.utils.clip_grad_norm_(phase.module.parameters(), config.clip_norm)
        values[f"gradient_norm_{phase.name}"] = full_tensor(norm.detach())
    scale = settings.learning_rate(state.step) / settings.optimizer.lr
    for group in optimizer.param_groups:
        group["lr"] = config.lr * scale
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@contextmanager
def _frozen_except(module: nn.Module, part: nn.Module) -> Generator[None]:
    """Let only the parameters of ``part`` of a module get gradients, within ``with``."""
    others = {p for p in module.parameters() if p.requires_grad} - set(part.parameters())
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
