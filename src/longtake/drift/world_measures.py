"""Measures of videos that imitate a synthetic data set, such as its wind, window by window."""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from longtake.data.source import Frames
from longtake.data.synthetic.marbles_measures import permanence, sightings
from longtake.data.synthetic.sky_measures import light, ridge, wind

WorldName = Literal["sky", "marbles"]
T = TypeVar("T")

FAR_RIDGE = 0.03  # move of the ridge that is reported, as a share of the height
STRANGER = 2.0  # reported growth of the distance of colours from possible ones, in levels
# Events in a thousand frames above which they are reported; fewer occur by miscounting real
# marbles.
LEAST_EVENTS = 2.0


@dataclass(frozen=True, kw_only=True)
class WorldMeasures:
    """Measures over time that only videos of one synthetic data set have.

    Attributes:
        world: name of the synthetic data set.
        starts: first frame of each window.
        numbers: numerical measures by name, one value per window.
        words: ground truth as read from the frames, such as the time of day, one word per window.
        sentences: changes over the video in words; empty for a stable video.
    """

    world: str
    starts: tuple[int, ...]
    numbers: dict[str, tuple[float, ...]]
    words: dict[str, tuple[str, ...]]
    sentences: tuple[str, ...]


class WorldReader(ABC):
    """Computes the measures of one synthetic data set, window by window in order of time."""

    world: WorldName

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.numbers: defaultdict[str, list[float]] = defaultdict(list)
        self.words: defaultdict[str, list[str]] = defaultdict(list)

    @abstractmethod
    def read(self, frames: Frames) -> tuple[dict[str, float], dict[str, str]]:
        """Numerical measures, and ground truth as words, of the frames of one window."""

    @abstractmethod
    def sentences(self) -> Iterator[str]:
        """Sentences on the measured numbers that changed or are wrong, after all windows."""

    def add(self, start: int, frames: Frames) -> None:
        """Measure the window ``frames`` that starts at frame ``start`` of the video."""
        self.starts.append(start)
        numbers, words = self.read(frames)
        for name, value in numbers.items():
            self.numbers[name].append(value)
        for name, word in words.items():
            self.words[name].append(word)

    def done(self) -> WorldMeasures:
        """Measures of all windows that were added."""
        changed = []
        for name, words in self.words.items():
            first, last = (Counter(part).most_common(1)[0][0] for part in _thirds(words))
            if first != last:
                changed.append(f"{name} changes from {first} to {last}")
        return WorldMeasures(
            world=self.world,
            starts=tuple(self.starts),
            numbers={name: tuple(values) for name, values in self.numbers.items()},
            words={name: tuple(values) for name, values in self.words.items()},
            sentences=(*changed, *self.sentences()),
        )


class SkyReader(WorldReader):
    """Measures videos that imitate the synthetic data set ``sky``.

    Its measures are time of day, amount of cloud, wind, how far the ridge has moved, and how far
    colours are from those of the data set.
    """

    world = "sky"
    _ridge: np.ndarray | None = None
    _height = 1

    def read(self, frames: Frames) -> tuple[dict[str, float], dict[str, str]]:
        seen, speed = light(frames), wind(frames)
        line = ridge(frames).median(0).values.numpy()
        if self._ridge is None:
            self._ridge, self._height = line, frames.shape[1]
        numbers = {
            "sun": seen.sun.median().item(),
            "cloud": seen.cloud.mean().item(),
            "wind": speed,
            "ridge_px": float(np.abs(line - self._ridge).mean()),
            "strangeness": seen.strangeness.mean().item(),
        }
        wind_to = "right" if speed > 0 else "left"
        return numbers, {"time of day": seen.time_of_day, "cover": seen.cover, "wind": wind_to}

    def sentences(self) -> Iterator[str]:
        moved = float(np.median(_thirds(self.numbers["ridge_px"])[1]))
        if moved > FAR_RIDGE * self._height:
            yield f"the ridge moves by {moved:.1f} pixels"
        first, last = (float(np.median(part)) for part in _thirds(self.numbers["strangeness"]))
        if last > first + STRANGER:
            yield f"colours leave those of the data set: {first:.1f}, then {last:.1f} levels away"


class MarblesReader(WorldReader):
    """Measures videos that imitate the synthetic data set ``marbles``.

    It counts marbles, and events in which one vanishes, appears, changes colour or teleports.
    """

    world = "marbles"
    _last: np.ndarray | None = None

    def read(self, frames: Frames) -> tuple[dict[str, float], dict[str, str]]:
        joined = frames if self._last is None else np.concatenate([self._last, frames])
        self._last = frames[-1:]
        counts = [len(seen) for seen in sightings(frames)]
        events = permanence(joined).events_per_1000_frames
        numbers = {"marbles": float(np.mean(counts)), "events_per_1000_frames": events}
        return numbers, {"count": str(Counter(counts).most_common(1)[0][0])}

    def sentences(self) -> Iterator[str]:
        events = float(np.mean(self.numbers["events_per_1000_frames"]))
        if events > LEAST_EVENTS:
            yield f"marbles do not persist: {events:.1f} in 1,000 frames vanish, appear or teleport"


READERS: dict[WorldName, type[WorldReader]] = {
    reader.world: reader for reader in (SkyReader, MarblesReader)
}


def _thirds(values: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The first third and the last third of ``values``, at least one value each."""
    count = max(1, len(values) // 3)
    return values[:count], values[-count:]
