"""Work beside the sampling: a thread that encodes while the next frames are computed."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Background:
    """Makes calls in a thread of its own, one after another; a context manager.

    An error of a call is raised by a later ``submit`` or at the end of the block. If the block ends
    with an error, calls that wait are dropped, and the one that runs is finished.
    """

    def __init__(self, most_waiting: int = 2) -> None:
        """Start the thread; ``submit`` waits while ``most_waiting`` calls are not done."""
        self._thread = ThreadPoolExecutor(1)
        self._calls: deque[Future[Any]] = deque()
        self._most = most_waiting

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function(*args)`` in the thread, after earlier calls; returns before it is done.

        First waits while ``most_waiting`` calls are not done. Raises the error of an earlier call.
        """
        while len(self._calls) >= self._most:
            self._calls.popleft().result()
        self._calls.append(self._thread.submit(function, *args))

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._calls and kind is None:
                self._calls.popleft().result()
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)
