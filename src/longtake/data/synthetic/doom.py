"""The synthetic data set ``doom``: first-person walks through 3D maps, harder than the others.

It needs ``pip install 'longtake[doom]'``.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import ClassVar, Literal

import numpy as np
import torch

from longtake.data.source import Frames
from longtake.data.synthetic.base import SyntheticSource, template
from longtake.data.synthetic.doom_walker import FRAMES_PER_SECOND, DoomMap, Step, walk
from longtake.noise import generator

MAPS = {
    "maze": DoomMap("my_way_home.wad", "map01", "a maze of brick and metal rooms"),
    "timber court": DoomMap("freedoom1.wad", "E1M1", "a timber court with steel rails"),
    "concrete tunnels": DoomMap("freedoom2.wad", "MAP01", "dark concrete tunnels"),
    "stone hall": DoomMap(
        "freedoom2.wad", "MAP07", "a hall of grey stone with red and blue lights"
    ),
    "overgrown ruins": DoomMap("freedoom2.wad", "MAP11", "dark ruins overgrown with ivy"),
}
PACES = {"slow": (9.0, 13.0), "fast": (20.0, 28.0)}
TURNINGS = ("turning left", "going straight on", "turning right")
STRAIGHT_DEGREES_A_FRAME = 1.0  # largest mean turn of a clip that goes straight on
RING_BYTES = 1 << 26  # frames of a walk that are kept

_TEMPLATES = (
    "a {pace} walk through {view}, {turning}",
    "{view}, {turning} at a {pace} pace",
    "{turning}, {pace} steps through {view}",
)


class DoomWorld(SyntheticSource):
    """Synthetic data set: walks through five maps of Doom, each a class; needs the package vizdoom.

    Captions also state the pace and the direction of turns. ``SyntheticSource`` describes the
    fields.

    Unlike in other synthetic data sets, rendering a frame requires all frames before it, at some
    hundred frames per second. The last frames of one video stay in memory, so that continuing it is
    fast. Random clips of random videos are slow: export videos once and train from the folder.
    """

    revision: ClassVar[int] = 1
    rate: ClassVar[float] = FRAMES_PER_SECOND
    kind: Literal["doom"] = "doom"

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(MAPS)

    @property
    def label_parts(self) -> Mapping[str, tuple[str, ...]]:
        return {"map": self.classes}

    def label(self, index: int, frame: int = 0) -> int:
        return self.class_of(index)

    def attributes(self, index: int, frame: int = 0) -> dict[str, str]:
        """Ground truth of video ``index``: ``map``, ``pace`` and ``turning``, a direction.

        The direction is the mean over the clip of the source's plan that starts at ``frame``.
        """
        return self._truth(index, self._walk(index).steps(frame, self.plan.span))

    def sentence(self, truth: dict[str, str], wording: int) -> str:
        return template(wording, _TEMPLATES).format(view=MAPS[truth["map"]].view, **truth)

    def render(
        self, index: int, start_frame: int, count: int, stride: int
    ) -> tuple[Frames, dict[str, str]]:
        steps = self._walk(index).steps(start_frame, (count - 1) * stride + 1)
        return np.stack([step.frame for step in steps[::stride]]), self._truth(index, steps)

    def _truth(self, index: int, steps: list[Step]) -> dict[str, str]:
        turn = sum(step.turn for step in steps[:-1]) / len(steps)
        way = int(turn > STRAIGHT_DEGREES_A_FRAME) - int(turn < -STRAIGHT_DEGREES_A_FRAME)
        return {
            "map": self.classes[self.label(index)],
            "pace": self._pace(index)[0],
            "turning": TURNINGS[1 + way],
        }

    def _pace(self, index: int) -> tuple[str, float]:
        random = generator(self.video_seed(index), "pace")
        fast, share = torch.rand(2, generator=random).tolist()
        pace = "fast" if fast < 0.5 else "slow"
        low, high = PACES[pace]
        return pace, low + (high - low) * share

    def _walk(self, index: int) -> "Recording":
        doom_map = MAPS[self.classes[self.label(index)]]
        walker = (doom_map, self.video_seed(index), self._pace(index)[1])
        return _recording(os.getpid(), *walker, self.plan.height, self.plan.width)


class Recording:
    """The last frames of one walk, in memory; earlier frames need a new walk from the start.

    Args:
        begin: starts the walk, and returns an iterator over its steps.
        keep: number of steps that stay in memory.
    """

    def __init__(self, begin: "partial[Iterator[Step]]", keep: int) -> None:
        self._begin = begin
        self._newest: deque[Step] = deque(maxlen=keep)
        self._walk = begin()
        self._walked = 0
        self._lock = threading.Lock()

    def steps(self, start: int, count: int) -> list[Step]:
        """``count`` consecutive steps from number ``start``; a ValueError if that is negative."""
        if start < 0:
            raise ValueError(f"start_frame={start} must be 0 or more")
        with self._lock:
            oldest = self._walked - len(self._newest)
            if start < oldest:
                self._walk, self._walked, oldest = self._begin(), 0, 0
                self._newest.clear()
            kept = list(self._newest)[start - oldest : start - oldest + count]
            while len(kept) < count:
                step = next(self._walk)
                self._newest.append(step)
                if self._walked >= start:
                    kept.append(step)
                self._walked += 1
            return kept


@lru_cache(maxsize=1)  # there is one game a process, which walks share
def _recording(
    process: int, doom_map: DoomMap, seed: int, pace: float, height: int, width: int
) -> Recording:
    keep = max(64, RING_BYTES // (3 * height * width))
    return Recording(partial(walk, doom_map, seed, pace, height, width), keep)
