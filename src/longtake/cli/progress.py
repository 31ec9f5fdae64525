"""Progress on the terminal as bars, in a log file as lines: units done, rate and time left."""

import sys
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from rich import progress as bars
from rich.console import Console

from longtake.progress import ProgressCallback

if TYPE_CHECKING:
    from longtake.runs import Callbacks
    from longtake.training.trainer import TrainingProgress

FIRST_SECONDS, SECONDS = 10.0, 60.0
"""Time before the first line of progress, and between lines, where there is no terminal."""

INSTANT_SECONDS = 0.05


class Speed:
    """Units per second over the last minute at most; called with the number of units done so far.

    Calls within 0.05 seconds are taken as one, so that what continued work finds done already does
    not count. ``clock`` returns the time in seconds; None: ``time.monotonic``.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self._reports: deque[tuple[float, float]] = deque()

    def __call__(self, done: float) -> float | None:
        """Add a report of ``done`` units in all; return the speed, or None before it is known."""
        now, reports = self._clock(), self._reports
        if reports and now - reports[-1][0] < INSTANT_SECONDS:
            now = reports.pop()[0]
        reports.append((now, done))
        while len(reports) > 2 and now - reports[1][0] > SECONDS:
            reports.popleft()
        began, before = reports[0]
        return (done - before) / (now - began) if now > began else None


@contextmanager
def stages(shown: bool = True, unit: str = "") -> Generator[Callable[..., None]]:
    """One progress bar per stage, added when the stage begins; yields ``report``.

    ``report(stage, done, total)`` shows progress. The speed, in ``unit`` per second, is measured,
    or passed to ``report`` as ``rate``, with a ``unit`` of its own; a ``text`` is shown after it.
    Without a terminal, a stage of more than ten seconds prints a line then, every minute, and at
    its end. Nothing is shown if ``shown`` is false.
    """
    console = Console(stderr=True)
    after = bars.TextColumn("{task.fields[after]}")
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn())
    plain = shown and not console.is_terminal
    with bars.Progress(*columns, after, console=console, disable=plain or not shown) as bar:
        tasks: dict[str, bars.TaskID] = {}
        speeds: dict[str, Speed] = {}
        due: dict[str, float] = {}

        def report(
            stage: str,
            done: int,
            total: int | None,
            rate: float | None = None,
            text: str = "",
            unit: str = unit,
        ) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=None, after="", said=False)
                speeds[stage] = Speed()
            speed = speeds[stage](done)
            after = _after(
                speed if rate is None else rate, unit, speed, (total or done) - done, text
            )
            bar.update(tasks[stage], completed=done, total=total, after=after)
            now = time.monotonic()
            if stage not in due:
                due[stage] = now + FIRST_SECONDS
            ended = done == total and bar.tasks[tasks[stage]].fields["said"]
            if plain and (ended or now >= due[stage]):
                due[stage] = now + SECONDS
                bar.update(tasks[stage], said=not ended)
                _say(bar.tasks[tasks[stage]])

        yield report


def _after(rate: float | None, unit: str, speed: float | None, units_left: int, text: str) -> str:
    """Text after a bar's counts: rate, time left and ``text``, as far as they are known.

    ``rate`` is shown, ``speed`` (units per second) gives the time left.
    """
    rated = [] if not rate else [f"{rate:.4g}{unit}/s"]
    left = (
        []
        if not speed or not units_left
        else [f"{timedelta(seconds=round(units_left / speed))} left"]
    )
    return " ".join(filter(None, [", ".join([*rated, *left]), text]))


def _say(task: bars.Task) -> None:
    """Print the progress of a stage as a line."""
    total = "" if task.total is None else f" of {task.total:.0f}"
    after = task.fields["after"]
    line = f"{task.description}: {task.completed:.0f}{total}{', ' if after else ''}{after}"
    print(line, file=sys.stderr, flush=True)


@contextmanager
def frames(name: str, shown: bool = True, unit: str = " frames") -> Generator[ProgressCallback]:
    """A progress bar; yields a callback that takes the number of frames done and their total.

    ``name`` is shown before the bar, ``unit`` names what is counted; nothing is shown if ``shown``
    is false.
    """
    with stages(shown, unit) as report:
        report(name, 0, None)
        yield partial(report, name)


@contextmanager
def training(title: str = "", shown: bool = True) -> Generator["Callbacks"]:
    """Progress bars of a run: one of encoded clips, then one of training steps; yields callbacks.

    ``title``, such as the number of a stage, is shown before both; nothing is shown if ``shown``
    is false.
    """
    from longtake.runs import Callbacks

    before = f"{title}: " if title else ""
    with stages(shown) as report:

        def steps(at: "TrainingProgress") -> None:
            text = " ".join(f"{k} {v:.4g}" for k, v in at.values.items() if "loss" in k)
            rate, unit = at.samples_per_second, " samples"  # a step has several
            report(f"{before}train steps", at.step, at.steps, rate, text, unit)

        encoding = partial(report, f"{before}encode clips", unit=" clips")
        yield Callbacks(training=steps, encoding=encoding)
