"""Trainings that other commands carry out: watched from their folders, their models used."""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from longtake.config import nearest
from longtake.studio.errors import MissingError
from longtake.studio.store import Job
from longtake.studio.studio import trained_name
from longtake.studio.trainings import exports, log_rows, newest_samples
from longtake.studio.web import body_of, number_of, studio_of

ROWS_SHOWN = 5000


async def listed(request: Request) -> Response:
    """Answer ``GET /api/trainings`` with the watched trainings, in the shape of jobs."""
    studio = studio_of(request)
    return JSONResponse([_shown(name, place) for name, place in studio.trainings.items()])


def _shown(name: str, training: Path) -> dict[str, Any]:
    """A watched training as JSON data: those fields of a job that it has."""
    samples = newest_samples(training)
    return {
        "id": name,
        "kind": "train",
        "status": "watched",
        "created": training.stat().st_ctime,
        "settings": {"folder_name": name},
        "files": [
            {"name": each, "type": "video/mp4", "bytes": path.stat().st_size}
            for each, path in samples.items()
        ],
        "result": {},
        "exports": [each.name for each in exports(training)],
        "error": None,
    }


async def log(request: Request) -> Response:
    """Answer ``GET .../log`` with rows of a training's logs, after the first ``after``."""
    after = max(number_of(request, "after", 0), 0)
    rows = list(log_rows(_training(request)))
    return JSONResponse(rows[after : after + ROWS_SHOWN])


async def sample(request: Request) -> Response:
    """Answer ``GET /api/trainings/NAME/files/FILE`` with one of its newest samples."""
    name = request.path_params["file"]
    path = newest_samples(_training(request)).get(name)
    if path is None:
        raise MissingError(f"the training has no file {name!r}")
    return FileResponse(path, headers={"cache-control": "no-cache"})


async def use(request: Request) -> Response:
    """Answer ``POST .../use``: offer an exported model, and say by which name.

    The body has its name in the list ``exports``, as ``export``. It can be chosen when it has been
    described, which waits for the job that runs.
    """
    studio, wanted = studio_of(request), (await body_of(request)).get("export")
    training = _training(request)
    name = request.path_params.get("name") or trained_name(_job(request))
    found = {each.name: each for each in exports(training)}
    if wanted not in found:
        raise MissingError(
            f"the training has no model {wanted!r}; {nearest(str(wanted), list(found))}"
        )
    return JSONResponse({"model": studio.offer(f"{name}-{wanted}", found[wanted].folder)}, 202)


def _job(request: Request) -> Job:
    return studio_of(request).queue.job(request.path_params["id"])


def _training(request: Request) -> Path:
    """Folder of the training that a path names, or of the job that it names."""
    studio, name = studio_of(request), request.path_params.get("name")
    if name is None:
        return studio.training_of(_job(request))
    if name not in studio.trainings:
        raise MissingError(f"there is no training {name!r}")
    return studio.trainings[name]


ROUTES: list[BaseRoute] = [
    Route("/api/trainings", listed),
    Route("/api/trainings/{name}/log", log),
    Route("/api/trainings/{name}/files/{file}", sample),
    Route("/api/trainings/{name}/use", use, methods=["POST"]),
    Route("/api/jobs/{id}/log", log),
    Route("/api/jobs/{id}/use", use, methods=["POST"]),
]
