"""A cheap measure of how far a live video has drifted from its first clip."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from longtake.checkpoint import write_text
from longtake.documents import read_json
from longtake.drift.descriptors import EPSILON, Describer
from longtake.studio.places import CURVE, DRIFT

LOGS = ("contrast", "sharpness", "motion")
COLOURS = ("red", "green", "blue")


class RunningDrift:
    """Compares each clip of a video with its first one.

    Args:
        folder: folder of the job, with the measures of the first clip and the curve so far.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._curve = folder / DRIFT, folder / CURVE
        self._first: Mapping[str, float] | None = None
        if self._path.exists():
            self._first = read_json(self._path)

    def add(self, frames: UInt8[np.ndarray, "t h w 3"], start: int) -> dict[str, float]:
        """Measure how far a clip, whose first frame has the index ``start``, has drifted.

        It is compared with the first clip, and its drift is added to the curve.

        ``colour`` is the root mean square difference of the mean red, green and blue, from 0 to 1;
        ``contrast``, ``sharpness`` and ``motion`` are natural logarithms of the ratio to the first
        clip's; ``drift`` is the root mean square of the four. All are 0 for the first clip.

        Raises:
            CheckpointError: the file cannot be written.
        """
        describer = Describer()
        describer.add(frames)
        means = {k: float(np.median(v)) for k, v in describer.done().series().items()}
        if self._first is None:
            self._first = means
            write_text(self._path, json.dumps(means) + "\n")
        first = self._first
        squares = [(means[name] - first[name]) ** 2 for name in COLOURS]
        found = {"colour": math.sqrt(sum(squares) / len(squares))}
        for name in LOGS:
            found[name] = math.log((means[name] + EPSILON) / (first[name] + EPSILON))
        total = math.sqrt(sum(x * x for x in found.values()) / len(found))
        rounded = {k: round(v, 5) for k, v in {**found, "drift": total}.items()}
        with self._curve.open("a", encoding="utf-8") as curve:
            curve.write(json.dumps({"frame": start, "drift": rounded["drift"]}) + "\n")
        return rounded
