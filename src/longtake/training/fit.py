"""The one training loop: accumulation, averaging, logging, checkpoints, interruption, resume."""

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from longtake.distributed import Ranks, full_tensor
from longtake.training import checkpoint as state
from longtake.training.adamw import AdamW
from longtake.training.config import OptimizerConfig, TrainingConfig
from longtake.training.ema import EMA
from longtake.training.log import Log
from longtake.training.stage import Phase, Stage
from longtake.training.watch import Unwatched, Watch

REMEDY = (
    "start a new run with a lower training.optimizer.lr or with training.optimizer.clip_norm; this "
    "one with training.steps=(its last checkpoint) writes a model that start= takes"
)


class Interrupted(Exception):  # noqa: N818 (an interruption is no error)
    """The run was asked to stop and has saved itself."""

    def __init__(self, step: int, folder: Path) -> None:
        super().__init__(f"stopped at step {step}; saved in {folder}")
        self.step, self.folder = step, folder


class Progress(NamedTuple):
    """How far a run is."""

    step: int
    steps: int
    samples_per_second: float
    values: dict[str, float]


def fit(
    stage: Stage,
    settings: TrainingConfig,
    run: Path,
    ranks: Ranks,
    report: Callable[[Progress], None] = lambda _: None,
    watch: Watch | None = None,
) -> None:
    """Train a stage to its last step, from its last checkpoint if it has one, and export it.

    Raises:
        Interrupted: SIGINT or SIGTERM came; a checkpoint was written first.
        FloatingPointError: the loss is no number any more, or the watch has seen ruin; where the
            watch knows of a sound checkpoint, that has been exported.
    """
    watch = watch or Unwatched()
    for phase in stage.phases:
        ranks.parallelize(phase.module, phase.methods)
    optimizers = {p.name: _optimizer(p) for p in stage.phases}
    average = settings.ema and EMA(
        stage.averaged.parameters(),
        decay=settings.ema.decay,
        warmup=settings.ema.warmup,
    )
    found = state.latest(run)
    step = state.load(found, stage, optimizers, average, watch) if found else 0
    try:
        _train(stage, settings, optimizers, average, step, run, ranks, report, watch)
    except FloatingPointError as error:
        if watch.trusted is None:
            raise
        rescued = _rescue(stage, optimizers, average, run, ranks, watch)
        raise FloatingPointError(f"{error}; {rescued}") from error
    with _averaged(average, stage, ranks):
        stage.export(run / "model")


def _train(  # noqa: PLR0913
    stage: Stage,
    settings: TrainingConfig,
    optimizers: state.Optimizers,
    average: EMA | None,
    step: int,
    run: Path,
    ranks: Ranks,
    report: Callable[[Progress], None],
    watch: Watch,
) -> None:
    with _stop_signals(ranks) as stop, _log(run, step, settings, ranks) as log:
        meter = _Meter(step)
        remaining = 0 if watch.done(step) else settings.steps - step
        for batch in _until(stage.batches(step), remaining):
            values = _step(stage, settings, optimizers, batch, step)
            if average:
                average.update()
            step += 1
            watch.observe(step, values)
            last = step == settings.steps or watch.done(step)
            if step % settings.log_every == 0 or last:
                progress = meter.read(step, settings, values, ranks)
                log(step, progress)
                report(progress)
            if settings.sample_every and (step % settings.sample_every == 0 or last):
                _look(stage, average, run / "samples" / f"step_{step:08d}", step, log, ranks)
            stopping = ranks.any_rank(stop.is_set())
            if step % settings.save_every == 0 or last or stopping:
                _save(stage, optimizers, average, run, step, settings.keep, ranks, watch)
            if last:
                return
            if stopping:
                raise Interrupted(step, run)


def _save(
    stage: Stage,
    optimizers: state.Optimizers,
    average: EMA | None,
    run: Path,
    step: int,
    keep: int,
    ranks: Ranks,
    watch: Watch,
) -> None:
    if ranks.any_rank(not state.finite(stage.module)):
        raise FloatingPointError(f"weights are no numbers after step {step}; {REMEDY}")
    state.save(run / f"step_{step:08d}", step, stage, optimizers, average, ranks, watch)
    if ranks.main:
        state.prune(run, keep, watch.trusted)


def _rescue(
    stage: Stage,
    optimizers: state.Optimizers,
    average: EMA | None,
    run: Path,
    ranks: Ranks,
    watch: Watch,
) -> str:
    """Export the last sound checkpoint; says which it was."""
    sound = state.last_up_to(run, watch.trusted)
    if sound is None:
        return "no checkpoint had been saved before; lower training.save_every"
    ranks.reshard(stage.module)
    state.load(sound, stage, optimizers, average, watch)
    with _averaged(average, stage, ranks):
        stage.export(run / "model")
    return f"{run / 'model'} is the model of the last sound checkpoint, {sound.name}"


def _step(
    stage: Stage,
    settings: TrainingConfig,
    optimizers: state.Optimizers,
    batch: Sequence[Any],
    step: int,
) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}
    active = set()
    for micro in batch:
        for phase in stage.phases:
            parts = _backward(stage, phase, settings, micro, step, 1 / len(batch))
            if parts is not None:
                active.add(phase.name)
                for name, value in parts.items():
                    values[name] = values.get(name, 0) + value.detach() / len(batch)
    for phase in stage.phases:
        if phase.name in active:
            _update(phase, optimizers[phase.name], settings, step, values)
    return values


def _backward(
    stage: Stage, phase: Phase, settings: TrainingConfig, micro: Any, step: int, share: float
) -> dict[str, Tensor] | None:
    with _only_trains(stage.module, phase.module), _precision(stage.module, settings):
        loss = phase.loss(micro, step)
        if loss is None:
            return None
        (loss.total * share).backward()
    return {"loss" if phase.name == "main" else f"loss_{phase.name}": loss.total, **loss.parts}


def _update(
    phase: Phase,
    optimizer: torch.optim.Optimizer,
    settings: TrainingConfig,
    step: int,
    values: dict[str, Tensor],
) -> None:
    config = phase.optimizer
    if config.clip_norm is not None:
        norm = nn.utils.clip_grad_norm_(phase.module.parameters(), config.clip_norm)
        values[f"gradient_norm_{phase.name}"] = full_tensor(norm.detach())
    scale = settings.learning_rate(step) / settings.optimizer.lr
    for group in optimizer.param_groups:
        group["lr"] = config.lr * scale
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _optimizer(phase: Phase) -> torch.optim.Optimizer:
    config: OptimizerConfig = phase.optimizer
    return AdamW(
        phase.module.parameters(),
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _look(
    stage: Stage, average: EMA | None, folder: Path, step: int, log: Any, ranks: Ranks
) -> None:
    with _averaged(average, stage, ranks):
        stage.module.eval()
        measures = dict(stage.look(folder))
        stage.module.train()
    log.measures(step, measures)
    ranks.barrier()


@contextmanager
def _averaged(average: EMA | None, stage: Stage, ranks: Ranks) -> Generator[None]:
    """Averaged weights in place of the raw ones."""
    if average is None:
        yield
        return
    average.swap()
    try:
        yield
    finally:
        ranks.reshard(stage.averaged)
        average.swap()


@contextmanager
def _only_trains(whole: nn.Module, part: nn.Module) -> Generator[None]:
    """Gradients for one part of a module only."""
    own = {id(p) for p in part.parameters()}
    others = [p for p in whole.parameters() if id(p) not in own and p.requires_grad]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _precision(module: nn.Module, settings: TrainingConfig) -> torch.autocast:
    device = next(module.parameters()).device.type
    wanted = settings.precision == "bfloat16" or (settings.precision == "auto" and device == "cuda")
    return torch.autocast(device, torch.bfloat16, enabled=wanted)


def _until(batches: Iterator[Any], count: int) -> Iterator[Any]:
    for _, batch in zip(range(count), batches, strict=False):
        yield batch


class _Meter:
    """Rate since the last reading, and the values as plain numbers: the only host sync."""

    def __init__(self, step: int) -> None:
        self._step, self._time = step, time.perf_counter()

    def read(
        self, step: int, settings: TrainingConfig, values: dict[str, Tensor], ranks: Ranks
    ) -> Progress:
        plain = {name: float(ranks.all_mean(value.float())) for name, value in values.items()}
        now = time.perf_counter()
        rate = (step - self._step) * settings.batch / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        for name, value in plain.items():
            if name.startswith("loss") and value != value:
                raise FloatingPointError(f"{name} is no number at step {step}; {REMEDY}")
        return Progress(step, settings.steps, rate, plain)


class _Writer:
    def __init__(self, log: Log | None, settings: TrainingConfig) -> None:
        self._log, self._settings = log, settings

    def __call__(self, step: int, progress: Progress) -> None:
        self.measures(
            step,
            {
                **progress.values,
                "lr": self._settings.learning_rate(step - 1),
                "samples_per_second": round(progress.samples_per_second, 3),
            },
        )

    def measures(self, step: int, values: dict[str, float]) -> None:
        if self._log is not None:
            self._log.write(step, values)


@contextmanager
def _log(run: Path, step: int, settings: TrainingConfig, ranks: Ranks) -> Generator[_Writer]:
    if not ranks.main:
        yield _Writer(None, settings)
        return
    with Log(run, first_step=step, tensorboard=settings.tensorboard) as log:
        yield _Writer(log, settings)


@contextmanager
def _stop_signals(ranks: Ranks) -> Generator[threading.Event]:
    """SIGINT and SIGTERM ask for a stop after this step; alone, a second SIGINT stops at once.

    Under torchrun it does not: one Ctrl-C comes twice, from the terminal and from torchrun, which
    kills by itself what takes too long.
    """
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT and ranks.size == 1:
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
