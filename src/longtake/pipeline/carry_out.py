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
from longtake.pipeline.calibration import (
    Speed,
    clips_to_encode,
    fitted,
    measure,
    scheduled,
    seconds_of_precisions,
    with_settings,
)
from longtake.pipeline.footage import is_large, left_out, survey
from longtake.pipeline.output import Output
from longtake.pipeline.pace import Pace
from longtake.pipeline.page import write_stages_page
from longtake.pipeline.plan import Clock, Plan, PlannedResults, PlannedStage
from longtake.pipeline.results import (
    CARD,
    FEWEST_CLIPS,
    MODEL,
    measure_model,
    planned_evaluations,
    planned_results,
    reconstruction_psnr,
    write_card,
    write_model,
    write_samples,
)
from longtake.pipeline.stages import RESERVE, RESULTS_SHARE, RUNS, WIDTHS, Stage, rule, stages_of
from longtake.pipeline.systems import SYSTEMS
from longtake.runs import AnyRun, Callbacks, DiffusionRun, read_run
from longtake.training.config import Schedule
from longtake.training.trainer import TrainingProgress

CONFIGS, TRIAL, RESULTS, FOOTAGE = "configs", ".calibration", "results", "footage"
CUDA_BATCH = 4
WIDER_COSTS = 4  # times the time of a step, of a network of twice the width
PREPARE_SHARE = 0.15
TRIAL_CLIPS = 16
STEPS, PRECISION = "training.steps", "training.precision"
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
            run, planned = self._decided(stage, own, shown)
        run = run.settled()
        self._keep(stages={**self._plan.stages, stage.name: planned})
        path.parent.mkdir(exist_ok=True)
        write_text(path, config.to_yaml(run))
        return run

    def _decided(
        self, stage: Stage, own: Sequence[str], shown: Callbacks
    ) -> tuple[AnyRun, PlannedStage]:
        """Choose the widest network that sees enough samples in its share of the time left.

        Returns its run's config, and its part of the plan. ``own`` are the stage's overrides,
        ``shown`` reports progress of trial runs.
        """
        begun, seconds = self._clock.seconds, self._seconds_for(stage)
        ends = begun + seconds
        if _given(own, STEPS):
            base = config.changed(AnyRun, self._base(stage, 1, {}), own)
            steps = base.training.steps
            run = with_settings(base, scheduled(base, steps, stage.cooldown))
            return config.changed(AnyRun, run, own), PlannedStage(
                width=1, seconds=seconds, steps=steps
            )
        clips = min(TRIAL_CLIPS, self._plan.footage.clips) if stage.encodes else 0
        chosen, (precision, precisions) = None, self._precision(stage, own, shown, clips)
        for width in WIDTHS if stage.wide else WIDTHS[:1]:
            base = config.changed(AnyRun, self._base(stage, width, precision), own)
            speed = measure(base, self._out / TRIAL, shown, clips)
            samples = seconds / speed.step * base.training.batch
            if chosen is not None and samples < stage.enough:
                break
            chosen = base, width, speed
            if samples < WIDER_COSTS * stage.enough:
                break
        assert chosen is not None
        base, width, speed = chosen
        left = max(ends - self._clock.seconds, 1.0)
        cached, encoding = clips_to_encode(self._plan.footage.clips, speed, left)
        times, measuring = self._evaluations(stage, base, speed, left - encoding)
        settings = {**fitted(base, speed, left - encoding - measuring, stage.cooldown), **cached}
        if times:
            every = -(-settings[STEPS] // times)
            settings |= {"training.evaluate_every": every, "evaluation.clips": FEWEST_CLIPS}
        run = config.changed(AnyRun, with_settings(base, settings), own)
        return run, PlannedStage(
            width=width,
            seconds=seconds,
            steps=run.training.steps,
            precisions=precisions,
            ends=ends - speed.preview,  # the last one is made after the last step
            **vars(speed),
        )

    def _precision(
        self, stage: Stage, own: Sequence[str], shown: Callbacks, clips: int
    ) -> tuple[Mapping[str, Any], dict[str, float]]:
        """The faster precision on this CPU, as a setting, and seconds of a step by precision.

        Both are empty on a GPU, and if the stage or ``own``, its overrides, sets the precision.
        ``clips`` is the number of clips that the trial runs encode, ``shown`` reports progress.
        """
        if not stage.half or _given(own, PRECISION) or self._ranks.device.type != "cpu":
            return {}, {}
        base = config.changed(AnyRun, self._base(stage, 1, {}), own)
        found = seconds_of_precisions(base, self._out / TRIAL, shown, clips)
        fastest = min(found, key=lambda name: found[name])
        times = " and ".join(f"{seconds:.3g} s in {name}" for name, seconds in found.items())
        self._output.say(f"{stage.name}: a step takes {times} of CPU time; {fastest} is used")
        return {PRECISION: fastest}, found

    def _evaluations(
        self, stage: Stage, run: AnyRun, speed: Speed, seconds: float
    ) -> tuple[int, float]:
        """Number of times that the model is measured while it trains, and the seconds they take.

        ``speed`` is the run's measured speed, ``seconds`` the time it may take.
        """
        if not stage.samples:
            return 0, 0.0
        assert isinstance(run, DiffusionRun)
        denoisers, device = self._plan.denoisers, self._ranks.device
        return planned_evaluations(run, denoisers, speed.preview, seconds, device)

    def _base(self, stage: Stage, width: int, more: Mapping[str, Any]) -> AnyRun:
        """Config of a run: its preset with the stage's settings and ``more``, by name ``a.b``.

        The network is ``width`` times as wide as the preset's.
        """
        settings = {**stage.settings, **more}
        settings |= {key: str(self._out / RUNS / name) for key, name in stage.follows.items()}
        for key, name in stage.same.items():
            settings[key] = config.read(self._out / CONFIGS / f"{name}.yaml")[key]
        run = with_settings(read_run(stage.preset), settings)
        batch = run.training.batch * (CUDA_BATCH if self._ranks.device.type == "cuda" else 1)
        run = with_settings(run, {"training.batch": batch})
        if stage.wide is None:
            return run
        network, name = stage.wide.split(".")
        if any(own.startswith(f"{network}.") for own in self._overrides.get(stage.name, ())):
            run = with_settings(run, {"init_from": None})  # whose weights may not fit any more
        if width > 1:
            value = config.to_dict(run)[network][name] * width
            run = with_settings(run, {stage.wide: value, "init_from": None})
        return run

    def _seconds_for(self, stage: Stage) -> float:
        """Seconds for a run: its share of the time left, relative to all shares that are left."""
        left = self._plan.budget_seconds - self._clock.seconds
        shares = sum(each.share for each in self.stages[self.stages.index(stage) :])
        return max(left * stage.share / (shares + RESULTS_SHARE + RESERVE), 1.0)

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
        if ends is not None and not _given(own, STEPS):
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


def _given(overrides: Sequence[str], setting: str) -> bool:
    """Whether overrides, such as ``training.steps=9``, change a setting."""
    return any(override.startswith(f"{setting}=") for override in overrides)
