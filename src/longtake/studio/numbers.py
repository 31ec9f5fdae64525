"""State and metrics of the server for monitoring, and the drift of a video."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from longtake.documents import read_json_lines
from longtake.studio.memory import resident_bytes
from longtake.studio.places import CURVE
from longtake.studio.studio import Studio
from longtake.studio.web import studio_of

CURVE_POINTS = 2000
STATUSES = ("queued", "running", "stopped", "done", "failed")


async def health(request: Request) -> Response:
    """Answer ``GET /health``: status 200 if models are described and jobs can start, else 503."""
    ready = studio_of(request).catalogue.ready.is_set()
    return JSONResponse({"status": "ok" if ready else "starting"}, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    """Answer ``GET /metrics``: jobs, frames, viewers and memory in Prometheus' text format."""
    lines = list(_lines(studio_of(request)))
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _lines(studio: Studio) -> Iterator[str]:
    counts = Counter(job.status for job in studio.queue.jobs.values())
    yield from _head("longtake_jobs", "gauge", "Jobs by status.")
    for status in STATUSES:
        yield f'longtake_jobs{{status="{status}"}} {counts[status]}'
    yield from _head("longtake_frames_total", "counter", "Frames made since the server started.")
    yield f"longtake_frames_total {studio.queue.frames_made}"
    yield from _head("longtake_viewers", "gauge", "Viewers of all jobs.")
    yield f"longtake_viewers {studio.queue.viewers}"
    yield from _head("longtake_resident_bytes", "gauge", "Resident memory by process.")
    processes = {"server": os.getpid()} | {k: lane.pid for k, lane in studio.queue.lanes.items()}
    for name, number in processes.items():
        if number is not None and (resident := resident_bytes(number)) is not None:
            yield f'longtake_resident_bytes{{process="{name}"}} {resident}'


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def drift_curve(folder: Path) -> list[tuple[int, float]]:
    """First frame and drift of each clip of a video, at most 2,000, evenly over the video.

    ``folder`` is that of the job.
    """
    rows = (row for row in read_json_lines(folder / CURVE) if isinstance(row, dict))
    found = sorted({row["frame"]: row["drift"] for row in rows}.items())  # the newest of a frame
    return found[:: len(found) // CURVE_POINTS + 1]
