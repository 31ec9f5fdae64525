"""Log of a run: one JSON line a logging step, which a tracker gets too."""

import json
import math
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import longtake
from longtake.checkpoint import write_text
from longtake.documents import DocumentError, open_regular, parse_json
from longtake.files import sync
from longtake.training.tracker import TrackerName, open_tracker

LOG = "log.jsonl"
MAX_LOG_BYTES = 1 << 30  # a training of a million logged steps has a third of it


class Log:
    """Appends lines to ``log.jsonl`` of a run.

    Lines after ``first_step``, at which the run resumes, are dropped. ``seconds`` of a line is the
    time that the run has trained, without the time between stop and resume.

    Args:
        folder: the run's folder; None on ranks that do not write.
        first_step: number of steps done when the run starts or resumes.
        tracker: experiment tracker that also gets the values and previews.
    """

    def __init__(
        self, folder: Path | None, first_step: int = 0, tracker: TrackerName = "none"
    ) -> None:
        self._path = folder and folder / LOG
        self._tracker = open_tracker(tracker, folder) if folder else None
        kept = []
        if self._path and self._path.exists():
            lines = read_log(self._path)
            kept = [line for line in lines if _number(line, "step", math.inf) <= first_step]
            write_text(self._path, "".join(f"{line}\n" for line in kept))
        before = max((_number(line, "seconds", 0.0) for line in kept), default=0.0)
        self._began = time.monotonic() - before

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append a line with the step and named values; infinities and NaN are written as text."""
        broken = {
            k: str(v) for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)
        }
        if self._path:
            at = {"step": step, "seconds": round(time.monotonic() - self._began, 3)}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**at, **values, **broken}) + "\n")
        if self._tracker:
            numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
            self._tracker.values(step, numbers)

    def lowest(self, name: str, before_step: int) -> float:
        """Lowest value of ``name`` in lines before a step; infinity if there is none."""
        if not self._path or not self._path.exists():
            return math.inf
        lines = read_log(self._path)
        before = (line for line in lines if _number(line, "step", math.inf) < before_step)
        return min((_number(line, name, math.inf) for line in before), default=math.inf)

    def videos(self, step: int, folder: Path) -> None:
        """Send the videos in a folder of previews, made at ``step``, to the experiment tracker."""
        if self._tracker:
            for path in sorted(folder.glob("*.mp4")):
                self._tracker.video(step, f"previews/{path.stem}", path)

    def sync(self) -> None:
        """Force the log's lines to the disk, so that a checkpoint saved next can rely on them."""
        if self._path and self._path.exists():
            sync(self._path)

    def close(self) -> None:
        """Close the experiment tracker."""
        if self._tracker is not None:
            self._tracker.close()


def read_log(path: Path) -> list[str]:
    """Read the lines of a log, also those that a kill cut short.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        DocumentError: the file is longer than 1 GiB.
    """
    with open_regular(path) as file:
        data = file.read(MAX_LOG_BYTES + 1)
    if len(data) > MAX_LOG_BYTES:
        raise DocumentError(f"{path}: is longer than {MAX_LOG_BYTES} bytes, the limit of a log")
    return data.decode(errors="replace").splitlines()


def _number(line: str, name: str, otherwise: float) -> int | float:
    """A number of a line; ``otherwise`` if it lacks it, or if a kill cut the line short."""
    try:
        number = parse_json(line)[name]
    except (DocumentError, LookupError, TypeError):
        return otherwise
    return number if isinstance(number, int | float) and math.isfinite(number) else otherwise


def environment() -> dict[str, str]:
    """Versions of packages and names of hardware, to store with a run."""
    return {
        "longtake": longtake.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
