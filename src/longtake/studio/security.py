"""Checks of requests: origin, token, size; so other web pages cannot use a local server."""

import hmac
import json
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
SAFE = ("GET", "HEAD")
OWN_HEADER = "x-longtake"
OPEN = ("/health",)


class TooLargeError(Exception):
    """The body of a request is larger than the limit."""


class Guard:
    """Middleware that checks each request's origin, token and size, and sets security headers.

    Args:
        app: the application that gets the requests that pass.
        token: what requests, but for ``/health``, must bring as ``Authorization: Bearer``; empty:
            nothing.
        most_bytes: returns the size in bytes of the largest body that a request may have.
    """

    def __init__(self, app: ASGIApp, token: str, most_bytes: Callable[[Scope], int]) -> None:
        self._app, self._token, self._most_bytes = app, token, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif (refusal := self._refusal(scope)) is not None:
            await _refuse(scope, send, *refusal)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self._most_bytes(scope)
        read, begun = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise TooLargeError
            return message

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            if int(Headers(scope=scope).get("content-length") or 0) > most:
                raise TooLargeError
            await self._app(scope, counted, with_headers)
        except TooLargeError:
            if begun:
                raise
            sentence = f"the request is larger than the limit of {most >> 20} MiB; make it smaller"
            await _refuse(scope, send, 413, sentence)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in; None for others."""
        headers, path = Headers(scope=scope), scope["path"]
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return 403, f"requests from {origin} are not accepted here"
        if scope["type"] == "websocket" and origin is None and not self._token:
            return None  # a program, not a page
        if self._token and path not in OPEN:
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return 401, "the bearer token is missing or wrong"
        own = headers.get(OWN_HEADER) == "1" or bool(self._token)
        if scope["type"] == "http" and scope["method"] not in SAFE and not own:
            if path.startswith("/v1/") and origin is None:
                return None  # a program, not a page
            return 403, "the header X-Longtake: 1 is missing"
        return None


async def _refuse(scope: Scope, send: Send, status: int, sentence: str) -> None:
    """Answer with an error, in the shape that the path's clients read."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
        return
    body = json.dumps(error_body(scope["path"], status, sentence)).encode()
    headers = [*HEADERS.items(), ("content-type", "application/json")]
    if status == 401:
        headers.append(("www-authenticate", "Bearer"))
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def error_body(path: str, status: int, sentence: str) -> dict[str, object]:
    """An error as JSON data: for a path below ``/v1`` as OpenAI's API has it, else one sentence.

    ``status`` is the HTTP status, ``sentence`` says what is wrong.
    """
    if not path.startswith("/v1/"):
        return {"error": sentence}
    kind = "server_error" if status >= 500 else "invalid_request_error"
    code = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}.get(status)
    return {"error": {"message": sentence, "type": kind, "param": None, "code": code}}
