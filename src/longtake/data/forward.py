"""Reads clips in order; decodes and resizes frames that neighbouring clips share only once."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import numpy as np

from longtake.data.clips import ClipPlan, cover
from longtake.data.source import Frames, VideoSource
from longtake.data.views import View
from longtake.video import VideoError

T = TypeVar("T")
_END = object()


class ForwardVideos(View):
    """Videos of a source whose frames just cover a plan's size, read without going back.

    Reading continues after the last clip, if the next one is of the same video and begins at most
    a clip's length later; otherwise it starts at the next clip. A clip with a damaged frame is read
    by ``source``, in the video's own size. Only one thread may read.
    """

    def __init__(self, source: VideoSource, plan: ClipPlan) -> None:
        super().__init__(source)
        self._plan = plan
        self._video, self._first = -1, 0
        self._frames: deque[np.ndarray] = deque()
        self._stream: Iterator[np.ndarray] = iter(())

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        span = (count - 1) * stride + 1
        ahead = start_frame - self._first - len(self._frames)
        if index != self._video or start_frame < self._first or ahead > span:
            self._frames.clear()
            self._video, self._first = index, start_frame
            self._stream = self.source.frames_from(index, start_frame)
        with suppress(VideoError):
            self._advance(start_frame, span)
        if len(self._frames) >= span:
            return np.stack([*islice(self._frames, 0, span, stride)])
        self._video = -1
        return self.source.read(index, start_frame, count, stride)

    def _advance(self, start_frame: int, span: int) -> None:
        """Drop kept frames before ``start_frame``, and read on until ``span`` frames are kept."""
        while self._first < start_frame and self._frames:
            self._frames.popleft()
            self._first += 1
        for _ in range(start_frame - self._first):
            next(self._stream, None)
        self._first = start_frame
        for frame in islice(self._stream, span - len(self._frames)):
            self._frames.append(cover(frame[None], self._plan.height, self._plan.width)[0])


def read_ahead(items: Iterable[T], most: int) -> Generator[T]:
    """Yield the items of an iterable; another thread makes up to ``most`` of them in advance."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, iterator, _END) for _ in range(most))
        try:
            while (item := pending.popleft().result()) is not _END:
                pending.append(pool.submit(next, iterator, _END))
                yield item  # pyright: ignore[reportReturnType]
        finally:
            pool.shutdown(cancel_futures=True)
