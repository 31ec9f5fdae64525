"""The trainer: accumulation, EMA, logging, checkpoints, interruption, resume, for any method."""

import math
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from longtake.distributed import Ranks
from longtake.interruption import Arrived, deferred
from longtake.training import checkpoint
from longtake.training.adamw import AdamW
from longtake.training.config import Schedule, TrainingConfig
from longtake.training.ema import EMA
from longtake.training.log import Log
from longtake.training.methods.base import Method
from longtake.training.restore import restore
from longtake.training.step import train_step
from longtake.training.writer import Writer
from longtake.video import VideoError

REMEDY = "start a new run with a lower training.optimizer.lr or with training.optimizer.clip_norm"
VALIDATION_LOSS = "validation_loss"
"""Name of the loss on held-out clips among the measures of a preview."""

GOOD_WEIGHTS = (
    "to begin the new run from good weights, run this one again with training.steps=(the step of "
    "its last checkpoint) and set init_from of the new run to this one's folder"
)


class Interrupted(Exception):  # noqa: N818 (an interruption is not an error)
    """The run was asked to stop, and has written a checkpoint.

    ``exit_code`` is 128 plus the number of the signal that asked, as shells report it.
    """

    exit_code = 128 + signal.SIGINT


class TrainingProgress(NamedTuple):
    """Progress of a run, reported at each logging step.

    Attributes:
        step: number of steps done.
        steps: number of steps of the whole run.
        samples_per_second: training samples per second since the last logging step, over all ranks.
        values: losses and other logged values by name.
    """

    step: int
    steps: int
    samples_per_second: float
    values: dict[str, float]


class Trainer:
    """Trains a ``Method`` from the run's last checkpoint, if there is one, and exports the model.

    Args:
        method: networks, losses and data.
        settings: settings of the training loop.
        folder: the run's folder.
        ranks: the processes of the run.
        preview: writes previews made with the networks' current weights into the folder that it
            gets, ``samples/step_N`` of the run, and returns measures to log. Where their
            ``validation_loss`` is the lowest so far, the model is exported to ``models/best``.
        evaluate: measures the networks' current weights and returns values to log.
        export: writes a model folder with the networks' current weights, replacing an old one.
        report: called at each logging step; returns another end of the run, or None.
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
        evaluate: Callable[[], Mapping[str, float | str]] = dict,
        report: Callable[[TrainingProgress], Schedule | None] = lambda _: None,
    ) -> None:
        self._evaluate = evaluate
        self._method, self._settings, self._folder, self._ranks = method, settings, folder, ranks
        self._write_preview, self._write_model, self._report = preview, export, report
        for module in (method.module, *method.frozen):
            module.to(ranks.device)
        for phase in method.phases:
            parameters = sum(p.numel() for p in phase.module.parameters())
            shards = settings.shards_of(parameters, ranks)
            ranks.parallelize(phase.module, shards, phase.methods)
        ema = settings.ema
        options = {p.name: p.optimizer.model_dump(exclude={"clip_norm"}) for p in method.phases}
        self._state = checkpoint.TrainState(
            step=0,
            method=method,
            optimizers={
                phase.name: AdamW(phase.module.parameters(), fused=True, **options[phase.name])
                for phase in method.phases
            },
            ema=ema and EMA(method.exported.parameters(), decay=ema.decay, warmup=ema.warmup),
        )
        self._writer = Writer(ranks, settings.background_gb)
        self._log = Log(None)
        self._logged_step, self._logged_time = 0, 0.0

    @property
    def step(self) -> int:
        """Number of training steps done."""
        return self._state.step

    def fit(self) -> None:
        """Train to the end and export the model.

        Raises:
            CheckpointError: there are checkpoints, but none is complete or fits the run.
            Interrupted: SIGINT, SIGTERM or SIGHUP arrived, or another process cannot read its
                videos; a checkpoint was written first.
            VideoError: too many videos cannot be read; a checkpoint was written first.
            FloatingPointError: the loss is not finite, or the monitor found a collapse. If it knows
                a last good step, the model of the last checkpoint up to it has been exported.
        """
        if found := checkpoint.newest(self._folder, self._ranks):
            restore(found, self._state)
            self._prune()  # a kill may have come before it
        try:
            self._train()
        except FloatingPointError as error:
            rescued = GOOD_WEIGHTS if self._last_good_step is None else self._rescue()
            raise FloatingPointError(f"{error}; {rescued}") from error
        finally:
            self._writer.close()

    def _train(self) -> None:
        settings, ranks = self._settings, self._ranks
        log = Log(self._folder if ranks.main else None, self.step, settings.tracker)
        # Under torchrun, one Ctrl-C arrives twice, from the terminal and from torchrun, which
        # itself kills what takes too long: there a second one does not stop at once.
        with deferred(insist=ranks.size == 1) as asked, closing(log) as self._log:
            self._logged_step, self._logged_time = self.step, time.perf_counter()
            batches = self._method.batches(self.step)
            batch, fault = self._drawn(batches)
            if fault is not None:
                raise fault
            while not self._done:
                self._carry_out(batch)
                batch, fault = self._drawn(batches)
                stopping = ranks.any_rank(asked.number is not None or fault is not None)
                if self.step % settings.save_every == 0 or self._done or stopping:
                    self.save()
                if self._done:
                    break
                if stopping or (settings.export_every and self.step % settings.export_every == 0):
                    self.export()
                if stopping:
                    self._writer.wait()
                    raise self._interrupted(asked) if fault is None else self._stopped_by(fault)
            self._writer.wait()
            self.export()
            if ranks.any_rank(asked.number is not None):  # in the last step
                raise self._interrupted(asked)

    def _drawn(self, batches: Iterator[Sequence[Any]]) -> tuple[Sequence[Any], VideoError | None]:
        """The next step's batch, or the error that prevents it; neither after the last step."""
        if self._done:
            return (), None
        try:
            return next(batches), None
        except VideoError as fault:
            return (), fault

    def _carry_out(self, batch: Sequence[Any]) -> None:
        """Train one step, then log, write previews and evaluate, each if it is due."""
        settings = self._settings
        values = train_step(self._state, settings, self._ranks, batch)
        if self.step % settings.log_every == 0 or self._done:
            self._log_step(values)
        if self._due(settings.sample_every):
            self.preview()
        if self._due(settings.evaluate_every):
            self.evaluate()

    def _stopped_by(self, fault: VideoError) -> VideoError:
        stopped = VideoError(f"{fault}; stopped at step {self.step}, saved in {self._folder}")
        stopped.__cause__ = fault
        return stopped

    def _interrupted(self, asked: Arrived) -> Interrupted:
        stopped = Interrupted(f"stopped at step {self.step}; saved in {self._folder}")
        stopped.exit_code = asked.exit_code
        return stopped

    @property
    def _done(self) -> bool:
        monitor = self._method.monitor
        return self.step >= self._settings.steps or bool(monitor and monitor.done(self.step))

    def _due(self, every: int) -> bool:
        """Whether an action that is due every ``every`` steps and after the last one is due now.

        For ``every=0`` it never is.
        """
        return every > 0 and (self.step % every == 0 or self._done)

    @property
    def _last_good_step(self) -> int | None:
        return self._method.monitor and self._method.monitor.last_good_step

    def save(self) -> None:
        """Write a checkpoint and remove old ones; FloatingPointError if weights are not finite."""
        if self._ranks.any_rank(not checkpoint.finite(self._method.module)):
            raise FloatingPointError(f"weights are not finite after step {self.step}; {REMEDY}")
        name, milestones = f"step_{self.step:08d}", self._settings.keep_every
        self._log.sync()
        if milestones and self.step % milestones == 0:
            self.export(f"models/{name}")  # first, as a run continues after its checkpoint
        self._writer.save(self._folder / name, self._state, then=self._prune)

    def _prune(self) -> None:
        if self._ranks.main:
            settings, good = self._settings, self._last_good_step
            checkpoint.prune(self._folder, settings.keep, good, settings.keep_every)

    def export(self, name: str = "model") -> None:
        """Write the model folder ``name`` of the run, with EMA weights if there is an EMA."""
        with self._ema_weights():
            self._write_model(self._folder / name)

    def preview(self) -> None:
        """Write previews, made with EMA weights if there is an EMA, and log their measures."""
        folder = self._folder / "samples" / f"step_{self.step:08d}"
        measures = self._log_measures(lambda: self._write_preview(folder))
        self._log.videos(self.step, folder)
        self._export_best(measures.get(VALIDATION_LOSS))

    def _export_best(self, loss: float | str | None) -> None:
        """Export ``models/best`` if ``loss``, on held-out clips, is the run's lowest so far.

        None: it was not measured.
        """
        lowest = isinstance(loss, float) and loss < self._log.lowest(VALIDATION_LOSS, self.step)
        if self._ranks.any_rank(self._ranks.main and lowest):
            self.export("models/best")

    def evaluate(self) -> None:
        """Measure the model, with EMA weights if there is an EMA, and log the result."""
        self._log_measures(self._evaluate)

    def _log_measures(
        self, measure: Callable[[], Mapping[str, float | str]]
    ) -> Mapping[str, float | str]:
        with self._ema_weights():
            self._method.module.eval()
            measures = measure()
            self._method.module.train()
        if measures:
            self._log.write(self.step, measures)
        self._ranks.barrier()
        return measures

    def _rescue(self) -> str:
        """Export the last good checkpoint, if there is one; return a sentence about it."""
        self._writer.wait()
        good = checkpoint.last_up_to(self._folder, self._last_good_step)
        if good is None:
            return "no checkpoint had been saved before; lower training.save_every"
        self._ranks.reshard(self._method.module)
        restore(checkpoint.read(good), self._state)
        self.export()
        return (
            f"{self._folder / 'model'} is the model of the last good checkpoint, {good.name}; name "
            "it as init_from to begin with its weights"
        )

    @contextmanager
    def _ema_weights(self) -> Generator[None]:
        """Exchange the trained weights for the EMA weights, if there are any, within ``with``."""
        ema = self._state.ema
        if ema:
            ema.swap()
        try:
            yield
        finally:
            if ema:
                self._ranks.reshard(self._method.exported)
                ema.swap()

    def _log_step(self, values: Mapping[str, Tensor]) -> None:
        """Log the means of a step's values over ranks: the only synchronization with the host.

        FloatingPointError if a loss is NaN.
        """
        settings = self._settings
        plain = {n: float(self._ranks.all_mean(value.float())) for n, value in values.items()}
        now, samples = time.perf_counter(), (self.step - self._logged_step) * settings.batch
        rate = samples / max(now - self._logged_time, 1e-9)
        self._logged_step, self._logged_time = self.step, now
        for phase in self._method.phases:
            if math.isnan(plain.get(phase.log_key, 0.0)):
                name = phase.log_key
                raise FloatingPointError(f"{name} is not a number at step {self.step}; {REMEDY}")
        rates = {"lr": settings.learning_rate(self.step - 1), "samples_per_second": round(rate, 3)}
        self._log.write(self.step, {**plain, **rates})
        if end := self._report(TrainingProgress(self.step, settings.steps, rate, plain)):
            self._settings = settings.model_copy(update=end._asdict())
