"""Trains autoencoder, then denoisers, as planned; continues where it was stopped."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from longtake import config, run_folder
from longtake.checkpoint import write_text
from longtake.data.prepare import PrepareSettings, prepare, read_manifest
from longtake.distributed import Ranks
from longtake.page.document import duration
from longtake.page.run_page import followed
from longtake.pipeline.calibration import with_settings
from longtake.pipeline.decision import CONFIGS, STEPS, Decision, overrides_setting
from longtake.pipeline.footage import is_large, left_out, survey
from longtake.pipeline.output import Output
from longtake.pipeline.pace import Pace
from longtake.pipeline.page import write_stages_page
from longtake.pipeline.plan import Clock, Plan, PlannedResults
from longtake.pipeline.results import (
    CARD,
    MODEL,
    measure_model,
    planned_results,
    reconstruction_psnr,
    write_card,
    write_model,
    write_samples,
)
from longtake.pipeline.stages import RUNS, Stage, rule, stages_of
from longtake.pipeline.systems import SYSTEMS
from longtake.runs import AnyRun, Callbacks, DiffusionRun
from longtake.training.config import Schedule
from longtake.training.trainer import TrainingProgress

RESULTS, FOOTAGE = "results", "footage"
PREPARE_SHARE = 0.15
GOOD_PSNR = 24.0  # dB of an autoencoder's reconstructions, in which a face can be recognised


class Training:
    """Carries out a training in stages (autoencoder, then denoisers) in a folder.

    Args:
        plan: what the user asked for, and what was found and decided.
        out: folder that holds plan, runs and results.
        ranks: the processes of the training.
        output: shows progress.
        overrides: ``a.b=value`` changes of a run's settings by the name of its stage, and of the
            planned results by ``results``.
    """

    def __init__(
        self,
        plan: Plan,
        out: Path,
        ranks: Ranks,
        output: Output,
        overrides: Mapping[str, Sequence[str]],
    ) -> None:
        self._plan, self._out, self._ranks, self._output = plan, out, ranks, output
        self._overrides = overrides
        self.stages = stages_of(plan, out)
        self._clock = Clock(out)

    def execute(self) -> None:
        """Train the runs, then sample videos and evaluate, except what is done already.

        Raises:
            ConfigError: an override changes a run that is done and from which another began.
        """
        if (self._out / MODEL / CARD).exists() and not self._overrides:
            return  # the card is written last
        self._prepare()
        self._judge_autoencoder()
        self._output.say(rule(self._plan.budget_seconds, self.stages))
        done = [stage for stage in self.stages if self._run_folder(stage).exists()][:-1]
        for stage in done:
            self._refuse_change(stage)
        try:
            for number, stage in enumerate(self.stages, 1):
                if stage in done:  # the next one began from its model
                    continue
                self._train(stage, f"stage {number} of {len(self.stages)}, {stage.name}")
            self._finish()
        finally:
            self._clock.save(now=True)
            self._write_page(False)

    def _refuse_change(self, stage: Stage) -> None:
        """Raise a ConfigError if an override would change a stage that is done."""
        path, own = self._config_path(stage), self._overrides.get(stage.name, ())
        if own and config.load(path, AnyRun, own).settled() != config.load(path, AnyRun):
            raise config.ConfigError(
                f"{stage.name}.{own[0]} comes too late: {stage.name} is done, and the next stage "
                "began from its model; train in another folder, or leave the override out"
            )

    def _prepare(self) -> None:
        """Convert large footage to small files, one per scene, within 15 % of the time budget."""
        plan, place = self._plan, self._out / FOOTAGE
        if plan.prepared is not None:
            return
        if read_manifest(Path(plan.given)) or not is_large(Path(plan.given), plan.size):
            self._keep(prepared=False)
            return
        deadline = time.time() + PREPARE_SHARE * plan.budget_seconds
        with self._output.bar("prepare", "videos") as report:
            settings = PrepareSettings(size=plan.size)
            videos = prepare(Path(plan.given), place, settings, deadline=deadline, report=report)
        for line in left_out(videos, PREPARE_SHARE):
            self._output.say(line)
        try:
            footage = survey(place, SYSTEMS[plan.system], plan.denoisers)
        except ValueError as error:
            self._output.say(f"{error}; the videos are read as they are")
            self._keep(prepared=False)
            return
        self._keep(prepared=True, footage=footage)
        self.stages = stages_of(self._plan, self._out)
        for line in footage.lines():
            self._output.say(line)

    def _judge_autoencoder(self) -> None:
        """Decide whether the autoencoder is trained: not if it is good and the time is short."""
        plan = self._plan
        if plan.tuned is not None:
            return
        psnr = reconstruction_psnr(plan, self._ranks.device)
        every, without = (
            {stage.name for stage in stages_of(plan, self._out, tuned)} for tuned in (True, False)
        )
        asked = self._overrides.keys() & (every - without)
        self._keep(start_psnr=psnr, tuned=bool(asked) or psnr < GOOD_PSNR)
        self.stages = stages_of(self._plan, self._out)
        does = "it is trained further" if self._plan.tuned else "it is used as it is"
        self._output.say(
            f"{plan.init_from} reconstructs held-out clips at {psnr:.1f} dB PSNR ({GOOD_PSNR:g} "
            f"are enough for a short training): {does}"
        )

    def _train(self, stage: Stage, title: str) -> None:
        with self._output.training(title) as shown:
            run = self._config_of(stage, shown)
            planned = self._plan.stages[stage.name]
            left = duration(max(self._plan.budget_seconds - self._clock.seconds, 0))
            where = self._config_path(stage)
            steps = config.plural(planned.steps, "step")
            self._output.say(f"{title}: {steps}; {left} left in all; config {where}")
            follow = self._ticking(stage, run, shown.training)
            with followed(self._write_page, follow) as report:
                callbacks = replace(shown, training=report)
                run_folder.start(run, self._run_folder(stage), self._ranks, callbacks)

    def _config_of(self, stage: Stage, shown: Callbacks) -> AnyRun:
        """Config of a run, as an earlier start wrote it, or decided now by trial runs; writes it.

        ``shown`` reports progress of the trial runs.
        """
        path, own = self._config_path(stage), self._overrides.get(stage.name, ())
        if path.exists() and stage.name in self._plan.stages:
            run = config.load(path, AnyRun, own)
            steps = {"steps": run.training.steps}
            planned = self._plan.stages[stage.name].model_copy(update=steps)
        else:
            run, planned = Decision(
                stage=stage,
                stages=self.stages,
                plan=self._plan,
                out=self._out,
                ranks=self._ranks,
                output=self._output,
                clock=self._clock,
                own=own,
                shown=shown,
            ).decide()
        run = run.settled()
        self._keep(stages={**self._plan.stages, stage.name: planned})
        path.parent.mkdir(exist_ok=True)
        write_text(path, config.to_yaml(run))
        return run

    def _finish(self) -> None:
        """Write the model's folder, long videos, evaluations and the model card."""
        out, last = self._out, self.stages[-1]
        model = write_model(self._run_folder(last), out, self._ranks.device)
        results = self._plan.results or self._results(last)
        own = self._overrides.get(RESULTS, ())
        results = config.changed(PlannedResults, results, own)
        self._keep(results=results)
        write_samples(model, out, results, self._output.bar)
        self._tick()
        self._write_page(True)
        measure_model(model, out, self._plan, results.clips, self._ranks, self._output.bar)
        self._clock.save(now=True)
        write_card(model, out, self._plan)

    def _results(self, last: Stage) -> PlannedResults:
        run = config.load(self._out / CONFIGS / f"{last.name}.yaml", DiffusionRun)
        left = self._plan.budget_seconds - self._clock.seconds
        frames = run.preview_frames * run.num_previews
        planned = self._plan.stages[last.name]
        return planned_results(self._plan, planned, max(left, 0.0), frames, self._ranks.device)

    def _keep(self, **changes: Any) -> None:
        self._plan = self._plan.model_copy(update=changes)
        self._plan.write(self._out)

    def _tick(self) -> None:
        self._clock.save()

    def _ticking(
        self,
        stage: Stage,
        run: AnyRun,
        report: Callable[[TrainingProgress], Schedule | None],
    ) -> Callable[[TrainingProgress], Schedule | None]:
        """Callback of logging steps that stores the time spent and calls ``report``.

        Unless the number of steps was given, the callback adapts it so that the run ends in time.
        """
        own, ends = self._overrides.get(stage.name, ()), self._plan.stages[stage.name].ends
        pace = None
        if ends is not None and not overrides_setting(own, STEPS):
            changed = partial(self._reschedule, stage, run)
            pace = Pace(run.training, ends, lambda: self._clock.seconds, changed)

        def follow(at: TrainingProgress) -> Schedule | None:
            self._tick()
            report(at)
            return pace(at) if pace else None

        return follow

    def _reschedule(self, stage: Stage, run: AnyRun, end: Schedule) -> None:
        """Write a run's new number of steps and of cooldown steps into its configs and the plan."""
        settings = {f"training.{name}": value for name, value in end._asdict().items()}
        text = config.to_yaml(with_settings(run, settings))
        for path in (self._config_path(stage), self._run_folder(stage) / run_folder.CONFIG):
            write_text(path, text)
        planned = self._plan.stages[stage.name].model_copy(update={"steps": end.steps})
        self._keep(stages={**self._plan.stages, stage.name: planned})

    def _write_page(self, running: bool) -> None:
        write_stages_page(self._out, self.stages, running)

    def _config_path(self, stage: Stage) -> Path:
        return self._out / CONFIGS / f"{stage.name}.yaml"

    def _run_folder(self, stage: Stage) -> Path:
        return self._out / RUNS / stage.name
