"""Videos by index, whatever holds them: the one interface that training and evaluation read."""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from longtake.video import VideoInfo

Frames = UInt8[np.ndarray, "t h w 3"]
CLIPS_AHEAD = 4  # clips that each thread of read_clips reads before they are needed


class ClipPosition(NamedTuple):
    """Where a clip starts: the index of the video, and its first frame in that video."""

    video: int
    start_frame: int


class Rejected(NamedTuple):
    """A video that cannot be used, and why."""

    path: str
    reason: str


class VideoSource(ABC):
    """Videos by index; any of their frames can be read."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for messages and results, such as ``sky:test:64x64``."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of videos."""

    @abstractmethod
    def info(self, index: int) -> VideoInfo:
        """Length, size and frame rate of a video."""

    def infos(self) -> Sequence[VideoInfo]:
        """``info`` of every video; one object repeated if all videos are alike."""
        return [self.info(index) for index in range(len(self))]

    @abstractmethod
    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        """``count`` frames of a video, ``stride`` apart; frame-exact."""

    @abstractmethod
    def identity(self) -> Any:
        """Plain data that differs where any frame may differ; caches are keyed by it."""

    def former_identity(self) -> Any:
        """``identity`` as earlier versions gave it, by which their caches are recognised."""
        return self.identity()

    def contents(self) -> Any:
        """Like ``identity``, but equal for copies of the same videos on other machines."""
        return self.identity()

    @property
    def classes(self) -> tuple[str, ...]:
        """Readable names of the labels; empty for videos without labels."""
        return ()

    @property
    def label_parts(self) -> Mapping[str, tuple[str, ...]]:
        """Values of the named labels that make up the classes; empty if classes have no parts.

        Classes count through them, the last label fastest.
        """
        return {}

    def label(self, index: int) -> int | None:
        """Index into ``classes``."""
        del index
        return None

    def caption(self, index: int) -> str | None:
        """A sentence that describes a video."""
        del index
        return None

    def title(self, index: int) -> str:
        """Path of a video, or the address of a generated one, for messages."""
        return str(self.info(index).path)

    def rejected(self) -> Sequence[Rejected]:
        """Videos that were found but cannot be used."""
        return ()

    def passed_over(self) -> Sequence[Rejected]:
        """Files among the videos that are not taken for videos, though they may look like some."""
        return ()

    def about(self) -> dict[str, Any]:
        """Plain data that an evaluation's result records about the source."""
        return {}

    def read_clips(
        self, positions: Sequence[ClipPosition], count: int, stride: int
    ) -> Iterator[Frames]:
        """Clips in the order of ``positions``; several threads read ahead."""
        threads = min(8, os.cpu_count() or 1)
        pending: deque[Future[Frames]] = deque()
        pool = ThreadPoolExecutor(threads)
        try:
            for video, start in positions:
                pending.append(pool.submit(self.read, video, start, count, stride))
                if len(pending) > threads * CLIPS_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
