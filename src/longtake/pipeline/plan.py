"""The plan of a training in stages (autoencoder, then denoisers), and the time it has taken."""

import json
import time
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt
from pydantic import NonNegativeFloat

from longtake import config
from longtake.checkpoint import read_config, write_text
from longtake.config import Config
from longtake.pipeline.footage import Footage

PLAN, TIME = "plan.yaml", "time.json"
SECONDS_BETWEEN = 2.0
SystemName = Literal["lvdm", "pvdm"]


class PlannedStage(Config):
    """What was decided about one run of a training in stages (autoencoder, then denoisers).

    If the number of steps was given, nothing is measured, and measured times are None.

    Attributes:
        width: factor on the width of the preset's network.
        seconds: time that the run may take.
        start: measured time before the first step, in seconds.
        step: measured time of a step in seconds.
        preview: measured time of a preview, checkpoint and export, in seconds.
        encode: measured time to encode a clip, in seconds; 0 for a run that encodes nothing.
        cpu_step: measured CPU time of a step in seconds, of all threads together.
        precisions: measured CPU time of a step in seconds, by precision; empty unless several were
            tried.
        ends: time spent on the whole training, in seconds, at which the run should end; its number
            of steps is adapted to that while it trains. None if the number of steps was given.
        steps: number of steps.
    """

    width: Annotated[int, Ge(1)]
    seconds: Annotated[float, Ge(0)]
    start: float | None = None
    step: float | None = None
    cpu_step: float | None = None
    preview: float | None = None
    encode: float | None = None
    precisions: dict[str, float] = {}  # noqa: RUF012 (pydantic copies it)
    ends: float | None = None
    steps: Annotated[int, Ge(0)]


class PlannedResults(Config):
    """What is made with the finished model of a training in stages (autoencoder, then denoisers).

    Attributes:
        videos: number of videos to sample.
        frames: number of frames of each video.
        clips: number of real and of generated clips of the evaluation.
    """

    videos: int = 4
    frames: int = 128
    clips: int = 16


class Plan(Config):
    """Plan of a training in stages, autoencoder then denoisers: what was asked and decided.

    Attributes:
        format: version of the file's format.
        system: ``lvdm`` or ``pvdm``.
        size: height and width of frames in pixels.
        init_from: model whose autoencoder gives the initial weights; None for random weights.
        budget_seconds: time for everything.
        denoisers: number of denoisers: for LVDM 2, for keyframes and the frames between, or 1; for
            PVDM 1.
        tuned: whether the autoencoder is trained; None before it is decided.
        start_psnr: PSNR in dB of held-out clips, reconstructed by the autoencoder of ``init_from``
            as it is; None if that was not measured.
        given: the folder of videos that the user gave.
        prepared: whether ``footage`` is a copy of that folder in small files, one per scene; None
            before it is decided.
        footage: the folder that is read: that copy, or the one that the user gave.
        stages: decisions about each run, made when it begins, by the name of its stage.
        results: number of videos to sample and of clips to measure; None before it is decided.
    """

    format: Literal[1] = 1
    system: SystemName
    size: Annotated[int, Ge(1)]
    init_from: str | None = None
    budget_seconds: Annotated[float, Gt(0)]
    denoisers: Literal[1, 2] = 2
    tuned: bool | None = True
    start_psnr: float | None = None
    given: str
    prepared: bool | None = None
    footage: Footage
    stages: dict[str, PlannedStage] = {}  # noqa: RUF012 (pydantic copies it)
    results: PlannedResults | None = None

    def write(self, out: Path) -> None:
        """Write ``plan.yaml`` into the folder ``out``, completely or not at all.

        Raises:
            CheckpointError: the file cannot be written.
        """
        write_text(out / PLAN, config.to_yaml(self))


def read_plan(out: Path) -> Plan | None:
    """Read ``plan.yaml`` in the folder of a training in stages; None if there is none.

    Raises:
        ConfigError: the plan is not valid.
    """
    path = out / PLAN
    return config.load(path, Plan) if path.exists() else None


class Clock:
    """Time spent on a training in stages (autoencoder, then denoisers) over all its starts.

    It is stored in ``time.json`` in the training's folder ``out``.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / TIME
        self._before = seconds_spent(out)
        self._began = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent on the training so far, in seconds, this start included."""
        return self._before + time.monotonic() - self._began

    def save(self, *, now: bool = False) -> None:
        """Write the time if the last write was two seconds ago or more, or if ``now`` is true.

        Raises:
            CheckpointError: the file cannot be written.
        """
        if now or time.monotonic() - self._saved >= SECONDS_BETWEEN:
            write_text(self._path, json.dumps({"seconds": round(self.seconds, 1)}) + "\n")
            self._saved = time.monotonic()


class TimeSpent(Config):
    """Contents of ``time.json``: seconds spent on a training in stages."""

    seconds: NonNegativeFloat


def seconds_spent(out: Path) -> float:
    """Seconds that earlier starts spent on the training in the folder ``out``; 0 without any.

    Raises:
        CheckpointError: ``time.json`` cannot be read.
        ConfigError: ``time.json`` is not valid.
    """
    path = out / TIME
    return read_config(path, TimeSpent).seconds if path.exists() else 0.0
