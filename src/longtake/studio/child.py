"""A child process that carries out jobs, and the messages to and from it.

A message is a JSON header and some bytes; nothing is unpickled.
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Header = dict[str, Any]
Receive = Callable[[Header, bytes], None]
RUN = "from longtake.studio.worker import main; main({number})"
KILL_SECONDS = 5.0


def send(connection: Connection, header: Mapping[str, Any], data: bytes | memoryview = b"") -> None:
    """Send a message, a JSON header and some bytes; an OSError if the other side has ended."""
    connection.send_bytes(json.dumps(header).encode())
    connection.send_bytes(data)


def receive(connection: Connection) -> tuple[Header, bytes]:
    """Wait for a message; return its JSON header and its bytes.

    An EOFError or OSError if the other side has ended.
    """
    header = json.loads(connection.recv_bytes())
    return header, connection.recv_bytes()


class Child:
    """A worker process; started when it is first needed, and again after it has ended.

    Args:
        log: file that gets what the process prints.
        on_message: called with header and bytes of each message, in a thread of its own.
        on_end: called with the exit code, -N for signal N, when the process has ended.
    """

    def __init__(self, log: Path, on_message: Receive, on_end: Callable[[int], None]) -> None:
        self._log, self._on_message, self._on_end = log, on_message, on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the worker; None if none runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def send(self, header: Mapping[str, Any]) -> None:
        """Send a message to the worker, which is started if it does not run."""
        with self._lock:
            if self.pid is None:
                self._start()
            assert self._connection is not None
            with suppress(OSError):  # its end is reported by on_end
                send(self._connection, header)

    def kill(self) -> None:
        """Kill the worker process."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    def close(self) -> None:
        """Close the connection, whereupon the worker ends; it is killed if it does not."""
        process, self._process = self._process, None
        if self._connection is not None and not self._connection.closed:
            with suppress(OSError):
                send(self._connection, {"do": "end"})
        if process is not None:
            try:
                process.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", RUN.format(number=theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._connection = Connection(ours.detach())
        arguments = (self._process, self._connection)
        threading.Thread(target=self._listen, args=arguments, daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        with connection, suppress(EOFError, OSError):
            while True:
                self._on_message(*receive(connection))
        self._on_end(process.wait())
