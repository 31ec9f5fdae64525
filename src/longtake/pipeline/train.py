"""A training in stages (autoencoder, then denoisers): what is asked for, planned, continued."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from longtake import config, run_folder
from longtake.checkpoint import CheckpointError
from longtake.config import Config, ConfigError
from longtake.distributed import Ranks
from longtake.files import locked
from longtake.pipeline.carry_out import RESULTS, Training
from longtake.pipeline.footage import survey
from longtake.pipeline.output import Output
from longtake.pipeline.plan import (
    PLAN,
    Plan,
    PlannedResults,
    SystemName,
    read_plan,
)
from longtake.pipeline.results import (
    MODEL,
)
from longtake.pipeline.stages import Stage, stages_of
from longtake.pipeline.systems import START_SIZE, SYSTEMS
from longtake.runs import AnyRun, read_run

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
        denoisers: number of denoisers of LVDM: 2, for keyframes and the frames between, or 1 that
            samples frame after frame; by default 1 if the budget is below an hour on a CPU, or ten
            minutes on a GPU. PVDM has 1.
        init_from: model whose autoencoder gives the initial weights, or ``none`` for random ones;
            by default ``lvdm-general`` or ``pvdm-general`` on a CPU with frames of at most 64
            pixels, else ``none``.
    """

    system: SystemName | None = None
    budget_seconds: Annotated[float, Gt(0)] | None = None
    size: Annotated[int, Ge(1)] | None = None
    denoisers: Literal[1, 2] | None = None
    init_from: str | None = None


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

    Each stage (autoencoder, then denoisers) is a run whose config is written to ``configs`` when it
    begins. Its number of steps fits its share of the time, as measured on a few steps.

    Args:
        footage: a folder of videos, or one video.
        out: folder to write to.
        ranks: the processes of the training, which must be one.
        output: shows progress.
        asked: what the user asks for.
        overrides: changes of a run's settings, as ``STAGE.a.b=value`` with the name of its stage,
            or of the number of results, as ``results.videos=2``.

    Returns:
        the model's folder.

    Raises:
        ConfigError: an override names no stage, or a setting that the stage does not have.
        CheckpointError: the folder holds something else.
        OtherRunError: the folder holds a training on other footage or with other settings.
        ValueError: there are several processes, no videos, or only too short ones.
        InUseError: another process writes to the folder.
    """
    if ranks.size > 1:
        raise ValueError(
            f"training in stages runs in one process, not in {ranks.size}; to use several, train "
            "from the config of one stage after the other"
        )
    before = read_plan(out)
    if before is None:
        _refuse_other_files(out)
        plan = first_plan(footage, asked, ranks)
    else:
        plan = _continued(before, footage, asked, out)
    stages = stages_of(plan, out, True)
    grouped = _by_stage(overrides, stages)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, out / run_folder.LOCK):
        plan.write(out)
        for line in plan.footage.lines():
            output.say(line)
        Training(plan, out, ranks, output, grouped).execute()
    return out / MODEL


def _refuse_other_files(out: Path) -> None:
    """Raise a CheckpointError if a folder without a plan is not empty."""
    unfinished = {run_folder.LOCK, f".{PLAN}.partial"}
    if out.exists() and {path.name for path in out.iterdir()} - unfinished:
        raise CheckpointError(
            f"{out} exists and holds no training in stages; choose another folder"
        )


def first_plan(footage: Path, asked: Asked, ranks: Ranks) -> Plan:
    """Plan a new training from what the user asks for and what the folder of videos holds.

    Raises:
        ConfigError: the system cannot have this size, number of denoisers or initial model.
        ValueError: there are no videos, or all are too short.
    """
    name: SystemName = asked.system or "lvdm"
    system = SYSTEMS[name]
    size = asked.size or system.size[ranks.device.type]
    start = system.start.get(ranks.device.type) if size <= START_SIZE else None
    init_from = {None: start, NONE: None}.get(asked.init_from, asked.init_from)
    sizes = system.sizes(size, system.spans[0], init_from)  # refuses a size that does not fit
    budget = asked.budget_seconds or BUDGET_SECONDS
    short = budget < system.short[ranks.device.type]
    denoisers = asked.denoisers or (system.denoisers[0] if short else system.denoisers[-1])
    if denoisers not in system.denoisers:
        raise ConfigError(
            f"denoisers={denoisers} must be {' or '.join(map(str, system.denoisers))} for {name}"
        )
    return Plan(
        system=name,
        size=size,
        init_from=init_from,
        budget_seconds=budget,
        denoisers=denoisers,
        tuned=None if short and sizes.autoencoder_fits else True,
        given=str(footage),
        footage=survey(footage, system, denoisers),
    )


def _continued(before: Plan, footage: Path, asked: Asked, out: Path) -> Plan:
    """The plan ``before`` of the folder ``out``, with another budget if ``asked`` has one.

    Raises:
        OtherRunError: the footage or another setting differs.
    """
    now = {"footage": str(footage), "system": asked.system, "size": asked.size}
    now |= {"denoisers": asked.denoisers, "init_from": asked.init_from}
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
    """Overrides without their first word, by that word: the name of a stage, or ``results``.

    Raises:
        ConfigError: an override begins with another word, or does not fit the stage's preset.
    """
    names, grouped = [*(stage.name for stage in stages), RESULTS], {}
    for override in overrides:
        name, dot, rest = override.partition(".")
        if not dot or name not in names:
            raise ConfigError(
                f"override {override!r} must begin with a stage; {config.nearest(name, names)}"
            )
        grouped.setdefault(name, []).append(rest)
    for stage in stages:
        config.changed(AnyRun, read_run(stage.preset), grouped.get(stage.name, ()))
    config.changed(PlannedResults, PlannedResults(), grouped.get(RESULTS, ()))
    return grouped
