"""Functions that routes share: the studio of a request, its JSON body, error answers."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from longtake.documents import DocumentError, parse_json
from longtake.files import InUseError
from longtake.studio.errors import BusyError, MissingError, StateError
from longtake.studio.security import error_body
from longtake.studio.studio import Studio

STATUSES = {MissingError: 404, StateError: 409, InUseError: 409, BusyError: 429, ValueError: 422}


def studio_of(request: Any) -> Studio:
    """The ``Studio`` that a request or a WebSocket is for."""
    return request.app.state.studio


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body; empty without a body.

    Raises a ValueError if the body is anything else.
    """
    data = await request.body()
    try:
        found = parse_json(data.decode()) if data else {}
    except (DocumentError, UnicodeDecodeError) as error:
        raise ValueError(f"the body is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("the body must be a JSON object")
    return found


def number_of(request: Request, name: str, default: int) -> int:
    """The whole number ``name`` in a request's query, or ``default`` if it is missing.

    Raises a ValueError if it is anything else.
    """
    text = request.query_params.get(name) or str(default)
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise ValueError(f"{name}={text}: expected a whole number")
    return int(text)


async def mistake(request: Request, error: Exception) -> Response:
    """Answer to a user's mistake: one sentence, with the HTTP status of the error."""
    status = next(code for kind, code in STATUSES.items() if isinstance(error, kind))
    sentence = " ".join(str(error).split())
    return JSONResponse(error_body(request.url.path, status, sentence), status)


async def http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    sentence = "there is nothing at this address" if status == 404 else "this method is not allowed"
    return JSONResponse(error_body(request.url.path, status, sentence), status)
