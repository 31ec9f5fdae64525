"""Signals that stop long work: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (a closed terminal)."""

import os
import signal
import stat
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Arrived:
    """The first of SIGINT, SIGTERM and SIGHUP that arrived.

    ``number`` is the number of that signal of the system; None before one has arrived.
    """

    number: int | None = None

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells report it: 130, 143 or 129; before one, 130."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def raising() -> Generator[Arrived]:
    """Context manager in which the first SIGINT, SIGTERM or SIGHUP raises a KeyboardInterrupt.

    Each further SIGINT does so too.
    """
    arrived = Arrived()

    def interrupt(number: int) -> None:
        again = arrived.number is not None
        arrived.number = arrived.number or number
        if not again or number == signal.SIGINT:
            raise KeyboardInterrupt

    with _handled(interrupt):
        yield arrived


@contextmanager
def deferred(*, insist: bool = True) -> Generator[Arrived]:
    """Context manager in which SIGINT, SIGTERM and SIGHUP are only recorded, not raised.

    Yields the ``Arrived`` that records the first. With ``insist``, a second signal that is a SIGINT
    raises a KeyboardInterrupt at once.
    """
    arrived = Arrived()

    def record(number: int) -> None:
        if insist and arrived.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        arrived.number = arrived.number or number

    with _handled(record):
        yield arrived


@contextmanager
def _handled(act: Callable[[int], None]) -> Generator[None]:
    """Context manager that calls ``act`` with the number of each SIGINT, SIGTERM or SIGHUP.

    In the main thread only; under nohup, SIGHUP stays ignored.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            _leave_terminal()
        act(number)

    main = threading.current_thread() is threading.main_thread()
    hung_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    numbers = [s for s in SIGNALS if main and (s != signal.SIGHUP or hung_up)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_terminal() -> None:
    """Discard output to a closed terminal from now on, since writing there would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(output).st_mode):
                os.dup2(nowhere, output)
    os.close(nowhere)
