"""The API for programs, in the shape of OpenAI's: create, poll, download, delete, list videos."""

from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt
from pydantic import StringConstraints
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from longtake.config import Config, parse
from longtake.studio import uploads
from longtake.studio.checks import described, longest
from longtake.studio.errors import MissingError, StateError
from longtake.studio.places import SHEET, VIDEO
from longtake.studio.settings import Text
from longtake.studio.showing import file
from longtake.studio.store import Job
from longtake.studio.stream import fragments
from longtake.studio.studio import Studio
from longtake.studio.web import body_of, number_of, studio_of

ORIGIN, PREFIX, DEFAULT_SECONDS = "videos", "video_", 4.0
STATUSES = {
    "queued": "queued",
    "running": "in_progress",
    "done": "completed",
    "stopped": "failed",
    "failed": "failed",
}
VARIANTS = {"video": VIDEO, "spritesheet": SHEET}
LISTED = 100


class VideoRequest(Config):
    """Body of a request for a video; OpenAI's API has those up to ``size``.

    Attributes:
        model: name of the model; None: the server's first.
        prompt: text or, for a model that reads none, words of a class; empty: the seed draws one.
        seconds: duration, also as text; None: 4 s, or less if a single clip is all a model makes.
        size: ``WIDTHxHEIGHT`` of one of the model's decoders; None: of the full one.
        seed: seed of the video.
        steps: number of sampler steps; None: the model's own.
        guidance_scale: scale of guidance; None: the model's own.
        frames: number of frames, instead of ``seconds``.
        num_frames: FastVideo's name of ``frames``.
        num_inference_steps: FastVideo's name of ``steps``.
        negative_prompt: text that guidance contrasts the prompt with; empty: none.
        fps: frames per second; only the model's own.
    """

    model: Text | None = None
    prompt: Text = ""
    seconds: Annotated[float, Gt(0)] | None = None
    size: Annotated[str, StringConstraints(pattern=r"^\d{1,5}x\d{1,5}$")] | None = None
    seed: Annotated[int, Ge(0)] = 0
    steps: Annotated[int, Ge(1)] | None = None
    guidance_scale: float | None = None
    frames: Annotated[int, Ge(1)] | None = None
    num_frames: Annotated[int, Ge(1)] | None = None
    num_inference_steps: Annotated[int, Ge(1)] | None = None
    negative_prompt: Text = ""
    fps: Annotated[float, Gt(0)] | None = None


async def create(request: Request) -> Response:
    """Answer ``POST /v1/videos``: put a video into the queue."""
    studio = studio_of(request)
    await studio.catalogue.ready.wait()
    fields, reference = await _fields(request, studio)
    try:
        asked: VideoRequest = parse(VideoRequest, fields)
        settings = {**_settings(asked, studio), "start_image": reference}
        job = studio.submit({"kind": "video", "settings": settings}, ORIGIN)
    except ValueError:
        if reference is not None:
            await studio.remove_upload(reference)
        raise
    return JSONResponse(_shown(studio, job))


async def _fields(request: Request, studio: Studio) -> tuple[dict[str, Any], str | None]:
    """Fields of a JSON body or of a form, and the upload that is its ``input_reference``."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await body_of(request), None
    try:
        async with request.form(max_files=1, max_fields=20) as form:
            file = form.get("input_reference")
            given = {k: v for k, v in form.items() if isinstance(v, str)}
            upload = await uploads.store(studio, file) if isinstance(file, UploadFile) else None
    except HTTPException as error:
        raise ValueError(f"the body is not a form: {error.detail}") from error
    return given, None if upload is None else str(upload["id"])


def _settings(asked: VideoRequest, studio: Studio) -> dict[str, Any]:
    """JSON data of ``VideoSettings`` for a request."""
    name = asked.model or next(iter(studio.catalogue.models), "")
    model = described(name, studio.catalogue.models)
    sizes = {f"{width}x{height}": each for each, (height, width) in [*model["sizes"].items()][::-1]}
    if asked.size is not None and asked.size not in sizes:
        raise ValueError(f"size={asked.size}: {name} makes videos of {', '.join(sorted(sizes))}")
    if asked.fps is not None and asked.fps != model["fps"]:
        raise ValueError(
            f"fps={asked.fps:g}: {name} makes {model['fps']:g} frames a second; leave fps out"
        )
    words, negative = "prompt" if model["prompt"] else "label", asked.negative_prompt.strip()
    if negative and words == "label":
        raise ValueError(f"{name} reads no text; leave negative_prompt out")
    given = _either(asked, "frames", "num_frames")
    frames = given or max(round((asked.seconds or DEFAULT_SECONDS) * model["fps"]), 1)
    if given is None and asked.seconds is None and "make" in model["can"]:
        frames = min(frames, longest(None, model) or frames)
    text = asked.prompt.strip() or None
    return {
        "model": name,
        "frames": frames,
        "seed": asked.seed,
        "steps": _either(asked, "steps", "num_inference_steps"),
        "guidance_scale": asked.guidance_scale,
        "decoder": "full" if asked.size is None else sizes[asked.size],
        "negative": negative or None,
        words: text if words == "prompt" or model["classes"] else None,
    }


def _either(asked: VideoRequest, name: str, other: str) -> int | None:
    """The field that has two names; a ValueError if a request has both."""
    first, second = getattr(asked, name), getattr(asked, other)
    if first is not None and second is not None:
        raise ValueError(f"{name} and {other} are two names of one setting; give one of them")
    return second if first is None else first


def _shown(studio: Studio, job: Job) -> dict[str, Any]:
    """A job as JSON data, a video object of OpenAI's API."""
    settings: Mapping[str, Any] = job.settings["settings"]
    model = studio.catalogue.models.get(settings["model"], {"sizes": {}, "fps": 1.0})
    height, width = model["sizes"].get(settings.get("decoder", "full"), (0, 0))
    done, status = job.frames_done / (job.frames or 1), STATUSES[job.status]
    error = None
    if status == "failed":
        error = {"code": job.status, "message": job.error or "the video was stopped"}
    return {
        "id": PREFIX + job.id,
        "object": "video",
        "model": settings["model"],
        "status": status,
        "progress": 100 if status == "completed" else min(int(100 * done), 99),
        "created_at": int(job.created),
        "completed_at": int(job.ended) if job.ended and status == "completed" else None,
        "expires_at": None,
        "prompt": settings.get("prompt") or settings.get("label") or "",
        "seconds": f"{(job.frames or 0) / model['fps']:g}",
        "size": f"{width}x{height}",
        "remixed_from_video_id": None,
        "error": error,
    }


def _job(request: Request) -> tuple[Studio, Job]:
    """Studio and job of a request for a video; a MissingError if there is no such video."""
    studio, name = studio_of(request), request.path_params["id"]
    job = studio.queue.jobs.get(name.removeprefix(PREFIX))
    if job is None or job.origin != ORIGIN or not name.startswith(PREFIX):
        raise MissingError(f"there is no video {name!r}")
    return studio, job


async def retrieve(request: Request) -> Response:
    """Answer ``GET /v1/videos/ID`` with the state of a video."""
    return JSONResponse(_shown(*_job(request)))


async def listed(request: Request) -> Response:
    """Answer ``GET /v1/videos`` with videos, newest first.

    The query may have ``limit``, at most 100 and by default 20, ``after``, an id, and ``order``:
    ``asc`` or ``desc``.
    """
    studio, asked = studio_of(request), request.query_params
    found = [job for job in studio.queue.jobs.values() if job.origin == ORIGIN]
    if asked.get("order", "desc") != "asc":
        found.reverse()
    names = [PREFIX + job.id for job in found]
    if (after := asked.get("after")) is not None:
        if after not in names:
            raise MissingError(f"there is no video {after!r}")
        found = found[names.index(after) + 1 :]
    limit = min(max(number_of(request, "limit", 20), 1), LISTED)
    data = [_shown(studio, job) for job in found[:limit]]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return JSONResponse({"object": "list", "data": data, **ends, "has_more": len(found) > limit})


async def content(request: Request) -> Response:
    """Answer ``GET /v1/videos/ID/content`` with the file of a video.

    With ``stream=true`` it is fragmented MP4, sent while the video is made; with
    ``variant=spritesheet`` it is the contact sheet.
    """
    studio, job = _job(request)
    variant = request.query_params.get("variant", "video")
    if variant not in VARIANTS:
        raise ValueError(f"variant={variant}: choose one of {', '.join(VARIANTS)}")
    if request.query_params.get("stream") == "true":
        return StreamingResponse(fragments(studio, job), media_type="video/mp4")
    if job.status != "done":
        raise StateError(f"the video is {STATUSES[job.status]}; poll it until it is completed")
    return FileResponse(file(studio.queue.job_folder(job), VARIANTS[variant]))


async def delete(request: Request) -> Response:
    """Answer ``DELETE /v1/videos/ID``: stop a video if it is being made, and remove it.

    The image that it began with came in its own request, and is removed with it.
    """
    studio, job = _job(request)
    await studio.delete(job.id)
    if (reference := job.settings["settings"].get("start_image")) is not None:
        await studio.remove_upload(reference)
    found = {"id": PREFIX + job.id, "object": "video.deleted", "deleted": True}
    return JSONResponse(found)


async def models(request: Request) -> Response:
    """Answer ``GET /v1/models`` with the models that make videos."""
    studio = studio_of(request)
    await studio.catalogue.ready.wait()
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "longtake"}
        for name, model in studio.catalogue.models.items()
        if "make" in model["can"]
    ]
    return JSONResponse({"object": "list", "data": data})


ROUTES: list[BaseRoute] = [
    Route("/v1/videos", create, methods=["POST"]),
    Route("/v1/videos", listed),
    Route("/v1/videos/{id}", retrieve),
    Route("/v1/videos/{id}", delete, methods=["DELETE"]),
    Route("/v1/videos/{id}/content", content),
    Route("/v1/models", models),
]
