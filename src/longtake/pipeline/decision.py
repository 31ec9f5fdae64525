"""Decides the config of a stage's run, by trial runs: width, precision, number of steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake import config
from longtake.distributed import Ranks
from longtake.pipeline.calibration import (
    Speed,
    clips_to_encode,
    fitted,
    measure,
    scheduled,
    seconds_of_precisions,
    with_settings,
)
from longtake.pipeline.output import Output
from longtake.pipeline.plan import Clock, Plan, PlannedStage
from longtake.pipeline.results import FEWEST_CLIPS, planned_evaluations
from longtake.pipeline.stages import RESERVE, RESULTS_SHARE, RUNS, Stage
from longtake.runs import AnyRun, Callbacks, DiffusionRun, read_run

CONFIGS, TRIAL = "configs", ".calibration"
CUDA_BATCH = 4
WIDER_COSTS = 4  # times the time of a step, of a network of twice the width
TRIAL_CLIPS = 16
STEPS, PRECISION = "training.steps", "training.precision"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Decides how a stage is trained in its share of the time that is left.

    Attributes:
        stage: the stage.
        stages: all stages of the training.
        plan: what the user asked for, and what was found and decided.
        out: folder of the training.
        ranks: the processes of the training.
        output: shows what was measured.
        clock: time spent on the training.
        own: ``a.b=value`` changes of the stage's run.
        shown: reports progress of the trial runs.
    """

    stage: Stage
    stages: Sequence[Stage]
    plan: Plan
    out: Path
    ranks: Ranks
    output: Output
    clock: Clock
    own: Sequence[str]
    shown: Callbacks

    def decide(self) -> tuple[AnyRun, PlannedStage]:
        """Choose the widest network that sees enough samples in its share of the time left.

        Returns its run's config, and its part of the plan.

        Raises:
            ConfigError: an override is not valid.
        """
        stage, own = self.stage, self.own
        begun, seconds = self.clock.seconds, self._seconds()
        ends = begun + seconds
        if overrides_setting(own, STEPS):
            base = config.changed(AnyRun, self._base(1, {}), own)
            steps = base.training.steps
            run = with_settings(base, scheduled(base, steps, stage.cooldown))
            return config.changed(AnyRun, run, own), PlannedStage(
                width=1, seconds=seconds, steps=steps
            )
        clips = self._clips_tried()
        chosen, (precision, precisions) = None, self._precision(clips)
        for width in stage.widths:
            base = config.changed(AnyRun, self._base(width, precision), own)
            speed = measure(base, self.out / TRIAL, self.shown, clips)
            samples = seconds / speed.step * base.training.batch
            if chosen is not None and samples < stage.enough:
                break
            chosen = base, width, speed
            if samples < WIDER_COSTS * stage.enough:
                break
        assert chosen is not None
        base, width, speed = chosen
        left = max(ends - self.clock.seconds, 1.0)
        cached, encoding = clips_to_encode(self.plan.footage.clips, speed, left)
        times, measuring = self._evaluations(base, speed, left - encoding)
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

    def _clips_tried(self) -> int:
        """Number of clips that trial runs encode to a cache; 0 if the run encodes to none."""
        run = config.changed(AnyRun, self._base(1, {}), self.own) if self.stage.encodes else None
        cached = isinstance(run, DiffusionRun) and run.cache is not None
        return min(TRIAL_CLIPS, self.plan.footage.clips) if cached else 0

    def _precision(self, clips: int) -> tuple[Mapping[str, Any], dict[str, float]]:
        """The faster precision on this CPU, as a setting, and seconds of a step by precision.

        Both are empty on a GPU, and if the stage or one of its overrides sets the precision.
        ``clips`` is the number of clips that the trial runs encode.
        """
        stage, own = self.stage, self.own
        if not stage.half or overrides_setting(own, PRECISION) or self.ranks.device.type != "cpu":
            return {}, {}
        base = config.changed(AnyRun, self._base(1, {}), own)
        found = seconds_of_precisions(base, self.out / TRIAL, self.shown, clips)
        fastest = min(found, key=lambda name: found[name])
        times = " and ".join(f"{seconds:.3g} s in {name}" for name, seconds in found.items())
        self.output.say(f"{stage.name}: a step takes {times} of CPU time; {fastest} is used")
        return {PRECISION: fastest}, found

    def _evaluations(self, run: AnyRun, speed: Speed, seconds: float) -> tuple[int, float]:
        """Number of times that the model is measured while it trains, and the seconds they take.

        ``speed`` is the run's measured speed, ``seconds`` the time it may take.
        """
        if not self.stage.samples:
            return 0, 0.0
        assert isinstance(run, DiffusionRun)
        denoisers, device = self.plan.denoisers, self.ranks.device
        return planned_evaluations(run, denoisers, speed.preview, seconds, device)

    def _base(self, width: int, more: Mapping[str, Any]) -> AnyRun:
        """Config of a run: its preset with the stage's settings and ``more``, by name ``a.b``.

        The network is ``width`` times as wide as the preset's.
        """
        stage, own = self.stage, self.own
        settings = {**stage.settings, **more}
        settings |= {key: str(self.out / RUNS / name) for key, name in stage.follows.items()}
        for key, name in stage.same.items():
            settings[key] = config.read(self.out / CONFIGS / f"{name}.yaml")[key]
        run = with_settings(read_run(stage.preset), settings)
        batch = run.training.batch * (CUDA_BATCH if self.ranks.device.type == "cuda" else 1)
        run = with_settings(run, {"training.batch": batch})
        network, name = stage.width.split(".")
        changed = any(override.startswith(f"{network}.") for override in own)
        if changed and "init_from" not in stage.follows:
            run = with_settings(run, {"init_from": None})  # whose weights may not fit any more
        if width > 1:
            value = config.to_dict(run)[network][name] * width
            run = with_settings(run, {stage.width: value, "init_from": None})
        return run

    def _seconds(self) -> float:
        """Seconds for a run: its share of the time left, relative to all shares that are left."""
        left = self.plan.budget_seconds - self.clock.seconds
        shares = sum(each.share for each in self.stages[self.stages.index(self.stage) :])
        return max(left * self.stage.share / (shares + RESULTS_SHARE + RESERVE), 1.0)


def overrides_setting(overrides: Sequence[str], setting: str) -> bool:
    """Whether overrides, such as ``training.steps=9``, change a setting."""
    return any(override.startswith(f"{setting}=") for override in overrides)
