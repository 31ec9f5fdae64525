"""The trainer: accumulation, EMA, logging, checkpoints, interruption, resume, for any method."""

import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from longtake.distributed import Ranks, full_tensor
from longtake.training import checkpoint
from longtake.training.adamw import AdamW
from longtake.training.config import TrainingConfig
from longtake.training.ema import EMA
from longtake.training.log import Log
from longtake.training.methods.base import Method, Phase

REMEDY = (
    "start a new run with a lower training.optimizer.lr or with training.optimizer.clip_norm; to "
    "begin it from good weights, run this one again with training.steps=(its last checkpoint) and "
    "name its folder as init_from"
)


class Interrupted(Exception):  # noqa: N818 (an interruption is not an error)
    """The run was asked to stop, and has written a checkpoint."""

    def __init__(self, step: int, folder: Path) -> None:
        super().__init__(f"stopped at step {step}; saved in {folder}")
        self.step, self.folder = step, folder


class TrainingProgress(NamedTuple):
    """Progress of a run at a logging step."""

    step: int
    steps: int
    samples_per_second: float
    values: dict[str, float]


class Trainer:
    """Trains by a method, from the run's last checkpoint if it has one, and exports the result.

    Args:
        method: networks, losses and data.
        settings: settings of the training loop.
        folder: folder of the run.
        ranks: processes of the job.
        preview: writes previews of the current weights into a folder and returns measures to log.
        export: writes the model folder of the current weights, replacing an old one.
        report: called at each logging step.
    """

    def __init__(
        self,
        method: Method,
        settings: TrainingConfig,
        folder: Path,
        ranks: Ranks,
        *,
        preview: Callable[[Path], Mapping[str, float]],
        export: Callable[[Path], None],
        report: Callable[[TrainingProgress], None] = lambda _: None,
    ) -> None:
        self._method, self._settings, self._folder, self._ranks = method, settings, folder, ranks
        self._write_preview, self._write_model, self._report = preview, export, report
        for module in (method.module, *method.frozen):
            module.to(ranks.device)
        for phase in method.phases:
            ranks.parallelize(phase.module, phase.methods)
        ema = settings.ema
        self._state = checkpoint.TrainState(
            step=0,
            method=method,
            optimizers={phase.name: _optimizer(phase) for phase in method.phases},
            ema=ema and EMA(method.exported.parameters(), decay=ema.decay, warmup=ema.warmup),
        )
        self._log: Log | None = None
        self._logged_step, self._logged_time = 0, 0.0

    @property
    def step(self) -> int:
        """Number of steps done."""
        return self._state.step

    def fit(self) -> None:
        """Train to the end, and export the model.

        Raises:
            Interrupted: SIGINT or SIGTERM arrived; a checkpoint was written first.
            FloatingPointError: the loss is not a number, or the monitor has found a collapse; if
                it knows of a good checkpoint, that has been exported.
        """
        self.resume()
        try:
            self._train()
        except FloatingPointError as error:
            if self._last_good_step is None:
                raise
            raise FloatingPointError(f"{error}; {self._rescue()}") from error
        self.export()

    def resume(self) -> None:
        """Continue from the run's last checkpoint, if there is one."""
        if found := checkpoint.latest(self._folder):
            checkpoint.load(found, self._state)

    def _train(self) -> None:
        settings, first = self._settings, self.step
        with _stop_signals(self._ranks) as stop, self._logging():
            self._logged_step, self._logged_time = first, time.perf_counter()
            batches = self._method.batches(first)
            while not self._done:
                values = self.train_step(next(batches))
                if self.step % settings.log_every == 0 or self._done:
                    self._log_step(values)
                if settings.sample_every and (self.step % settings.sample_every == 0 or self._done):
                    self.preview()
                stopping = self._ranks.any_rank(stop.is_set())
                if self.step % settings.save_every == 0 or self._done or stopping:
                    self.save()
                if stopping and not self._done:
                    raise Interrupted(self.step, self._folder)

    @property
    def _done(self) -> bool:
        monitor = self._method.monitor
        return self.step >= self._settings.steps or bool(monitor and monitor.done(self.step))

    @property
    def _last_good_step(self) -> int | None:
        return self._method.monitor and self._method.monitor.last_good_step

    def train_step(self, batch: Sequence[Any]) -> dict[str, Tensor]:
        """Train on the micro-batches of a step; returns values to log, of this rank."""
        values: dict[str, Tensor] = {}
        active = set()
        for micro in batch:
            for phase in self._method.phases:
                for name, value in self._backward(phase, micro, len(batch)).items():
                    active.add(phase.name)
                    values[name] = values.get(name, 0) + value.detach() / len(batch)
        for phase in self._method.phases:
            if phase.name in active:
                self._update(phase, values)
        if self._state.ema:
            self._state.ema.update()
        self._state.step += 1
        if self._method.monitor:
            self._method.monitor.observe(self.step, [micro.statistics for micro in batch])
        return values

    def _backward(self, phase: Phase, micro: Any, parts: int) -> Mapping[str, Tensor]:
        """Add gradients of a phase; returns its loss and parts, nothing while it is inactive."""
        module = self._method.module
        with _frozen_except(module, phase.module), _autocast(module, self._settings):
            loss = phase.loss(micro, self.step)
            if loss is None:
                return {}
            (loss.total * (1 / parts)).backward()
        return {phase.log_key: loss.total, **loss.parts}

    def _update(self, phase: Phase, values: dict[str, Tensor]) -> None:
        config, optimizer = phase.optimizer, self._state.optimizers[phase.name]
        if config.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(phase.module.parameters(), config.clip_norm)
            values[f"gradient_norm_{phase.name}"] = full_tensor(norm.detach())
        scale = self._settings.learning_rate(self.step) / self._settings.optimizer.lr
        for group in optimizer.param_groups:
            group["lr"] = config.lr * scale
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def save(self) -> None:
        """Write a checkpoint and remove old ones.

        Raises:
            FloatingPointError: a weight is not finite.
        """
        if self._ranks.any_rank(not checkpoint.finite(self._method.module)):
            raise FloatingPointError(f"weights are not finite after step {self.step}; {REMEDY}")
        checkpoint.save(self._folder / f"step_{self.step:08d}", self._state, self._ranks)
        if self._ranks.main:
            checkpoint.prune(self._folder, self._settings.keep, self._last_good_step)

    def export(self) -> None:
        """Write the model folder, with the EMA weights if there are any."""
        with self._ema_weights():
            self._write_model(self._folder / "model")

    def preview(self) -> None:
        """Write previews with the EMA weights, and log their measures."""
        with self._ema_weights():
            self._method.module.eval()
            measures = self._write_preview(self._folder / "samples" / f"step_{self.step:08d}")
            self._method.module.train()
        if self._log:
            self._log.write(self.step, measures)
        self._ranks.barrier()

    def _rescue(self) -> str:
        """Export the last good checkpoint; returns a sentence about it."""
        good = checkpoint.last_up_to(self._folder, self._last_good_step)
        if good is None:
            return "no checkpoint had been saved before; lower training.save_every"
        self._ranks.reshard(self._method.module)
        checkpoint.load(good, self._state)
        self.export()
        return f"{self._folder / 'model'} is the model of the last good checkpoint, {good.name}"

    @contextmanager
    def _ema_weights(self) -> Generator[None]:
        """The EMA weights in place of the trained ones."""
        ema = self._state.ema
        if ema is None:
            yield
            return
        ema.swap()
        try:
            yield
        finally:
            self._ranks.reshard(self._method.exported)
            ema.swap()

    def _log_step(self, values: Mapping[str, Tensor]) -> None:
        """Log the means of a step's values over ranks: the only synchronization with the host."""
        settings = self._settings
        plain = {n: float(self._ranks.all_mean(value.float())) for n, value in values.items()}
        now = time.perf_counter()
        samples = (self.step - self._logged_step) * settings.batch
        rate = samples / max(now - self._logged_time, 1e-9)
        self._logged_step, self._logged_time = self.step, now
        for key in (phase.log_key for phase in self._method.phases):
            if key in plain and plain[key] != plain[key]:
                raise FloatingPointError(f"{key} is not a number at step {self.step}; {REMEDY}")
        if self._log:
            lr = settings.learning_rate(self.step - 1)
            extra = {"lr": lr, "samples_per_second": round(rate, 3)}
            self._log.write(self.step, {**plain, **extra})
        self._report(TrainingProgress(self.step, settings.steps, rate, plain))

    @contextmanager
    def _logging(self) -> Generator[None]:
        if not self._ranks.main:
            yield
            return
        tensorboard = self._settings.tensorboard
        log = Log(self._folder, first_step=self.step, tensorboard=tensorboard)
        with closing(log) as self._log:
            yield
        self._log = None


def _optimizer(phase: Phase) -> torch.optim.Optimizer:
    config = phase.optimizer
    return AdamW(
        phase.module.parameters(),
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


@contextmanager
def _frozen_except(module: nn.Module, part: nn.Module) -> Generator[None]:
    """Gradients for one part of a module only."""
    own = {id(p) for p in part.parameters()}
    others = [p for p in module.parameters() if id(p) not in own and p.requires_grad]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _autocast(module: nn.Module, settings: TrainingConfig) -> torch.autocast:
    device = next(module.parameters()).device.type
    enabled = settings.precision == "bfloat16" or (
        settings.precision == "auto" and device == "cuda"
    )
    return torch.autocast(device, torch.bfloat16, enabled=enabled)


@contextmanager
def _stop_signals(ranks: Ranks) -> Generator[threading.Event]:
    """SIGINT and SIGTERM ask for a stop after the current step; a second SIGINT stops at once.

    Under torchrun it does not: one Ctrl-C arrives twice, from the terminal and from torchrun,
    which itself kills what takes too long.
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
