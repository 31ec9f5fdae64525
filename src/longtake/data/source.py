"""Videos by index, whatever holds them: the one interface that training and evaluation read."""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from longtake.video import VideoInfo

Frames = UInt8[np.ndarray, "t h w 3"]
CLIPS_AHEAD = 4  # clips that each thread of read_clips reads before they are needed

Preparation = Callable[[Frames], Frames]
"""Function that is applied to the frames of a clip, in the thread that read them."""


def unchanged(clip: Frames) -> Frames:
    """Return ``clip``: the default of ``prepare`` in ``VideoSource.read_clips``."""
    return clip


class ClipPosition(NamedTuple):
    """Where a clip starts: index of the video in its source, index of the frame in the video."""

    video: int
    start_frame: int


class Rejected(NamedTuple):
    """A file that cannot be used as a video, and the reason."""

    path: str
    reason: str


class VideoSource(ABC):
    """A collection of videos, accessed by index, of which any frames can be read."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name of the source for messages and results, such as ``sky:test:64x64``."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of videos."""

    @abstractmethod
    def info(self, index: int) -> VideoInfo:
        """Length, size and frame rate of video ``index``."""

    def infos(self) -> Sequence[VideoInfo]:
        """Size, length and frame rate of every video; one object for all if videos are alike."""
        return [self.info(index) for index in range(len(self))]

    @abstractmethod
    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        """Read ``count`` frames of video ``index``, every ``stride``-th from ``start_frame`` on.

        The caller makes sure that they lie within the video. Decoding is exact: a frame does not
        depend on where reading starts.

        Raises:
            VideoError: a frame cannot be read.
        """

    def frames_from(self, index: int, start_frame: int) -> Iterator[np.ndarray]:
        """Yield the frames of video ``index`` from ``start_frame`` on, uint8 ``(h, w, 3)`` each.

        It may stop before the video ends, or raise a VideoError; ``read`` then returns the other
        frames, or says what is wrong with them.
        """
        for start in range(start_frame, self.info(index).frames):
            yield self.read(index, start, 1)[0]

    @abstractmethod
    def identity(self) -> Any:
        """JSON data that differs if a frame or label may have changed; in keys of latent caches."""

    def former_identity(self) -> Any:
        """What earlier versions returned as ``identity``, to recognise their latent caches."""
        return self.identity()

    def contents(self) -> Any:
        """Like ``identity``, JSON data, but equal for copies of the videos on other machines."""
        return self.identity()

    @property
    def classes(self) -> tuple[str, ...]:
        """Readable name of each class; empty for videos without classes."""
        return ()

    @property
    def label_parts(self) -> Mapping[str, tuple[str, ...]]:
        """Values of each named label, whose combinations are the classes; empty if there are none.

        Classes count through the combinations, the last label fastest.
        """
        return {}

    @property
    def label_sizes(self) -> Mapping[str, int]:
        """Number of values of each named label."""
        return {name: len(values) for name, values in self.label_parts.items()}

    def label(self, index: int) -> int | None:
        """Class of video ``index``, an index into ``classes``; None without classes."""
        del index
        return None

    def caption(self, index: int) -> str | None:
        """Sentence that describes video ``index``; None without captions."""
        del index
        return None

    def title(self, index: int) -> str:
        """Name of video ``index`` for messages: its path, or ``sky/train/12`` if synthetic."""
        return str(self.info(index).path)

    def rejected(self) -> Sequence[Rejected]:
        """Videos of the source that cannot be used, with the reason."""
        return ()

    def passed_over(self) -> Sequence[Rejected]:
        """Files that look like videos but are not taken for one, with the reason."""
        return ()

    def about(self) -> dict[str, Any]:
        """JSON data about the source that an evaluation stores in its result."""
        return {}

    def read_clips(
        self,
        positions: Sequence[ClipPosition],
        count: int,
        stride: int,
        prepare: Preparation = unchanged,
    ) -> Iterator[Frames]:
        """Yield a clip for each of ``positions``; several threads read ahead.

        A clip has ``count`` frames, every ``stride``-th of the video from its start on, to which
        ``prepare`` is applied.
        """

        def prepared(position: ClipPosition) -> Frames:
            return prepare(self.read(*position, count, stride))

        threads = min(8, os.cpu_count() or 1)
        pending: deque[Future[Frames]] = deque()
        pool = ThreadPoolExecutor(threads)
        try:
            for position in positions:
                pending.append(pool.submit(prepared, position))
                if len(pending) > threads * CLIPS_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
