"""Carries out the stages of a training, one after another, and continues where it was stopped."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from longtake import config, run_folder
from longtake.checkpoint import CheckpointError, write_text
from longtake.config import Config, ConfigError
from longtake.data.prepare import PrepareSettings, prepare, read_manifest
from longtake.distributed import Ranks
from longtake.files import locked
from longtake.page.document import duration
from longtake.page.run_page import followed
from longtake.pipeline.calibration import Speed, fitted, measure, scheduled, with_settings
from longtake.pipeline.footage import is_large, survey
from longtake.pipeline.page import write_stages_page
from longtake.pipeline.plan import (
    PLAN,
    Clock,
    Plan,
    PlannedResults,
    PlannedStage,
    SystemName,
    read_plan,
)
from longtake.pipeline.results import (
    CARD,
    FEWEST_CLIPS,
    MODEL,
    Bar,
    measure_model,
    planned_evaluations,
    planned_results,
    write_card,
    write_model,
    write_samples,
)
from longtake.pipeline.systems import RUNS, START_SIZE, SYSTEMS, WIDTHS, Stage
from longtake.runs import AnyRun, Callbacks, DiffusionRun, read_run
from longtake.training.trainer import TrainingProgress

CONFIGS, TRIAL, RESULTS, FOOTAGE = "configs", ".calibration", "results", "footage"
CUDA_BATCH = 4
WIDER_COSTS = 4  # times the time of a step, of a network of twice the width
RESULTS_SHARE, RESERVE, PREPARE_SHARE = 0.1, 0.05, 0.15
ENCODING_SHARE, TRIAL_CLIPS, FEWEST_CACHED = 0.25, 16, 64
STEPS = "training.steps"
BUDGET_SECONDS = 7200.0
NONE = "none"


class Asked(Config):
    """What a user asks of a training in stages (autoencoder, then denoisers).

    None is the default, or what was chosen when the training first started.

    Attributes:
        system: ``lvdm``, the default, or ``pvdm``.
        budget_seconds: time for everything; by default two hours.
        size: height and width of frames in pixels; by default 64 for LVDM and 32 for PVDM on a
            CPU, 128 on a GPU.
        init_from: model whose autoencoder gives the initial weights, or ``none`` for random ones;
            by default ``lvdm-general`` for LVDM on a CPU with frames of at most 64 pixels, else
            ``none``.
    """

    system: SystemName | None = None
    budget_seconds: Annotated[float, Gt(0)] | None = None
    size: Annotated[int, Ge(1)] | None = None
    init_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class Output:
    """How a training in stages shows its progress.

    Attributes:
        say: shows a line of text.
        training: takes the title of a run, and returns a context manager of the run's callbacks.
        bar: takes a title, and returns a context manager of a progress callback.
    """

    say: Callable[[str], None]
    training: Callable[[str], AbstractContextManager[Callbacks]]
    bar: Bar


class Training:
    """Carries out a training in stages (autoencoder, then denoisers) in a folder.

    Args:
        plan: what was asked for and found.
        out: folder that holds everything.
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
        """Do everything that is not done yet."""
        if (self._out / MODEL / CARD).exists() and not self._overrides:
            return  # the card is written last
        self._prepare()
        done = [stage for stage in self.stages if self._run_folder(stage).exists()][:-1]
        try:
            for number, stage in enumerate(self.stages, 1):
                if stage in done:  # the next one began from its model
                    continue
                self._train(stage, f"stage {number} of {len(self.stages)}, {stage.name}")
            self._finish()
        finally:
            self._clock.save(now=True)
            self._write_page(False)

    def _prepare(self) -> None:
        """Write large footage as small scenes, as far as its share of the time goes."""
        plan, place = self._plan, self._out / FOOTAGE
        if plan.prepared is not None:
            return
        if read_manifest(Path(plan.given)) or not is_large(Path(plan.given), plan.size):
            self._keep(prepared=False)
            return
        deadline = time.time() + PREPARE_SHARE * plan.budget_seconds
        with self._output.bar("prepare") as report:
            settings = PrepareSettings(size=plan.size)
            prepare(Path(plan.given), place, settings, deadline=deadline, report=report)
        try:
            footage = survey(place, SYSTEMS[plan.system])
        except ValueError as error:
            self._output.say(f"{error}; the videos are read as they are")
            self._keep(prepared=False)
            return
        self._keep(prepared=True, footage=footage)
        self.stages = stages_of(self._plan, self._out)
        for line in footage.lines():
            self._output.say(line)

    def _train(self, stage: Stage, title: str) -> None:
        with self._output.training(title) as shown:
            run = self._config_of(stage, shown)
            planned = self._plan.stages[stage.name]
            left = duration(max(self._plan.budget_seconds - self._clock.seconds, 0))
            where = self._out / CONFIGS / f"{stage.name}.yaml"
            self._output.say(f"{title}: {planned.steps} steps; {left} left in all; config {where}")
            with followed(self._write_page, self._ticking(shown.training)) as report:
                callbacks = replace(shown, training=report)
                run_folder.start(run, self._run_folder(stage), self._ranks, callbacks)

    def _config_of(self, stage: Stage, shown: Callbacks) -> AnyRun:
        """The config of a run, as it was written before or as it is decided now."""
        path, own = self._out / CONFIGS / f"{stage.name}.yaml", self._overrides.get(stage.name, ())
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
        """The widest network that sees enough samples in its share of the time that is left."""
        begun, seconds = self._clock.seconds, self._seconds_for(stage)
        if any(override.startswith(f"{STEPS}=") for override in own):
            base = config.changed(AnyRun, self._base(stage, 1), own)
            steps = base.training.steps
            run = with_settings(base, scheduled(base, steps, stage.cooldown))
            return config.changed(AnyRun, run, own), PlannedStage(
                width=1, seconds=seconds, steps=steps
            )
        clips = min(TRIAL_CLIPS, self._plan.footage.clips) if stage.encodes else 0
        chosen = None
        for width in WIDTHS if stage.wide else WIDTHS[:1]:
            base = config.changed(AnyRun, self._base(stage, width), own)
            speed = measure(base, self._out / TRIAL, shown, clips)
            samples = seconds / speed.step * base.training.batch
            if chosen is not None and samples < stage.enough:
                break
            chosen = base, width, speed
            if samples < WIDER_COSTS * stage.enough:
                break
        assert chosen is not None
        base, width, speed = chosen
        left = max(seconds - (self._clock.seconds - begun), 1.0)
        cached, encoding = self._clips_to_encode(speed, left)
        times, measuring = self._evaluations(stage, base, speed, left - encoding)
        settings = {**fitted(base, speed, left - encoding - measuring, stage.cooldown), **cached}
        if times:
            every = -(-settings[STEPS] // times)
            settings |= {"training.evaluate_every": every, "evaluation.clips": FEWEST_CLIPS}
        run = config.changed(AnyRun, with_settings(base, settings), own)
        steps = run.training.steps
        return run, PlannedStage(width=width, seconds=seconds, steps=steps, **vars(speed))

    def _clips_to_encode(self, speed: Speed, seconds: float) -> tuple[Mapping[str, Any], float]:
        """Settings of the latent cache, and the seconds it takes: at most a quarter of ``seconds``.

        With less footage than that, clips are a third of a clip apart, as without a setting.
        """
        if not speed.encode:
            return {}, 0.0
        clips, most = self._plan.footage.clips, int(ENCODING_SHARE * seconds / speed.encode)
        if most >= clips:
            return {}, clips * speed.encode
        clips = max(min(FEWEST_CACHED, clips), most)
        return {"cache.clips": clips}, clips * speed.encode

    def _evaluations(
        self, stage: Stage, run: AnyRun, speed: Speed, seconds: float
    ) -> tuple[int, float]:
        """How often the model is measured while it trains, and the seconds that takes."""
        if not stage.samples:
            return 0, 0.0
        assert isinstance(run, DiffusionRun)
        return planned_evaluations(run, speed.preview, seconds, self._ranks.device)

    def _base(self, stage: Stage, width: int) -> AnyRun:
        """The preset with the stage's settings, at a width."""
        settings = dict(stage.settings)
        settings |= {key: str(self._out / RUNS / name) for key, name in stage.follows.items()}
        for key, name in stage.same.items():
            settings[key] = config.read(self._out / CONFIGS / f"{name}.yaml")[key]
        run = with_settings(read_run(stage.preset), settings)
        batch = run.training.batch * (CUDA_BATCH if self._ranks.device.type == "cuda" else 1)
        run = with_settings(run, {"training.batch": batch})
        if stage.wide and width > 1:
            value: Any = config.to_dict(run)
            for part in stage.wide.split("."):
                value = value[part]
            run = with_settings(run, {stage.wide: value * width})
        return run

    def _seconds_for(self, stage: Stage) -> float:
        """This stage's part of the time that is left, in proportion to the shares that are left."""
        left = self._plan.budget_seconds - self._clock.seconds
        shares = sum(each.share for each in self.stages[self.stages.index(stage) :])
        return max(left * stage.share / (shares + RESULTS_SHARE + RESERVE), 1.0)

    def _finish(self) -> None:
        """Model folder, long videos, evaluation, card."""
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
        self, report: Callable[[TrainingProgress], None]
    ) -> Callable[[TrainingProgress], None]:
        def follow(at: TrainingProgress) -> None:
            self._tick()
            report(at)

        return follow

    def _write_page(self, running: bool) -> None:
        write_stages_page(self._out, self.stages, running)

    def _run_folder(self, stage: Stage) -> Path:
        return self._out / RUNS / stage.name


def train(
    footage: Path,
    out: Path,
    *,
    ranks: Ranks,
    output: Output,
    asked: Asked,
    overrides: Sequence[str] = (),
) -> Path:
    """Train a model on a folder of videos within a given time; continues an interrupted training.

    Each stage is a run whose config is written to ``configs`` when it begins. Its number of steps
    fits its share of the time, as measured on a few steps.

    Args:
        footage: a folder of videos, or one video.
        out: folder to write to.
        ranks: the processes of the training.
        output: shows progress.
        asked: what the user asks for.
        overrides: changes as ``STAGE.a.b=value``.

    Returns:
        the model's folder.

    Raises:
        ConfigError: an override names no stage, or a setting that the stage does not have.
        CheckpointError: the folder holds something else.
        OtherRunError: the folder holds a training on other footage or with other settings.
    """
    if ranks.size > 1:
        raise ValueError(
            "training in stages runs in one process; on several, train from the config of one "
            "stage after the other"
        )
    before = read_plan(out)
    if (
        before is None
        and out.exists()
        and {path.name for path in out.iterdir()} - {run_folder.LOCK, f".{PLAN}.partial"}
    ):
        raise CheckpointError(
            f"{out} exists and holds no training in stages; choose another folder"
        )
    plan = (
        first_plan(footage, asked, ranks)
        if before is None
        else _continued(before, footage, asked, out)
    )
    stages = stages_of(plan, out)
    grouped = _by_stage(overrides, stages)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, out / run_folder.LOCK):
        plan.write(out)
        for line in [*plan.footage.lines(), _rule(plan, stages)]:
            output.say(line)
        Training(plan, out, ranks, output, grouped).execute()
    return out / MODEL


def stages_of(plan: Plan, out: Path) -> tuple[Stage, ...]:
    """The runs of a plan, in order."""
    system = SYSTEMS[plan.system]
    footage = plan.footage
    sizes = system.sizes(plan.size, footage.span, plan.init_from, footage.validation_span)
    return tuple(system.stages(sizes, out, plan.footage.source))


def first_plan(footage: Path, asked: Asked, ranks: Ranks) -> Plan:
    """Plan a new training from what the user asks for and what the folder of videos holds."""
    name: SystemName = asked.system or "lvdm"
    system = SYSTEMS[name]
    size = asked.size or system.size[ranks.device.type]
    start = system.start.get(ranks.device.type) if size <= START_SIZE else None
    init_from = {None: start, NONE: None}.get(asked.init_from, asked.init_from)
    system.sizes(size, system.spans[0], init_from)  # refuses a size that does not fit
    return Plan(
        system=name,
        size=size,
        init_from=init_from,
        budget_seconds=asked.budget_seconds or BUDGET_SECONDS,
        given=str(footage),
        footage=survey(footage, system),
    )


def _continued(before: Plan, footage: Path, asked: Asked, out: Path) -> Plan:
    """The plan that the folder holds, with another budget if one is given."""
    now = {"footage": str(footage), "system": asked.system, "size": asked.size}
    now["init_from"] = asked.init_from
    then = config.to_dict(before) | {"footage": before.given}
    then["init_from"] = before.init_from or NONE
    for name, value in now.items():
        if value is not None and value != then[name]:
            raise run_folder.OtherRunError(
                f"{out} holds a training with {name}={then[name]}, not {value}; use what it was "
                "started with, or choose another folder"
            )
    return before.model_copy(
        update={"budget_seconds": asked.budget_seconds or before.budget_seconds}
    )


def _by_stage(overrides: Sequence[str], stages: Sequence[Stage]) -> dict[str, list[str]]:
    """Overrides by the stage that they begin with, checked against its preset."""
    names, grouped = [*(stage.name for stage in stages), RESULTS], {}
    for override in overrides:
        name, dot, rest = override.partition(".")
        if not dot or name not in names:
            raise ConfigError(
                f"override {override!r} begins with no stage; {config.nearest(name, names)}"
            )
        grouped.setdefault(name, []).append(rest)
    for stage in stages:
        config.changed(AnyRun, read_run(stage.preset), grouped.get(stage.name, ()))
    config.changed(PlannedResults, PlannedResults(), grouped.get(RESULTS, ()))
    return grouped


def _rule(plan: Plan, stages: Sequence[Stage]) -> str:
    """How the budget is divided, in a sentence."""
    shares = [(stage.name, stage.share) for stage in stages]
    shares += [("videos and evaluation", RESULTS_SHARE), ("in reserve", RESERVE)]
    parts = ", ".join(f"{name} {share:.0%}" for name, share in shares)
    return f"budget {duration(plan.budget_seconds)}: {parts}"
