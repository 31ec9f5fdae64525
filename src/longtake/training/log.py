"""Log of a run: one JSON line a logging step, and TensorBoard files on request."""

import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import longtake


class Log:
    """Appends to ``log.jsonl``; lines after ``first_step``, of a run resumed there, are dropped."""

    def __init__(self, folder: Path, *, first_step: int = 0, tensorboard: bool = False) -> None:
        self._path = folder / "log.jsonl"
        self._drop_from(first_step)
        self._file = self._path.open("a")
        self._board = _board(folder) if tensorboard else None

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append a line: the step and named values."""
        self._file.write(json.dumps({"step": step, **_plain(values)}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _drop_from(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except ValueError:
                continue
        self._path.write_text("".join(f"{line}\n" for line in kept))


def environment() -> dict[str, str]:
    """Versions and hardware, to store with a run."""
    return {
        "longtake": longtake.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with infinities and NaN as text, which JSON has no numbers for."""
    broken = {k for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)}
    return {k: str(v) if k in broken else v for k, v in values.items()}


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "tensorboard: true needs the package: pip install 'longtake[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
