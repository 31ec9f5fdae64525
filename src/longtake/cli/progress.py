"""Progress bars on the terminal: units done, rate and time left."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from longtake.progress import ProgressCallback

if TYPE_CHECKING:
    from longtake.training.trainer import TrainingProgress


@contextmanager
def frames(name: str, shown: bool = True) -> Generator[ProgressCallback]:
    """A bar that counts frames."""
    with _bar("{task.fields[rate]:.1f} frames/s", shown) as bar:
        task = bar.add_task(name, total=None, rate=0.0)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, rate=bar.tasks[task].speed or 0.0)

        yield report


@contextmanager
def training(
    shown: bool,
) -> Generator[tuple[Callable[["TrainingProgress"], None], ProgressCallback]]:
    """A bar that counts a run's steps, and before it one that counts encoded clips."""
    with _bar("{task.fields[rate]:.2f}/s {task.fields[text]}", shown) as bar:
        tasks: dict[str, TaskID] = {}

        def task(name: str) -> TaskID:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=None, rate=0.0, text="")
            return tasks[name]

        def cached(done: int, total: int) -> None:
            number = task("encode clips")
            bar.update(number, completed=done, total=total, rate=bar.tasks[number].speed or 0.0)

        def report(progress: "TrainingProgress") -> None:
            text = " ".join(f"{k} {v:.4g}" for k, v in progress.values.items() if "loss" in k)
            bar.update(
                task("train steps"),
                completed=progress.step,
                total=progress.steps,
                rate=progress.samples_per_second,
                text=text,
            )

        yield report, cached


@contextmanager
def stages(shown: bool = True) -> Generator[Callable[[str, int, int], None]]:
    """One bar per stage of an evaluation, added when the stage begins."""
    with _bar("{task.fields[rate]:.1f}/s", shown) as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=None, rate=0.0)
            task = bar.tasks[tasks[stage]]
            bar.update(task.id, completed=done, total=total, rate=task.speed or 0.0)

        yield report


def _bar(rate: str, shown: bool = True) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(rate),
        TimeRemainingColumn(),
        console=console,
        disable=not shown or not console.is_terminal,
    )
