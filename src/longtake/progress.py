"""Callbacks by which long computations report their progress."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called with the number of units done so far (frames, clips, estimates) and their total."""


def no_progress(done: int, total: int) -> None:
    """Ignore progress: the default of every ``report`` argument."""
