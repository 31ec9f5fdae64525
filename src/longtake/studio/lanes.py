"""A lane: a worker process with the jobs that wait for it and the one that it carries out."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from longtake.studio.child import Child, Header
from longtake.studio.frames import Clip, encode_clip

ANSWER_SECONDS = 300.0
Event = Callable[["Lane", Header, Clip | None], None]
_NUMBERS = itertools.count()


class Lane:
    """A worker process that carries out jobs one after another.

    Args:
        log: file that gets what the process prints.
        on_event: called in the event loop with this lane, each event of a job and its frames, or
            None; also with the event ``died`` when the process has ended.
    """

    def __init__(self, log: Path, on_event: Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._child = Child(log, self._message, self._ended)
        self._answers: dict[int, asyncio.Future[Header]] = {}
        self.waiting: list[str] = []
        self.running: str | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the worker; None if none runs."""
        return self._child.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message to the worker process, which is started if none runs."""
        self._child.send(message)

    async def ask(
        self, message: Mapping[str, Any], seconds: float | None = ANSWER_SECONDS
    ) -> Header:
        """Send a question to the worker and wait for the answer, for at most ``seconds``.

        If ``seconds`` is None it waits as long as the answer takes.

        Raises:
            ValueError: the answer is an error, or the process has ended or does not answer.
        """
        number = next(_NUMBERS)
        future = self._answers[number] = self._loop.create_future()
        self._child.send({**message, "number": number})
        try:
            found = await asyncio.wait_for(future, seconds)
        except TimeoutError as late:
            raise ValueError("the worker is busy and does not answer; try again later") from late
        finally:
            self._answers.pop(number, None)
        if "error" in found:
            raise ValueError(found["error"])
        return found

    def kill(self) -> None:
        """Kill the worker process; the job that it carries out fails."""
        self._child.kill()

    async def close(self) -> None:
        """End the worker process."""
        await asyncio.to_thread(self._child.close)

    def _message(self, header: Header, data: bytes) -> None:
        """Encode frames in the thread that reads; leave the rest to the event loop."""
        clip = encode_clip(header, data) if data else None
        self._call(self._handle, header, clip)

    def _ended(self, code: int) -> None:
        self._call(self._handle, {"event": "died", "code": code}, None)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _handle(self, header: Header, clip: Clip | None) -> None:
        if header["event"] == "died":
            for future in self._answers.values():
                if not future.done():
                    future.set_result({"error": "the worker has ended; try again"})
        if header["event"] == "answer":
            future = self._answers.get(header["number"])
            if future is not None and not future.done():
                future.set_result(header)
            if "change" not in header:
                return
        self._on_event(self, header, clip)
