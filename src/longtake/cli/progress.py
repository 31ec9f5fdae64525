"""Progress bars on the terminal: units done, rate and time left."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich import progress as bars
from rich.console import Console

from longtake.progress import ProgressCallback

if TYPE_CHECKING:
    from longtake.runs import Callbacks
    from longtake.training.trainer import TrainingProgress


@contextmanager
def stages(shown: bool = True, unit: str = "") -> Generator[Callable[..., None]]:
    """One bar per stage, added when it begins; yields ``report(stage, done, total)``.

    The rate, in ``unit`` per second, is measured; ``report`` takes another one as ``rate``, and a
    ``text`` to show after it.
    """
    console = Console(stderr=True)
    rates = bars.TextColumn(f"{{task.fields[rate]:.4g}}{unit}/s {{task.fields[text]}}")
    counts = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn())
    columns = (*counts, rates, bars.TimeRemainingColumn())
    hidden = not shown or not console.is_terminal
    with bars.Progress(*columns, console=console, disable=hidden) as bar:
        tasks: dict[str, bars.TaskID] = {}

        def report(
            stage: str, done: int, total: int | None, rate: float | None = None, text: str = ""
        ) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=None, rate=0.0, text="")
            measured = bar.tasks[tasks[stage]].speed or 0.0
            rate = measured if rate is None else rate
            bar.update(tasks[stage], completed=done, total=total, rate=rate, text=text)

        yield report


@contextmanager
def frames(name: str, shown: bool = True, unit: str = " frames") -> Generator[ProgressCallback]:
    """A bar that counts frames, or other units."""
    with stages(shown, unit) as report:
        report(name, 0, None)
        yield partial(report, name)


@contextmanager
def training(shown: bool) -> Generator["Callbacks"]:
    """A bar that counts a run's steps, and before it one that counts encoded clips."""
    from longtake.runs import Callbacks

    with stages(shown) as report:

        def steps(at: "TrainingProgress") -> None:
            text = " ".join(f"{k} {v:.4g}" for k, v in at.values.items() if "loss" in k)
            report("train steps", at.step, at.steps, at.samples_per_second, text)

        yield Callbacks(training=steps, encoding=partial(report, "encode clips"))
