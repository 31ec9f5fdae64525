"""Frames for viewers: each clip is encoded once, and a viewer that is too slow loses the oldest."""

import asyncio
import io
import json
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.studio.child import Header

QUALITY = 92
CLIPS = 2
PER_FRAME = ("label", "prompt", "made")


@dataclass(frozen=True)
class Clip:
    """Encoded frames that were made together.

    Attributes:
        start: index of the first frame in the video.
        messages: a message of each frame: length of a JSON text (4 bytes, big-endian), the text
            (``index`` of the frame and facts to show), a JPEG.
    """

    start: int
    messages: Sequence[bytes]


def encode_clip(header: Header, data: bytes) -> Clip:
    """Encode the frames of a worker's event ``part`` for viewers.

    Args:
        header: the event: ``shape`` (t, h, w, 3) of the frames, ``start``, index of the first, and
            facts to show, such as ``prompt``.
        data: pixels of the frames, as bytes.
    """
    frames: UInt8[np.ndarray, "t h w 3"] = np.frombuffer(data, np.uint8).reshape(header["shape"])
    start, drift = header["start"], header.get("drift") or {}
    facts = {name: header.get(name) for name in PER_FRAME}
    measures = {"drift": drift.get("drift"), "measures": drift}
    messages = []
    for number, frame in enumerate(frames):
        text = json.dumps({"index": start + number, **facts, **measures}).encode()
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
        messages.append(struct.pack(">I", len(text)) + text + buffer.getvalue())
    return Clip(start, messages)


class Viewer:
    """Queue of messages to one viewer: at most two clips, and the newest events."""

    def __init__(self) -> None:
        self._waiting: deque[Clip | dict[str, Any]] = deque()
        self._wake = asyncio.Event()
        self.dropped = 0

    def add_clip(self, clip: Clip) -> None:
        """Add a clip; the oldest that waits is dropped if more than two would wait."""
        clips = [each for each in self._waiting if isinstance(each, Clip)]
        if len(clips) >= CLIPS:
            self._waiting.remove(clips[0])
            self.dropped += 1
        self._waiting.append(clip)
        self._wake.set()

    def add_event(self, event: dict[str, Any]) -> None:
        """Add an event, in place of a waiting one of its kind, which the key ``"event"`` names."""
        self._waiting = deque(
            each
            for each in self._waiting
            if isinstance(each, Clip) or each["event"] != event["event"]
        )
        self._waiting.append(event)
        self._wake.set()

    async def next(self) -> Clip | dict[str, Any]:
        """Wait for the next clip or event, and remove it from the queue."""
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()


class Broadcast:
    """Viewers of one job, and its last clip for those who come later."""

    def __init__(self) -> None:
        self.viewers: set[Viewer] = set()
        self.last: Clip | None = None

    def join(self, after: int | None) -> Viewer:
        """Add a viewer, to whom the last clip is sent from the frame after ``after`` on.

        ``after`` is the index of the last frame that the viewer has; None: it has none.
        """
        viewer = Viewer()
        if self.last is not None:
            seen = 0 if after is None else after + 1 - self.last.start
            rest = self.last.messages[max(seen, 0) :]
            if rest:
                viewer.add_clip(Clip(self.last.start + max(seen, 0), rest))
        self.viewers.add(viewer)
        return viewer

    def show(self, clip: Clip) -> None:
        """Send a clip to all viewers of the job."""
        self.last = clip
        for viewer in self.viewers:
            viewer.add_clip(clip)

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event, as JSON data, to all viewers of the job."""
        for viewer in self.viewers:
            viewer.add_event(event)
