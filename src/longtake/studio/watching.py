"""Frames and events of a job over a WebSocket."""

import asyncio
import json
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from longtake.studio.errors import MissingError
from longtake.studio.frames import Clip, Viewer
from longtake.studio.store import ACTIVE
from longtake.studio.web import studio_of

POLICY, BUSY, MISSING = 1008, 1013, 4404


async def frames(socket: WebSocket) -> None:
    """Send frames and events of a job over a WebSocket until the viewer leaves.

    When the job ends, the event ``end`` is sent. The query may have ``after``, the index of the
    last frame that the viewer has.
    """
    studio = studio_of(socket)
    queue = studio.queue
    try:
        job = queue.job(socket.path_params["id"])
        after = socket.query_params.get("after")
        number = None if after is None else int(after)
    except MissingError as error:
        await socket.close(MISSING, str(error))
        return
    except ValueError:
        await socket.close(POLICY, "after must be the index of a frame")
        return
    if queue.viewers >= studio.limits.viewers:
        await socket.close(BUSY, f"{queue.viewers} viewers watch already, the limit")
        return
    await socket.accept()
    broadcast = queue.broadcast(job)
    viewer = broadcast.join(number)
    viewer.add_event(queue.status(job))
    if job.status not in ACTIVE:
        viewer.add_event({"event": "end", "status": job.status, "error": job.error or None})
    leaving = asyncio.create_task(_until_left(socket))
    try:
        while (item := await _next(viewer, leaving)) is not None:
            await _send(socket, item)
    except (WebSocketDisconnect, RuntimeError):
        pass  # it left while something was sent
    finally:
        leaving.cancel()
        broadcast.viewers.discard(viewer)
        queue.forget(job)


async def _until_left(socket: WebSocket) -> None:
    """Wait until the viewer closes the connection; without this a closed page is seen late."""
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_bytes()


async def _next(viewer: Viewer, leaving: asyncio.Task[None]) -> Clip | dict[str, object] | None:
    """The next item to send; None when the viewer has left."""
    waiting = asyncio.create_task(viewer.next())
    await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if leaving.done():
        waiting.cancel()
        return None
    return await waiting


async def _send(socket: WebSocket, item: Clip | dict[str, object]) -> None:
    if isinstance(item, Clip):
        for message in item.messages:
            await socket.send_bytes(message)
    else:
        await socket.send_text(json.dumps(item))
