"""Runs an application until a signal stops it."""

import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

GRACE_SECONDS = 5
WEBSOCKET_BYTES = 1 << 16


def run(app: Starlette, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve a web application over HTTP until SIGINT or SIGTERM arrives.

    Args:
        app: the application.
        host: address to listen at.
        port: port to listen at; 0: a free one.
        ready: called with the server's URL when connections are accepted.

    Raises:
        OSError: the address is in use, or is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise OSError(
                error.errno, f"port {port} cannot be used: {error.strerror}", host
            ) from error
        shown = f"[{host}]" if ":" in host else host
        settings = uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=GRACE_SECONDS,
            ws_max_size=WEBSOCKET_BYTES,
            ws_per_message_deflate=False,
            server_header=False,
        )
        server = _Server(settings, lambda: ready(f"http://{shown}:{listening.getsockname()[1]}"))
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that says when it accepts connections."""

    def __init__(self, settings: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(settings)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
