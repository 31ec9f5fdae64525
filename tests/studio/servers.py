"""Servers as processes of their own."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from studio.conftest import PATIENCE_SECONDS


class Server:
    """A running ``longtake studio`` or ``longtake serve``."""

    def __init__(self, *arguments: object) -> None:
        words = [sys.executable, "-m", "longtake.cli", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1]

    def ask(self, path: str, data: Any = None) -> Any:
        """JSON data of an answer; with data, of a POST."""
        request = urllib.request.Request(f"{self.address}{path}", headers={"X-Longtake": "1"})
        if data is not None:
            request.data = json.dumps(data).encode()
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            body = answer.read()
        return json.loads(body) if answer.headers["content-type"].startswith("app") else body

    def until(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """The answer of an address, once a condition holds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds(found := self.ask(path)):
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found

    def kill(self) -> None:
        """End it without a chance to write anything."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as a user does; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def running(*arguments: object) -> Iterator[Server]:
    """A server that is killed at the end, if it still runs."""
    server = Server(*arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()
