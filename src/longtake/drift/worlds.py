"""What long video keeps of an embedded world: the world's own measures, window by window."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import UInt8

from longtake.data.synthetic.marbles_measures import permanence, sightings
from longtake.data.synthetic.sky_measures import light, ridge, wind

WorldName = Literal["sky", "marbles"]
Frames = UInt8[np.ndarray, "t h w 3"]

T = TypeVar("T")

THIRD = 3
FAR_RIDGE = 0.03
STRANGER = 2.0
"""255ths by which colours may leave the palettes before it is said."""

LEAST_EVENTS = 2.0
"""In a thousand frames: below this the marbles of the world itself are miscounted at times."""


@dataclass(frozen=True, kw_only=True)
class WorldTrack:
    """A world's measures over time.

    Attributes:
        world: which.
        starts: first frames of the windows.
        numbers: measures by name, one value a window.
        words: what the world's labels would say, likewise.
        sentences: what has changed; none where all has stayed.
    """

    world: str
    starts: tuple[int, ...]
    numbers: dict[str, tuple[float, ...]]
    words: dict[str, tuple[str, ...]]
    sentences: tuple[str, ...]


class WorldReader(ABC):
    """Looks at windows of frames, in order of time, and keeps what it has read off them."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.numbers: dict[str, list[float]] = {}
        self.words: dict[str, list[str]] = {}

    @property
    @abstractmethod
    def world(self) -> str:
        """Whose measures these are."""

    @abstractmethod
    def look(self, frames: Frames) -> None:
        """Read a window off."""

    @abstractmethod
    def sentences(self) -> Sequence[str]:
        """What has changed from the first third of the windows to the last."""

    def add(self, start: int, frames: Frames) -> None:
        """The window that begins at frame ``start``."""
        self.starts.append(start)
        self.look(frames)

    def done(self) -> WorldTrack:
        """All windows."""
        return WorldTrack(
            world=self.world,
            starts=tuple(self.starts),
            numbers={name: tuple(values) for name, values in self.numbers.items()},
            words={name: tuple(values) for name, values in self.words.items()},
            sentences=tuple(self.sentences()),
        )

    def note(self, numbers: dict[str, float], words: dict[str, str]) -> None:
        """Keep what this window shows."""
        for name, value in numbers.items():
            self.numbers.setdefault(name, []).append(value)
        for name, word in words.items():
            self.words.setdefault(name, []).append(word)

    def changed_words(self) -> list[str]:
        """A sentence for each label that the last third gives otherwise than the first."""
        sentences = []
        for name, said in self.words.items():
            first, last = (_commonest(part) for part in _thirds(said))
            if first != last:
                sentences.append(f"{name} changes from {first} to {last}")
        return sentences


class SkyReader(WorldReader):
    """Time of day, cover, wind, the ridge's move, and how strange the colours are."""

    def __init__(self) -> None:
        super().__init__()
        self._ridge: np.ndarray | None = None
        self._height = 1

    @property
    def world(self) -> str:
        return "sky"

    def look(self, frames: Frames) -> None:
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
        words = {
            "time of day": seen.time_of_day,
            "cover": seen.cover,
            "wind": "right" if speed > 0 else "left",
        }
        self.note(numbers, words)

    def sentences(self) -> Sequence[str]:
        said = self.changed_words()
        moved = float(np.median(_thirds(self.numbers["ridge_px"])[1]))
        if moved > FAR_RIDGE * self._height:
            said.append(f"the ridge moves by {moved:.1f} pixels")
        first, last = (float(np.median(part)) for part in _thirds(self.numbers["strangeness"]))
        if last > first + STRANGER:
            said.append(f"colours leave the world's palettes: {first:.1f} to {last:.1f} 255ths off")
        return said


class MarblesReader(WorldReader):
    """How many marbles there are, and how often one does what marbles cannot."""

    def __init__(self) -> None:
        super().__init__()
        self._last: np.ndarray | None = None

    @property
    def world(self) -> str:
        return "marbles"

    def look(self, frames: Frames) -> None:
        joined = frames if self._last is None else np.concatenate([self._last, frames])
        self._last = frames[-1:]
        broken = permanence(joined)
        counts = [len(seen) for seen in sightings(frames)]
        numbers = {
            "marbles": float(np.mean(counts)),
            "events_per_1000_frames": broken.events_per_1000_frames,
        }
        self.note(numbers, {"count": str(Counter(counts).most_common(1)[0][0])})

    def sentences(self) -> Sequence[str]:
        said = self.changed_words()
        events = float(np.mean(self.numbers["events_per_1000_frames"]))
        if events > LEAST_EVENTS:
            said.append(
                f"marbles do not persist: {events:.1f} in 1,000 frames vanish, appear or teleport"
            )
        return said


READERS: dict[WorldName, type[WorldReader]] = {"sky": SkyReader, "marbles": MarblesReader}


def _thirds(values: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The first third and the last."""
    count = max(1, len(values) // THIRD)
    return values[:count], values[-count:]


def _commonest(words: Sequence[str]) -> str:
    return Counter(words).most_common(1)[0][0]
