"""Broken inputs, drawn from a seed: changed plain data, torn bytes, texts that are not configs.

``LONGTAKE_MUTATIONS`` sets how many are drawn of each kind; ``LONGTAKE_HANG``, after how many
seconds of a processor one of them fails as a hang, by default never.
"""

import copy
import os
import random
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

COUNT = int(os.environ.get("LONGTAKE_MUTATIONS", "40"))
HANG_SECONDS = float(os.environ.get("LONGTAKE_HANG", "0"))
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 1 << 20, 1 << 40, 1 << 62, 10**30, 0.0, 0.5, -1.5, 1e300,
    float("nan"), float("inf"), "", "x", "nan", "../..", "/etc/passwd", "\u2028", [], {}, [1],
    [[[]]], {"kind": "x"}, {"kind": 3}, {"kind": []}, {"a": {"a": {}}}, [None] * 5, ["x"] * 3,
]  # fmt: skip
TEXTS = [
    "", "null", "[]", "3", '"x"', "[" * 5000, '{"a":' * 5000, "9" * 5000, "{", "\x00", "\ufeff{}",
    "a: &a [*a]", "!!python/object:os.system x", "!!int x", "!!timestamp x", "2021-99-99",
    "- " * 3000,
    "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 1}]\n" for i in range(12)),
]  # fmt: skip


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every container of plain data with each of its keys."""
    found: list[tuple[Any, Any]] = []
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            found += [(data, key), *places(value)]
    return found


def changed(data: Any, draw: random.Random) -> Any:
    """A copy with one to three values replaced, removed, renamed or exchanged."""
    data = copy.deepcopy(data)
    for _ in range(draw.randint(1, 3)):
        if not (options := places(data)):
            break
        node, key = draw.choice(options)
        match draw.randrange(5):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[draw.choice(["x", "kind", "", f"{key}x"])] = node.pop(key)
            case 2:
                other, place = draw.choice(options)
                if isinstance(other, dict) and place in other:
                    node[key] = copy.deepcopy(other[place])
            case _:
                node[key] = copy.deepcopy(draw.choice(VALUES))
    return data


def torn(data: bytes, draw: random.Random) -> bytes:
    """Bytes cut, overwritten, removed or repeated."""
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice([1, 2, 8, 100]))
    match draw.randrange(4):
        case 0:
            return data[:start]
        case 1:
            return data[:start] + draw.randbytes(end - start) + data[end:]
        case 2:
            return data[:start] + data[end:]
    return data[:end] + data[start:]


def opens(read: Callable[[], Any]) -> Any:
    """What is read; None if it is refused with a sentence of ours. Anything else fails the test."""
    try:
        return read()
    except ValidationError:
        raise
    except (ValueError, OSError, FloatingPointError):
        return None


@contextmanager
def no_hang() -> Generator[None]:
    """Fail the test when the processor has worked for too long."""

    def hangs(*_: object) -> None:
        raise AssertionError(f"an input takes more than {HANG_SECONDS:g} seconds")

    before = signal.signal(signal.SIGPROF, hangs)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Tally:
    """How many inputs were tried and accepted, for a report of pytest (``--junitxml``)."""

    def __init__(self, record_property: Callable[[str, Any], None]) -> None:
        self._record, self._tried, self._accepted = record_property, 0, 0

    def __call__(self, read: Callable[[], Any]) -> Any:
        """What is read, or None, as ``opens``."""
        with no_hang():
            found = opens(read)
        self._tried += 1
        self._accepted += found is not None
        return found

    def close(self) -> None:
        self._record("tried", self._tried)
        self._record("accepted", self._accepted)
