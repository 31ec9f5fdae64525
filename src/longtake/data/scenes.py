"""Scene cuts, found while frames stream by."""

from collections import deque
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

NEAR = 2
RATIO = 3.0
LEAST_CHANGE = 15.0
GRID = (18, 32)


class CutFinder:
    """Finds cuts between scenes, like ``AdaptiveDetector`` of PySceneDetect.

    A frame begins a scene if it differs from the frame before by three times the mean change at
    the two frames before and the two after it, and by at least 15 levels of 255.
    Unlike PySceneDetect's, the change is a mean over red, green and blue of small images, not over
    hue, saturation and brightness; fast motion raises the change at neighbouring frames too, so it
    is not taken for a cut.

    The decision about a frame needs the two frames after it, so ``push`` returns frames late.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._waiting: deque[np.ndarray] = deque()
        self._changes: deque[float] = deque([0.0] * NEAR, maxlen=2 * NEAR + 1)

    def push(self, frame: UInt8[np.ndarray, "h w 3"]) -> Iterator[tuple[np.ndarray, bool]]:
        """Add a frame; yield at most one earlier frame, with whether it begins a scene."""
        small = _small(frame)
        change = 0.0 if self._before is None else float(np.abs(small - self._before).mean())
        self._before = small
        self._waiting.append(frame)
        self._changes.append(change)
        if len(self._changes) == 2 * NEAR + 1:
            yield self._waiting.popleft(), self._is_cut()

    def flush(self) -> Iterator[tuple[np.ndarray, bool]]:
        """Yield the last frames, each with whether it begins a scene.

        To be called once after the last ``push``; the video is taken to stand still from there on.
        """
        while self._waiting:
            self._changes.append(0.0)
            if len(self._changes) == 2 * NEAR + 1:
                yield self._waiting.popleft(), self._is_cut()

    def _is_cut(self) -> bool:
        changes = [*self._changes]
        change = changes.pop(NEAR)
        return change >= LEAST_CHANGE and change >= RATIO * (sum(changes) / len(changes))


def _small(frame: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    """Shrink a frame to at most 18 x 32 pixels, means of cells; edges may be left out."""
    height, width = frame.shape[:2]
    rows, columns = min(GRID[0], height), min(GRID[1], width)
    tall, wide = height // rows, width // columns
    cells = frame[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide, 3)
    return cells.mean(axis=(1, 3), dtype=np.float32)
