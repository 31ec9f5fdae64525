"""The web application: routes of the studio's page and of its data. Nothing heavy is imported."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Scope

from longtake.studio import uploads, videos, watched, watching
from longtake.studio.errors import MissingError
from longtake.studio.numbers import drift_curve, health, metrics
from longtake.studio.security import Guard
from longtake.studio.showing import file
from longtake.studio.studio import Studio
from longtake.studio.web import body_of, http_error, mistake, number_of, studio_of

PAGE = Path(__file__).with_name("page")
BODY_BYTES, FIELD_BYTES = 1 << 20, 1 << 16
UPLOADING = ("/api/uploads", "/v1/videos")
FILTERS = ("kind", "status", "origin")
JOBS_SHOWN = 200


def create_app(
    make: Callable[[], Studio], *, hosts: Sequence[str], token: str = "", page: bool = True
) -> Starlette:
    """Create the web application (Starlette) of a studio.

    Args:
        make: makes the studio, in the event loop of the server.
        hosts: names and addresses by which the server may be addressed.
        token: bearer token that every request but ``/health`` must have; empty: none.
        page: serve the page and its data; else the API for programs alone.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with make() as studio:
            app.state.studio = studio
            yield

    return Starlette(
        routes=[*(_page_routes() if page else ()), *videos.ROUTES, *_common()],
        lifespan=lifespan,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts], www_redirect=False),
            Middleware(Guard, token=token, most_bytes=_most_bytes),
        ],
        exception_handlers={ValueError: mistake, 404: http_error, 405: http_error},
    )


def _most_bytes(scope: Scope) -> int:
    """Largest body of a request, in bytes: a form may hold an upload and a few fields."""
    form = Headers(scope=scope).get("content-type", "").startswith("multipart/form-data")
    if form and scope["path"] in UPLOADING:
        return scope["app"].state.studio.limits.upload_bytes + FIELD_BYTES
    return BODY_BYTES


def _common() -> list[BaseRoute]:
    return [Route("/health", health), Route("/metrics", metrics)]


def _page_routes() -> list[BaseRoute]:
    return [
        Route("/", _index),
        Route("/page/{name}", _page_file),
        Route("/api/models", _models),
        Route("/api/estimate", _estimate, methods=["POST"]),
        Route("/api/jobs", _jobs),
        Route("/api/jobs", _submit, methods=["POST"]),
        Route("/api/compare", _compare, methods=["POST"]),
        Route("/api/jobs/{id}", _job),
        Route("/api/jobs/{id}", _delete, methods=["DELETE"]),
        Route("/api/jobs/{id}/change", _change, methods=["POST"]),
        Route("/api/jobs/{id}/stop", _stop, methods=["POST"]),
        Route("/api/jobs/{id}/continue", _continue, methods=["POST"]),
        Route("/api/jobs/{id}/files/{name}", _file),
        Route("/api/jobs/{id}/drift", _drift),
        WebSocketRoute("/api/jobs/{id}/frames", watching.frames),
        Route("/api/uploads", uploads.listed),
        Route("/api/uploads", uploads.receive, methods=["POST"]),
        Route("/api/uploads/{id}", uploads.delete, methods=["DELETE"]),
        Route("/api/uploads/{id}/preview", uploads.preview),
        Route("/api/footage", uploads.footage),
        *watched.ROUTES,
    ]


async def _index(request: Request) -> Response:
    del request
    if not (PAGE / "index.html").exists():
        raise MissingError("this installation lacks the studio's page; install longtake again")
    return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})


async def _page_file(request: Request) -> Response:
    name = request.path_params["name"]
    if not PAGE.is_dir() or name not in [p.name for p in PAGE.iterdir() if p.is_file()]:
        raise MissingError(f"the page has no file {name!r}")
    return FileResponse(PAGE / name, headers={"cache-control": "no-cache"})


async def _models(request: Request) -> Response:
    studio = studio_of(request)
    await studio.catalogue.ready.wait()
    return JSONResponse([dict(model) for model in studio.catalogue.models.values()])


async def _estimate(request: Request) -> Response:
    studio = studio_of(request)
    await studio.catalogue.ready.wait()
    return JSONResponse(studio.estimate(await body_of(request)))


async def _jobs(request: Request) -> Response:
    studio, asked = studio_of(request), request.query_params
    limit = min(max(number_of(request, "limit", JOBS_SHOWN), 0), JOBS_SHOWN)
    wanted = {name: asked[name] for name in FILTERS if name in asked}
    jobs = [*studio.queue.jobs.values()]
    if (after := asked.get("after")) is not None:  # the page of the jobs that are older than it
        jobs = jobs[: jobs.index(studio.queue.job(after))]
    newest = (studio.shown(job) for job in reversed(jobs))
    found = (job for job in newest if wanted.items() <= job.items())
    return JSONResponse([*islice(found, limit)])


async def _submit(request: Request) -> Response:
    return await _accepted(studio_of(request), await body_of(request))


async def _compare(request: Request) -> Response:
    data = {"kind": "compare", "settings": await body_of(request)}
    return await _accepted(studio_of(request), data)


async def _accepted(studio: Studio, data: dict[str, Any]) -> Response:
    """Put a job into the queue, once it is known what the models can do."""
    await studio.catalogue.ready.wait()
    job = studio.submit(data)
    return JSONResponse(studio.shown(job), 202)


async def _job(request: Request) -> Response:
    studio = studio_of(request)
    return JSONResponse(studio.shown(studio.queue.job(request.path_params["id"])))


async def _delete(request: Request) -> Response:
    await studio_of(request).delete(request.path_params["id"])
    return Response(status_code=204)


async def _change(request: Request) -> Response:
    change = await studio_of(request).change(request.path_params["id"], await body_of(request))
    return JSONResponse(change)


async def _stop(request: Request) -> Response:
    studio = studio_of(request)
    return JSONResponse(studio.shown(await studio.stop(request.path_params["id"])))


async def _continue(request: Request) -> Response:
    studio, data = studio_of(request), await body_of(request)
    frames = data.get("frames")
    if frames is not None and not isinstance(frames, int):
        raise ValueError(f"frames={json.dumps(frames)}: expected a whole number")
    return JSONResponse(studio.shown(studio.resume(request.path_params["id"], frames)))


async def _file(request: Request) -> Response:
    studio = studio_of(request)
    folder = studio.queue.job_folder(studio.queue.job(request.path_params["id"]))
    path = file(folder, request.path_params["name"])
    return FileResponse(path, headers={"cache-control": "no-cache"})


async def _drift(request: Request) -> Response:
    studio = studio_of(request)
    job = studio.queue.job(request.path_params["id"])
    curve = await asyncio.to_thread(drift_curve, studio.queue.job_folder(job))
    return JSONResponse(curve)
