"""Log of a run: one JSON line a logging step, and TensorBoard files on request."""

import json
import math
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import longtake
from longtake.documents import DocumentError, parse_json

LOG = "log.jsonl"


class Log:
    """Appends lines to ``log.jsonl`` of a run.

    Lines after ``first_step``, at which the run resumes, are dropped. ``seconds`` of a line is the
    time that the run has trained, without the time between stop and resume.

    Args:
        folder: the run's folder; None on ranks that do not write.
        first_step: number of steps done when the run starts or resumes.
        tensorboard: also write TensorBoard files.
    """

    def __init__(self, folder: Path | None, first_step: int = 0, tensorboard: bool = False) -> None:
        self._path = folder and folder / LOG
        self._board = _board(folder) if folder and tensorboard else None
        kept = []
        if self._path and self._path.exists():
            lines = self._path.read_text(errors="replace").splitlines()
            kept = [line for line in lines if _number(line, "step", math.inf) <= first_step]
            self._path.write_text("".join(f"{line}\n" for line in kept))
        before = max((_number(line, "seconds", 0.0) for line in kept), default=0.0)
        self._began = time.monotonic() - before

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append a line with the step and named values; infinities and NaN are written as text."""
        broken = {
            k: str(v) for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)
        }
        if self._path:
            at = {"step": step, "seconds": round(time.monotonic() - self._began, 3)}
            with self._path.open("a") as file:
                file.write(json.dumps({**at, **values, **broken}) + "\n")
        for name, value in values.items():
            if self._board and isinstance(value, int | float):
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files of TensorBoard."""
        if self._board is not None:
            self._board.close()


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


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "tensorboard: true needs the package: pip install 'longtake[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
