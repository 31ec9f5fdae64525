"""A job as JSON data for a page, and the files that it lists."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from longtake.studio.errors import MissingError
from longtake.studio.kinds import JobKind
from longtake.studio.places import FILES, TRAINED
from longtake.studio.store import Job
from longtake.studio.trainings import exports

TYPES = {
    ".mp4": "video/mp4",
    ".mkv": "video/x-matroska",
    ".png": "image/png",
    ".json": "application/json",
    ".html": "text/html",
}


def shown(job: Job, kind: JobKind, folder: Path, place: int, command: str) -> dict[str, Any]:
    """Describe a job as JSON data for a page.

    Keys: fields of ``Job`` but ``queued``; ``settings`` are those of ``kind.settings``; ``place``
    and ``command``; ``files``, the list that the function ``files`` returns for ``folder``;
    ``stage`` of a training; ``progress``, from 0 to 1; ``steerable``, whether settings can be
    changed while it runs; ``exports``, names of the models that a training has written, newest
    first.

    Args:
        job: the job.
        kind: its kind and settings.
        folder: its folder.
        place: its place in the queue, from 1; 0 if it does not wait.
        command: the command that repeats it; empty if there is none.
    """
    same = ("id", "kind", "origin", "status", "created", "ended", "frames_done", "frames")
    return {
        **{name: getattr(job, name) for name in same},
        "place": place,
        "settings": job.settings["settings"],
        "seconds_left": job.seconds_left,
        "error": job.error or None,
        "files": files(folder),
        "command": command,
        "changes": job.changes,
        "result": job.result,
        "stage": job.result.get("stage"),
        "progress": progress_of(job),
        "steerable": kind.steerable,
        "exports": [each.name for each in exports(folder / TRAINED)],
    }


def files(folder: Path) -> list[dict[str, Any]]:
    """``name``, MIME ``type`` and size in ``bytes`` of each file that a job in ``folder`` shows."""
    place = folder / FILES
    found = sorted(place.iterdir()) if place.is_dir() else []
    whole = [p for p in found if not p.name.startswith(".") and ".partial" not in p.name]
    return [
        {"name": path.name, "type": TYPES[path.suffix], "bytes": path.stat().st_size}
        for path in whole
        if path.suffix in TYPES
    ]


def file(folder: Path, name: str) -> Path:
    """Path of the file ``name`` that a job shows; a MissingError if it shows no such file.

    ``folder`` is the job's.
    """
    if name not in [each["name"] for each in files(folder)]:
        raise MissingError(f"the job has no file {name!r}")
    return folder / FILES / name


def progress_of(job: Job) -> float | None:
    """Share of a job that is done, from 0 to 1; None if it is unknown."""
    if job.status == "done":
        return 1.0
    return job.frames_done / job.frames if job.frames else job.result.get("progress")


def size_of(folder: Path) -> int:
    """Size in bytes of all files of a folder together."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 (ten times faster)
    return total
