"""How a training in stages (autoencoder, then denoisers) shows its progress."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from longtake.pipeline.results import Bar
from longtake.training.callbacks import Callbacks


@dataclass(frozen=True, kw_only=True)
class Output:
    """How a training in stages (autoencoder, then denoisers) shows its progress.

    Attributes:
        say: shows a line of text.
        training: takes the title of a run, and returns a context manager of the run's callbacks.
        bar: takes a title and what is counted, such as ``frames``, and returns a context manager of
            a progress callback.
    """

    say: Callable[[str], None]
    training: Callable[[str], AbstractContextManager[Callbacks]]
    bar: Bar
