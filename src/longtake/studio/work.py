"""The interface between a running job and the server: folder, messages, request to stop."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from longtake.studio.child import Header, receive, send
from longtake.studio.places import FILES, JOBS, UPLOADS

if TYPE_CHECKING:
    from longtake.studio.loaded import Loaded

PROGRESS_SECONDS = 0.2


class StoppedError(Exception):
    """The job was stopped; its complete parts are on disk.

    Attributes:
        frames: number of frames that were kept of its video; None: all that it has shown.
    """

    def __init__(self, frames: int | None = None) -> None:
        super().__init__("the job was stopped")
        self.frames = frames


@dataclass(kw_only=True)
class Work:
    """A job that runs in the worker.

    Attributes:
        id: random name of the job.
        root: the studio's folder.
        connection: connection to the server.
        loaded: models that are loaded.
        arguments: command line of the process that the job starts, if it starts one.
        stopping: whether the job is to stop.
        later: messages that do not concern the job, for the worker to handle after it.
        on_change: called with the server's message that asks for a change, whose ``change`` is
            JSON data of a ``Change``. The text of a ValueError that it raises is sent as the
            answer; otherwise it must see to the answer itself. None: changes are refused.
    """

    id: str
    root: Path
    connection: Connection
    loaded: "Loaded"
    arguments: Sequence[str] = ()
    stopping: bool = False
    later: list[Header] = field(default_factory=list)
    on_change: Callable[[Header], None] | None = None
    _shown: float = 0.0

    @property
    def folder(self) -> Path:
        """Folder of the job, in the studio's folder."""
        return self.root / JOBS / self.id

    @property
    def files(self) -> Path:
        """Folder of the files that the job shows."""
        found = self.folder / FILES
        found.mkdir(parents=True, exist_ok=True)
        return found

    def upload(self, name: str) -> Path:
        """Decoded file of the upload with the id ``name``; a ValueError if there is none."""
        for path in sorted((self.root / UPLOADS / name).glob("given.*")):
            return path
        raise ValueError(f"there is no upload {name}; upload the file again")

    def given(self, name: str | None) -> Path | None:
        """Decoded file of the upload with the id ``name``; None for None.

        Raises:
            ValueError: there is no such upload.
        """
        return None if name is None else self.upload(name)

    def emit(
        self, event: str, pixels: UInt8[np.ndarray, "t h w 3"] | None = None, /, **more: Any
    ) -> None:
        """Send an event to the server.

        Args:
            event: name of the event.
            pixels: frames to send with it; None for none.
            more: further facts, as JSON data.
        """
        header = {"event": event, "job": self.id, **more}
        if pixels is None:
            send(self.connection, header)
        else:
            pixels = np.ascontiguousarray(pixels)
            send(self.connection, header | {"shape": list(pixels.shape)}, pixels.data.cast("B"))

    def progress(self, done: int, total: int) -> None:
        """Send progress within a clip to the server, a few times a second at most.

        Args:
            done: number of guided estimates done.
            total: number of guided estimates of the clip.
        """
        now = time.monotonic()
        if now - self._shown > PROGRESS_SECONDS:
            self._shown = now
            self.emit("progress", done=done, total=total)

    def poll(self, seconds: float = 0.0) -> bool:
        """Handle the server's messages; return whether the job is to stop.

        ``seconds`` is the time to wait for a message if none has arrived.
        """
        while self.connection.poll(seconds):
            seconds = 0.0
            self._handle(receive(self.connection)[0])
        return self.stopping

    def check(self) -> None:
        """Handle the server's messages; raise a StoppedError if the job is to stop."""
        if self.poll():
            raise StoppedError

    def answer(self, message: Mapping[str, Any], **found: Any) -> None:
        """Send ``found`` as the answer to the server's question ``message``."""
        self.emit("answer", number=message["number"], **found)

    def _handle(self, message: Header) -> None:
        if message["do"] in ("stop", "end"):
            self.stopping = True
        elif message["do"] != "change":
            self.later.append(message)
        else:
            try:
                if self.on_change is None:
                    raise ValueError("this video is not being made now; continue it first")
                self.on_change(message)
            except ValueError as error:
                self.answer(message, error=str(error))
