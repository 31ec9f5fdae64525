"""What a training in stages is, as a file; and the time it has taken."""

import json
import time
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat

from longtake import config
from longtake.checkpoint import read_config, write_text
from longtake.config import Config
from longtake.pipeline.footage import Footage

PLAN, TIME = "plan.yaml", "time.json"
SECONDS_BETWEEN = 2.0
SystemName = Literal["lvdm", "pvdm"]


class PlannedStage(Config):
    """Decisions about one run.

    Attributes:
        width: factor of the preset's width.
        seconds: time it was given.
        start: measured seconds before the first step.
        step: measured seconds of a step; None where the number of steps was given.
        preview: measured seconds of a preview, checkpoint and export.
        encode: measured seconds of encoding a clip.
        steps: number of steps.
    """

    width: int
    seconds: float
    start: float | None = None
    step: float | None = None
    preview: float | None = None
    encode: float | None = None
    steps: int


class PlannedResults(Config):
    """Videos to make with the finished model, and clips to measure it by.

    Attributes:
        videos: number of videos.
        frames: length of each.
        clips: number of real and of generated clips of the evaluation.
    """

    videos: int = 4
    frames: int = 128
    clips: int = 16


class Plan(Config):
    """Everything that was asked for, found and decided.

    Attributes:
        system: lvdm or pvdm.
        size: height and width of frames.
        init_from: model that the autoencoder starts from.
        budget_seconds: time for everything.
        given: the folder of videos that was given.
        prepared: whether ``footage`` is a prepared copy; None before that is decided.
        footage: the folder that is read: the prepared one, or the one that was given.
        stages: decisions about runs, made when each begins.
        results: decisions about what the model is shown and measured by.
    """

    format: Literal[1] = 1
    system: SystemName
    size: int
    init_from: str | None = None
    budget_seconds: float
    given: str
    prepared: bool | None = None
    footage: Footage
    stages: dict[str, PlannedStage] = {}  # noqa: RUF012 (pydantic copies it)
    results: PlannedResults | None = None

    def write(self, out: Path) -> None:
        """Write ``plan.yaml``, complete or not at all."""
        write_text(out / PLAN, config.to_yaml(self))


def read_plan(out: Path) -> Plan | None:
    """The plan of a folder; None if it has none."""
    path = out / PLAN
    return config.load(path, Plan) if path.exists() else None


class Clock:
    """Time spent on a folder, over all starts, kept in ``time.json``."""

    def __init__(self, out: Path) -> None:
        self._path = out / TIME
        self._before = seconds_spent(out)
        self._began = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds spent so far."""
        return self._before + time.monotonic() - self._began

    def save(self, *, now: bool = False) -> None:
        """Write the time, at most every two seconds, or ``now``."""
        if now or time.monotonic() - self._saved >= SECONDS_BETWEEN:
            write_text(self._path, json.dumps({"seconds": round(self.seconds, 1)}) + "\n")
            self._saved = time.monotonic()


class TimeSpent(Config):
    """``time.json``: seconds spent on a folder."""

    seconds: NonNegativeFloat


def seconds_spent(out: Path) -> float:
    """Seconds spent on a folder before."""
    path = out / TIME
    return read_config(path, TimeSpent).seconds if path.exists() else 0.0
