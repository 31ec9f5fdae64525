"""Which clips of a source a latent cache holds."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Int64
from pydantic import model_validator

from longtake.config import Config, plural
from longtake.data.clips import Clip, ClipReader, ClipSource, Draw
from longtake.noise import generator

LOGGER = logging.getLogger("longtake")
DRAWN = -1
FEW_BATCHES = 4
Count = Annotated[int, Ge(1)]


class CachePlan(Config):
    """Which clips of a source are encoded to a latent cache.

    At most one of ``every``, ``clips`` and ``copies`` may be set. If all are None, clips of video
    files start a third of a clip apart, and of each video of a synthetic data set one clip is
    taken. By how many frames a PVDM denoiser's clips overlap is the denoiser's setting
    ``clip_overlap_frames``, not one of the cache.

    Attributes:
        every: distance between the starts of a video's clips, in frames of the video; one more clip
            ends with the video's last frame.
        clips: number of clips of the whole source, spread evenly over its videos.
        copies: number of clips of each video, each with a random start.
        batch: number of clips, or of windows of longer clips, encoded at once.
        seed: seed of everything that is random: crop, mirroring and, with ``copies``, the start.
    """

    every: Count | None = None
    clips: Count | None = None
    copies: Count | None = None
    batch: Count = 8
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, data: Any, info: Any) -> Any:
        """Drop ``copies: 1`` of an earlier format, which wrote that default into every file."""
        former = info.context and info.context.get("upgrade") and isinstance(data, dict)
        if former and "every" not in data and data.get("copies") == 1:
            return {key: value for key, value in data.items() if key != "copies"}
        return data

    @model_validator(mode="after")
    def _one_choice(self) -> "CachePlan":
        if len(given := self.given()) > 1:
            names = " and ".join(given)
            raise ValueError(f"{names} are both given; each says which clips to cache, so set one")
        return self

    def chosen(self, source: ClipSource) -> Mapping[str, int]:
        """Name and value of the choice in effect: ``every``, ``clips`` or ``copies``.

        If none is set, it is ``copies``, 1, of a synthetic data set, and for videos on disk
        ``every``, a third of a clip's span.
        """
        if given := self.given():
            return given
        return {"copies": 1} if source.rendered else {"every": max(1, source.plan.span // 3)}

    def given(self) -> dict[str, int]:
        """Name and value of what is set: ``every``, ``clips`` or ``copies``; empty if none is."""
        choices = {"every": self.every, "clips": self.clips, "copies": self.copies}
        return {name: value for name, value in choices.items() if value is not None}


class PlannedClips(Sequence[Clip]):
    """The clips of a source that a ``CachePlan`` chooses; each is read when it is indexed.

    They are to be read by one thread. A clip that cannot be decoded is replaced by another of these
    clips, which depends on the seed and the clip's number alone.

    Attributes:
        positions: video and first frame of each clip; the frame is -1 where it is random.

    Raises:
        ValueError: the source does not have as many clips as the plan asks for.
    """

    def __init__(self, source: ClipSource, plan: CachePlan) -> None:
        self._source, self._seed, self._reader = source, plan.seed, ClipReader(source.forward())
        ((choice, count),) = plan.chosen(source).items()
        self.positions = _CHOICES[choice](source, count)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Clip:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._reader.clip(chain([self._draw(item)], self._replacements(item)))

    def _draw(self, item: int) -> Draw:
        video, start = map(int, self.positions[item])
        if start == DRAWN:
            copy = item // len(self._source)
            return video, generator(self._seed, "cache", copy, video), None
        return video, generator(self._seed, "cached clip", video, start), start

    def _replacements(self, item: int) -> Iterator[Draw]:
        random = generator(self._seed, "instead of cached clip", item)
        while True:
            yield self._draw(int(torch.randint(len(self), (), generator=random)))


def warn_of_few_clips(clips: int, batch: int) -> None:
    """Log a warning if a latent cache has fewer clips than four training batches.

    ``clips`` is the number of clips, ``batch`` the number of samples per batch.
    """
    if clips < FEW_BATCHES * batch:
        LOGGER.warning(
            "the latent cache has %s, fewer than %d batches of %d, so training repeats them "
            "often; add footage, or set a lower cache.every, or cache.clips",
            *(plural(clips, "clip"), FEW_BATCHES, batch),
        )


Positions = Int64[np.ndarray, "n 2"]
"""Video and first frame of each clip; the frame is ``DRAWN`` where it is random."""


def _copies(source: ClipSource, copies: int) -> Positions:
    videos = np.tile(np.arange(len(source)), copies)
    return np.stack([videos, np.full_like(videos, DRAWN)], axis=1)


def _every(source: ClipSource, every: int) -> Positions:
    last = _last_starts(source)
    clips = -(-last // every) + 1
    videos = np.repeat(np.arange(len(last)), clips)
    number = np.arange(len(videos)) - np.repeat(np.cumsum(clips) - clips, clips)
    return np.stack([videos, np.minimum(number * every, last[videos])], axis=1)


def _spread(source: ClipSource, clips: int) -> Positions:
    """Positions of clips at equal distances in the possible starts of all videos, end to end.

    Raises:
        ValueError: there are fewer possible starts than clips.
    """
    ends = np.cumsum(_last_starts(source) + 1)
    total = int(ends[-1])
    if clips > total:
        raise ValueError(
            f"cache.clips={clips} must be at most {total}, the number of frames of {source.name} "
            "at which a clip can start"
        )
    places = (2 * np.arange(clips) + 1) * total // (2 * clips)
    videos = np.searchsorted(ends, places, side="right")
    return np.stack([videos, places - (ends - np.diff(ends, prepend=0))[videos]], axis=1)


def _last_starts(source: ClipSource) -> Int64[np.ndarray, "videos"]:
    """Index of the last frame of each video at which a clip can start."""
    frames = np.array([info.frames for info in source.infos()], np.int64)
    return np.maximum(frames - source.plan.span, 0)


_CHOICES = {"every": _every, "clips": _spread, "copies": _copies}
