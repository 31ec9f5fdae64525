"""The folder of a training, as a page shows it: logs, samples, exported models.

It may be that of a single run or of a training in stages, and any command may be writing it.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from longtake.documents import DocumentError, read_json, read_json_lines
from longtake.hub import INDEX

LOG, SAMPLES = "log.jsonl", 24


class Export(NamedTuple):
    """A model that a training has written.

    Attributes:
        name: ``model`` or, such as ``prediction_step_00002000``, stage and step of a run.
        folder: the model's folder.
        stamp: text that changes when the model is written again.
    """

    name: str
    folder: Path
    stamp: str


def is_training(folder: Path) -> bool:
    """Whether a folder is that of a training that has begun."""
    return any(True for _ in _logs(folder))


def _logs(training: Path) -> Iterator[Path]:
    yield from training.glob(LOG)
    yield from training.glob(f"runs/*/{LOG}")


def log_rows(training: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of the logs of all stages of a training, each with its ``stage``, a name."""
    for path in sorted(_logs(training), key=lambda path: path.stat().st_ctime):
        for row in read_json_lines(path):
            if isinstance(row, dict):
                yield {"stage": path.parent.name, **row}


def newest_samples(training: Path) -> dict[str, Path]:
    """Files of the newest samples of a training, by names that begin with the stage."""
    found = sorted(training.glob("**/samples/step_*/*.mp4"), key=lambda path: path.stat().st_mtime)
    newest = found[-SAMPLES:]
    return {f"{path.parents[2].name}_{path.parent.name}_{path.name}": path for path in newest}


def exports(training: Path) -> list[Export]:
    """The models of a training that make videos, newest first; none of a folder that is missing."""
    if not training.is_dir():
        return []  # as of most jobs
    places = ("model", "models/*", "runs/*/model", "runs/*/models/*")
    found = [path for place in places for path in training.glob(f"{place}/{INDEX}")]
    made = []
    for path in sorted(found, key=_written, reverse=True):
        with suppress(OSError, DocumentError):
            if read_json(path).get("roles"):
                parts = path.parent.relative_to(training).parts
                name = "_".join(part for part in parts if part not in ("runs", "models"))
                made.append(Export(name, path.parent, f"{path} {path.stat().st_mtime_ns}"))
    return made


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # it is being replaced
        return 0
