"""Uploads: stored, then decoded by a separate process with limits."""

import asyncio
import shutil
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import IO

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from longtake.files import remove
from longtake.studio.errors import MissingError
from longtake.studio.places import FOOTAGE, UPLOADS
from longtake.studio.settings import UPLOAD_ID
from longtake.studio.showing import size_of
from longtake.studio.store import new_id
from longtake.studio.studio import Studio, ids_of
from longtake.studio.web import studio_of

PREVIEWS = ("preview.png", "given.png")


async def receive(request: Request) -> Response:
    """Answer ``POST /api/uploads``: store and decode the file of a form, and say what it is."""
    studio = studio_of(request)
    try:
        async with request.form(max_files=1, max_fields=4) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise ValueError("the form has no file; send it as the field file")
            found = await store(studio, file)
    except HTTPException as error:
        raise ValueError(f"the body is not a form with a file: {error.detail}") from error
    return JSONResponse(found, 201)


async def store(studio: Studio, file: UploadFile) -> dict[str, object]:
    """Store an uploaded file and decode it.

    Returns JSON data: ``id``, ``preview``, the path of its URL, and what ``decode_upload`` returns.

    Raises:
        ValueError: it is too large, or not a video or image that can be decoded.
        BusyError: the studio's folder has no room for it.
    """
    most = studio.limits.upload_bytes
    if (file.size or 0) > most:
        raise ValueError(f"the file is larger than the limit of {most >> 20} MiB; make it smaller")
    studio.check_room(file.size or 0)
    name = new_id()
    folder = studio.folder / UPLOADS / name
    folder.mkdir()
    try:
        await asyncio.to_thread(_copy, file.file, folder / "original")
        found = await studio.decode(name)
    except BaseException:
        await asyncio.to_thread(remove, folder)
        raise
    return {"id": name, **found, "preview": f"/api/uploads/{name}/preview"}


def _copy(source: IO[bytes], path: Path) -> None:
    with path.open("wb") as out:
        shutil.copyfileobj(source, out)


async def preview(request: Request) -> Response:
    """Answer ``GET /api/uploads/ID/preview`` with the first frame of an upload."""
    name = request.path_params["id"]
    if UPLOAD_ID.fullmatch(name):
        for each in PREVIEWS:
            path = studio_of(request).folder / UPLOADS / name / each
            if path.exists():
                return FileResponse(path)
    raise MissingError(f"there is no upload {name!r}")


async def listed(request: Request) -> Response:
    """Answer ``GET /api/uploads`` with the uploads, newest first.

    Of each these are its ``id``; ``kind``, ``image`` or ``video``; ``bytes`` on disk; ``created``,
    in seconds since 1970; ``jobs``, the number of jobs that use it; ``preview``, a path.
    """
    studio = studio_of(request)
    used = Counter(chain.from_iterable(map(ids_of, studio.queue.jobs.values())))
    folders = [each for each in (studio.folder / UPLOADS).iterdir() if _whole(each)]
    newest = sorted(folders, key=lambda each: each.stat().st_mtime, reverse=True)
    return JSONResponse(
        [
            {
                "id": each.name,
                "kind": "image" if (each / "given.png").exists() else "video",
                "bytes": size_of(each),
                "created": each.stat().st_mtime,
                "jobs": used[each.name],
                "preview": f"/api/uploads/{each.name}/preview",
            }
            for each in newest
        ]
    )


def _whole(folder: Path) -> bool:
    return bool(UPLOAD_ID.fullmatch(folder.name)) and any(folder.glob("given.*"))


async def delete(request: Request) -> Response:
    """Answer ``DELETE /api/uploads/ID``: remove an upload that no unfinished job needs."""
    await studio_of(request).remove_upload(request.path_params["id"])
    return Response(status_code=204)


async def footage(request: Request) -> Response:
    """Answer ``GET /api/footage`` with the footage that can be trained on.

    ``folder`` is the path of the folder that holds it; ``found`` its folders, of each the ``name``
    and ``videos``, the number of files in it.
    """
    folder = studio_of(request).folder / FOOTAGE
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    counts = [{"name": path.name, "videos": len([*path.iterdir()])} for path in found]
    return JSONResponse({"folder": str(folder), "found": counts})
