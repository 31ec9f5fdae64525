"""The worker process: carries out one job after another, and keeps the last model loaded."""

import os
import re
import signal
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from longtake.studio.child import Header, receive, send

OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")
SPIN = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
"""A user's own settings, which hold. Threads that spin while they wait slow work down many times
where other processes, such as a browser, need the processors."""


def main(number: int) -> None:
    """Carry out what the messages of connection ``number`` ask for, until it is closed."""
    if not SPIN & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch is imported
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server says when to end
    connection = Connection(number)
    loaded: Any = None
    try:
        while (message := receive(connection)[0])["do"] != "end":
            if loaded is None and message["do"] in ("job", "describe"):
                from longtake.studio.loaded import Loaded

                loaded = Loaded()
            _do(message, connection, loaded)
    except (EOFError, OSError):
        pass  # the server has ended


def _do(message: Header, connection: Connection, loaded: Any) -> None:
    """Carry out one message."""
    if message["do"] == "job":
        _job(message, connection, loaded)
    elif message["do"] == "describe":
        _describe(message, connection, loaded)
    elif message["do"] == "upload":
        _upload(message, connection)
    elif message["do"] == "change":
        late = "this video is not being made now; continue it first"
        send(connection, {"event": "answer", "number": message["number"], "error": late})


def _job(message: Header, connection: Connection, loaded: Any) -> None:
    from longtake.config import parse
    from longtake.studio.kinds import AnyJob
    from longtake.studio.work import StoppedError, Work

    loaded.places = message["models"]
    job = parse(AnyJob, message["job"])
    work = Work(
        id=message["id"],
        root=Path(message["root"]),
        connection=connection,
        loaded=loaded,
        arguments=message["arguments"],
    )
    try:
        result = job.run(work)
        work.emit("end", status="done", result=result)
    except StoppedError:
        work.emit("end", status="stopped")
    except (EOFError, BrokenPipeError, ConnectionError):
        raise
    except Exception as error:
        traceback.print_exc()  # to the worker's log
        work.emit("end", status="failed", error=sentence(error))


def sentence(error: Exception) -> str:
    """What went wrong, as one line for a user."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        return f"not enough memory: ask for another model, or for less at once ({text[:200]})"
    if isinstance(error, ValueError | FloatingPointError):
        return text
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or text}"
    return f"{type(error).__name__}: {text[:300]}"


def _describe(message: Header, connection: Connection, loaded: Any) -> None:
    """Answer with the description of one model, or why there is none."""
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
