"""The worker process: carries out one job after another, and keeps the last model loaded."""

import os
import re
import signal
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.studio.child import Header, receive, send

if TYPE_CHECKING:
    from longtake.studio.kinds import JobKind
    from longtake.studio.loaded import Loaded
    from longtake.studio.work import Work

OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")
SPIN = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
"""Environment variables by which a user sets how OpenMP's threads wait. If neither is set, they do
not spin: spinning slows work down many times where other processes, such as a browser, need the
processors."""


def main(number: int) -> None:
    """Carry out what messages ask for until their connection is closed.

    ``number`` is the file descriptor of the connection to the server.
    """
    if not SPIN & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch is imported
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server says when to end
    connection, later = Connection(number), deque[Header]()
    with suppress(EOFError, ConnectionError, OSError):  # the server has ended
        while (message := later.popleft() if later else receive(connection)[0])["do"] != "end":
            later += TASKS[message["do"]](message, connection) or ()


@cache
def _loaded() -> "Loaded":
    """The models of this process; importing them takes seconds."""
    from longtake.studio.loaded import Loaded

    return Loaded()


def _late(message: Header, connection: Connection) -> None:
    """Answer a change that arrives after its job has ended."""
    late = "this video is not being made now; continue it first"
    send(connection, {"event": "answer", "number": message["number"], "error": late})


def _nothing(message: Header, connection: Connection) -> None:
    """Ignore a stop that arrives after its job has ended."""
    del message, connection


def _job(message: Header, connection: Connection) -> list[Header]:
    """Carry out a job; returns the messages that arrived meanwhile and do not concern it."""
    from longtake.studio.work import StoppedError

    job, work = _opened(message, connection)
    try:
        result = job.run(work)
        work.emit("end", status="done", result=result)
    except StoppedError as stop:
        kept = {} if stop.frames is None else {"frames_done": stop.frames}
        work.emit("end", status="stopped", **kept)
    except (EOFError, BrokenPipeError, ConnectionError):
        raise
    except Exception as error:
        traceback.print_exc()  # to the worker's log
        work.emit("end", status="failed", error=sentence(error))
    return work.later


def sentence(error: Exception) -> str:
    """Message of an error as one line for a user."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        return f"not enough memory: ask for another model, or for less at once ({text[:200]})"
    if isinstance(error, ValueError | FloatingPointError):
        return text
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or text}"
    return f"{type(error).__name__}: {text[:300]}"


def _opened(message: Header, connection: Connection) -> "tuple[JobKind, Work]":
    """Kind and settings of the job of a message, and the ``Work`` by which it meets the server."""
    from longtake.config import parse
    from longtake.studio.kinds import AnyJob
    from longtake.studio.work import Work

    loaded = _loaded()
    loaded.places = message["models"]
    work = Work(
        id=message["id"],
        root=Path(message["root"]),
        connection=connection,
        loaded=loaded,
        arguments=message["arguments"],
    )
    return parse(AnyJob, message["job"]), work


def _keep(message: Header, connection: Connection) -> list[Header]:
    """Make a file of what a killed worker left of a job."""
    job, work = _opened(message, connection)
    try:
        work.emit("kept", frames_done=job.keep(work))
    except (ValueError, OSError):
        traceback.print_exc()
    return work.later


def _describe(message: Header, connection: Connection) -> None:
    """Answer with the description of one model, or why there is none."""
    loaded = _loaded()
    loaded.places = message["models"]
    header: Header = {"event": "answer", "number": message["number"]}
    try:
        header["model"] = loaded.describe(message["name"])
    except Exception as error:
        traceback.print_exc()
        header["error"] = sentence(error)
    send(connection, header)


def _upload(message: Header, connection: Connection) -> None:
    """Answer with what an uploaded file is, once it is decoded and written again."""
    from longtake.config import parse
    from longtake.studio.decoding import decode_upload
    from longtake.studio.settings import Limits

    header: Header = {"event": "answer", "number": message["number"]}
    try:
        path, limits = Path(message["path"]), parse(Limits, message["limits"])
        header["upload"] = decode_upload(path, limits)
    except Exception as error:
        header["error"] = sentence(error)
    send(connection, header)


TASKS: dict[str, Callable[[Header, Connection], list[Header] | None]] = {
    "job": _job,
    "keep": _keep,
    "describe": _describe,
    "upload": _upload,
    "change": _late,
    "stop": _nothing,
}
