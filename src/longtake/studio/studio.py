"""The studio: jobs in a queue, the workers that carry them out, and what is known of models."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from longtake.config import parse, to_dict
from longtake.documents import DocumentError, read_json
from longtake.files import locked, remove
from longtake.studio.child import Header
from longtake.studio.frames import Broadcast, Clip
from longtake.studio.kinds import (
    TRAINING,
    WORKER,
    AnyJob,
    Description,
    JobKind,
    check_video,
    steps_of,
)
from longtake.studio.lanes import Lane
from longtake.studio.settings import Change, Limits, VideoSettings
from longtake.studio.store import ACTIVE, RUNNING, WAITING, Job, JobStore
from longtake.studio.work import CHANGES, FILES, FOOTAGE, JOBS, UPLOADS

STOP_SECONDS = 20.0
SMOOTHING = 0.3  # share of the newest clip in the speed that is shown
MAY_CONTINUE = ("stopped", "failed")
LOOK_SECONDS = 5.0


class MissingError(ValueError):
    """There is no such job, file or upload."""


class StateError(ValueError):
    """A job is not in the state that a request needs."""


class BusyError(ValueError):
    """The queue is full."""


class Commands(NamedTuple):
    """Command lines, which the command line interface knows.

    Attributes:
        repeat: the command that repeats a job; empty if none does. Takes the job, the log of its
            changes, and the folder of the studio.
        train: arguments of the process that trains for a job, in a folder.
    """

    repeat: Callable[[JobKind, list[dict[str, Any]], Path], str]
    train: Callable[[JobKind, Path, Path, Mapping[str, str]], list[str]]


@dataclass
class Pace:
    """Speed of a job that runs: time of its last part, and seconds per frame."""

    last: float
    seconds_per_frame: float | None = None


class Studio:
    """Jobs of a folder, carried out by worker processes.

    Made in an event loop; all methods are called in it. ``async with`` opens and closes it.

    Args:
        folder: folder of everything; one process uses it at a time.
        models: place of each model by its name.
        limits: limits of jobs and uploads.
        commands: command lines.
    """

    def __init__(
        self, folder: Path, models: Mapping[str, str], limits: Limits, commands: Commands
    ) -> None:
        self.folder, self.limits = folder.absolute(), limits
        self.places = dict(models)
        self.models: dict[str, Description] = {}
        self.jobs: dict[str, Job] = {}
        self.described = asyncio.Event()
        self.frames_made = 0
        self._commands = commands
        self._broadcasts: dict[str, Broadcast] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._paces: dict[str, Pace] = {}
        self._seen: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._open = contextlib.ExitStack()

    async def __aenter__(self) -> "Studio":
        for name in (JOBS, UPLOADS, FOOTAGE):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._open.enter_context(locked(self.folder, self.folder / ".lock"))
        self.store = JobStore(self.folder / "studio.sqlite3")
        self._open.callback(self.store.close)
        log = self.folder / "worker.log"
        names = (WORKER, TRAINING, UPLOADS)
        self.lanes = {name: Lane(log, self._on_event) for name in names}
        for job in self.store.jobs():
            self._recover(job)
        self._tasks = [
            asyncio.create_task(self._describe_all()),
            asyncio.create_task(self._look_after()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for lane in self.lanes.values():
            if lane.running is not None:
                lane.send({"do": "stop"})
        await asyncio.gather(*(lane.close() for lane in self.lanes.values()))
        self._open.close()

    # Jobs

    def job(self, name: str) -> Job:
        """A job; a MissingError if there is none of that name."""
        if name not in self.jobs:
            raise MissingError(f"there is no job {name!r}")
        return self.jobs[name]

    def kind(self, job: Job) -> JobKind:
        """A job's kind and settings."""
        return parse(AnyJob, {"kind": job.kind, **job.settings})

    def submit(self, data: Any, origin: str = "studio") -> Job:
        """Check a job and put it into the queue.

        Raises:
            ValueError: it cannot be done, or goes beyond the limits.
            BusyError: too many jobs wait.
        """
        kind: JobKind = parse(AnyJob, data)
        kind.check(self.models, self.limits)
        self._check_room()
        settings = {k: v for k, v in to_dict(kind).items() if k != "kind"}
        job = Job(kind=str(data["kind"]), settings=settings, frames=kind.frames, origin=origin)
        self._enqueue(job)
        return job

    async def change(self, name: str, data: Any) -> dict[str, Any]:
        """Change a live video; returns the change with the frame from which it holds.

        Raises:
            ValueError: the model does not read it; StateError: the video is not made now.
        """
        job = self.job(name)
        change: Change = parse(Change, data)
        if not change.model_dump(exclude_none=True):
            raise ValueError("nothing is changed; give label, prompt or guidance_scale")
        if not self.kind(job).steerable or job.status != RUNNING:
            raise StateError(
                f"this job is {job.status}; only a live video that is being made can be changed"
            )
        found = await self._lane(job).ask({"do": "change", "change": to_dict(change)})
        return found["change"]

    async def stop(self, name: str) -> Job:
        """Stop a job; what is whole is kept as a file. Waits until it has stopped."""
        job = self.job(name)
        lane = self._lane(job)
        if job.status == WAITING:
            lane.waiting.remove(job.id)
            self._finish(job, "stopped")
        elif job.status == RUNNING:
            lane.send({"do": "stop"})
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended[job.id].wait(), STOP_SECONDS)
        return job

    def resume(self, name: str, frames: int | None = None) -> Job:
        """Let a stopped job continue, bit for bit as if it had not been stopped.

        Raises:
            StateError: it is not stopped; BusyError: too many jobs wait.
        """
        job = self.job(name)
        if job.status not in MAY_CONTINUE:
            raise StateError(f"this job is {job.status}; only a stopped one can continue")
        if frames is not None:
            if frames <= job.frames_done:
                raise ValueError(
                    f"frames={frames}: the video has {job.frames_done} already; ask for more"
                )
            settings = {**job.settings, "settings": {**job.settings["settings"], "frames": frames}}
            kind: JobKind = parse(AnyJob, {"kind": job.kind, **settings})
            kind.check(self.models, self.limits)
            job.settings, job.frames = settings, kind.frames
        self._check_room()
        job.queued, job.error, job.ended = time.time(), "", None
        self._enqueue(job)
        return job

    async def delete(self, name: str) -> None:
        """Remove a job and its files; it is stopped first."""
        job = await self.stop(name)
        if job.status == RUNNING:
            self._lane(job).kill()
            await self._ended[job.id].wait()
        self.store.delete([job.id])
        del self.jobs[job.id]
        self._broadcasts.pop(job.id, None)
        await asyncio.to_thread(remove, self.folder / JOBS / job.id)

    # What is shown

    def shown(self, job: Job) -> dict[str, Any]:
        """A job as JSON data for a page."""
        waiting = self._lane(job).waiting
        kind = self.kind(job)
        return {
            "id": job.id,
            "kind": job.kind,
            "origin": job.origin,
            "status": job.status,
            "place": waiting.index(job.id) + 1 if job.id in waiting else 0,
            "settings": job.settings["settings"],
            "created": job.created,
            "ended": job.ended,
            "frames_done": job.frames_done,
            "frames": job.frames,
            "seconds_left": job.seconds_left,
            "error": job.error or None,
            "files": self.files(job),
            "command": self._commands.repeat(kind, job.changes, self.folder),
            "changes": job.changes,
            "result": job.result,
            "steerable": kind.steerable,
        }

    def files(self, job: Job) -> list[dict[str, Any]]:
        """Files of a job: name, type and bytes."""
        folder = self.folder / JOBS / job.id / FILES
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return [
            {"name": path.name, "type": TYPES.get(path.suffix, ""), "bytes": path.stat().st_size}
            for path in found
            if path.suffix in TYPES
            and not path.name.startswith(".")
            and ".partial" not in path.name
        ]

    def file(self, job: Job, name: str) -> Path:
        """Path of a file that a job lists; a MissingError if it lists none of that name."""
        if name not in [each["name"] for each in self.files(job)]:
            raise MissingError(f"job {job.id} has no file {name!r}")
        return self.folder / JOBS / job.id / FILES / name

    def job_folder(self, job: Job) -> Path:
        """Folder of a job."""
        return self.folder / JOBS / job.id

    def broadcast(self, job: Job) -> Broadcast:
        """The viewers of a job."""
        return self._broadcasts.setdefault(job.id, Broadcast())

    @property
    def viewers(self) -> int:
        """Number of viewers of all jobs."""
        return sum(len(each.viewers) for each in self._broadcasts.values())

    def estimate(self, data: Any) -> dict[str, Any]:
        """Time, memory, length and command of a video before it is made.

        Raises:
            ValueError: it cannot be made, or goes beyond the limits.
        """
        kind: JobKind = parse(AnyJob, {"kind": "make", "settings": data})
        settings = kind.settings  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(settings, VideoSettings)
        check_video(settings, self.models, self.limits)
        model, frames = self.models[settings.model], kind.frames
        speed = self._speed(settings)
        seconds = None
        if speed is not None and frames is not None:
            seconds = round(frames * steps_of(settings, model) * speed, 1)
        return {
            "seconds": seconds,
            "memory_mb": model["memory_mb"],
            "frames": frames,
            "duration_seconds": None if frames is None else frames / model["fps"],
            "command": self._commands.repeat(kind, [], self.folder),
        }

    async def decode(self, upload: str) -> dict[str, Any]:
        """Decode an uploaded file in a sandbox; returns what it is.

        Raises:
            ValueError: it is not a video or image, is broken, or beyond the limits.
        """
        path = self.folder / UPLOADS / upload
        message = {"do": "upload", "path": str(path), "limits": to_dict(self.limits)}
        return (await self.lanes[UPLOADS].ask(message))["upload"]

    # Inside

    def _lane(self, job: Job) -> Lane:
        return self.lanes[self.kind(job).lane]

    def _check_room(self) -> None:
        waiting = sum(len(lane.waiting) for lane in self.lanes.values())
        if waiting >= self.limits.jobs:
            raise BusyError(f"{waiting} jobs wait already, the limit; try again when some are done")

    def _enqueue(self, job: Job) -> None:
        job.status = WAITING
        self.jobs[job.id] = job
        self._ended[job.id] = asyncio.Event()
        (self.folder / JOBS / job.id).mkdir(parents=True, exist_ok=True)
        self.store.save(job)
        lane = self._lane(job)
        lane.waiting.append(job.id)
        self._start_next(lane)

    def _start_next(self, lane: Lane) -> None:
        """Let a free lane begin its next job."""
        if lane.running is not None or not lane.waiting or not self.described.is_set():
            return
        job = self.jobs[lane.waiting.pop(0)]
        job.status, job.error, lane.running = RUNNING, "", job.id
        self.store.save(job)
        kind, folder = self.kind(job), self.folder / JOBS / job.id
        lane.send(
            {
                "do": "job",
                "id": job.id,
                "job": {"kind": job.kind, **job.settings},
                "root": str(self.folder),
                "models": self.places,
                "arguments": self._commands.train(kind, folder, self.folder, self.places),
            }
        )
        self._tell(job)

    def _on_event(self, lane: Lane, header: Header, clip: Clip | None) -> None:
        """Take note of what a worker says."""
        name = header.get("job") or lane.running
        job = self.jobs.get(name or "")
        if job is None or job.status not in ACTIVE:
            return
        getattr(self, f"_on_{header['event']}")(job, header)
        if clip is not None:
            self._broadcasts.setdefault(job.id, Broadcast()).show(clip)

    def _on_begun(self, job: Job, header: Header) -> None:
        job.frames_done = header["frames_done"]
        job.frames = header.get("frames", job.frames)
        self._paces[job.id] = Pace(time.monotonic())
        self._tell(job, fps=header["fps"])

    def _on_part(self, job: Job, header: Header) -> None:
        job.frames_done = header["end"]
        pace, now = self._paces[job.id], time.monotonic()
        if (count := header["end"] - header["start"]) > 0:
            self.frames_made += count
            speed = (now - pace.last) / count
            old = pace.seconds_per_frame
            pace.last = now
            speed = speed if old is None else old + SMOOTHING * (speed - old)
            pace.seconds_per_frame = speed
            if job.frames is not None:
                job.seconds_left = (job.frames - job.frames_done) * speed
        self.store.save(job)
        self._tell(job)

    def _on_progress(self, job: Job, header: Header) -> None:
        done = {"done": header["done"], "total": header["total"]}
        self.broadcast_event(job, {"event": "progress", **done})

    def _on_answer(self, job: Job, header: Header) -> None:
        job.changes.append(header["change"])
        self.store.save(job)
        self.broadcast_event(job, {"event": "change", **header["change"]})

    def _on_end(self, job: Job, header: Header) -> None:
        job.result = header.get("result", job.result)
        self._leave(job)
        self._learn(job)
        self._finish(job, header["status"], header.get("error", ""))

    def _on_died(self, job: Job, header: Header) -> None:
        self._leave(job)
        code = header["code"]
        how = f"signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
        self._finish(job, "failed", f"the worker ended unexpectedly ({how}); it can continue")

    def _leave(self, job: Job) -> None:
        """Free the lane of a job that has ended."""
        lane = self._lane(job)
        if lane.running == job.id:
            lane.running = None
            asyncio.get_running_loop().call_soon(self._start_next, lane)

    def _finish(self, job: Job, status: str, error: str = "") -> None:
        job.status, job.error, job.ended, job.seconds_left = status, error, time.time(), None
        self.store.save(job)
        self._paces.pop(job.id, None)
        self._tell(job)
        self.broadcast_event(job, {"event": "end", "status": status, "error": error or None})
        self._ended[job.id].set()
        self.forget(job)

    def status(self, job: Job) -> dict[str, Any]:
        """The state of a job as an event for viewers."""
        facts = ("status", "frames_done", "frames", "seconds_left")
        return {"event": "status", **{k: getattr(job, k) for k in facts}}

    def forget(self, job: Job) -> None:
        """Drop the last clip of a job that has ended and has no viewers."""
        broadcast = self._broadcasts.get(job.id)
        if broadcast is not None and not broadcast.viewers and job.status not in ACTIVE:
            del self._broadcasts[job.id]

    def _tell(self, job: Job, **more: Any) -> None:
        self.broadcast_event(job, {**self.status(job), **more})

    def broadcast_event(self, job: Job, event: dict[str, Any]) -> None:
        """Give an event to the viewers of a job."""
        if job.id in self._broadcasts:
            self._broadcasts[job.id].tell(event)

    def _recover(self, job: Job) -> None:
        """Take up a job of an earlier server: what ran has stopped, what waited waits."""
        self.jobs[job.id] = job
        self._ended[job.id] = asyncio.Event()
        log = self.folder / JOBS / job.id / CHANGES
        if log.exists():
            with suppress(DocumentError):
                job.changes = read_json(log)
        if job.status == RUNNING and job.origin != "studio":
            job.status = WAITING  # a program that waits for it cannot continue it
        elif job.status == RUNNING:
            job.status, job.error = "stopped", "the server was ended while it ran; it can continue"
            job.ended, job.seconds_left = time.time(), None
        if job.status == WAITING:
            self._lane(job).waiting.append(job.id)
        else:
            self._ended[job.id].set()
        self.store.save(job)

    # Models

    async def _describe_all(self) -> None:
        """Learn what each model is; what was learnt of the same files before is kept."""
        for name, place in self.places.items():
            key = f"model {name} {_stamp(place)}"
            found = self.store.fact(key)
            if found is None:
                message = {"do": "describe", "name": name, "models": self.places}
                try:
                    found = (await self.lanes[WORKER].ask(message))["model"]
                except ValueError as error:
                    print_to(self.folder / "worker.log", f"{name}: {error}")
                    continue
                self.store.set_fact(key, found)
            self.models[name] = found
        self.described.set()
        for lane in self.lanes.values():
            self._start_next(lane)

    def _speed(self, settings: VideoSettings) -> float | None:
        """Seconds for a frame and a step: of the last video, else as measured at the start."""
        learnt = self.store.fact(f"speed {settings.model} {settings.backend}")
        return learnt or self.models[settings.model]["seconds_per_frame_step"]

    def _learn(self, job: Job) -> None:
        """Keep the speed of a video that was made as fast as possible."""
        pace, kind = self._paces.get(job.id), self.kind(job)
        settings = getattr(kind, "settings", None)
        paced = getattr(kind, "paced", False)
        if pace is None or pace.seconds_per_frame is None or paced:
            return
        if isinstance(settings, VideoSettings):
            steps = steps_of(settings, self.models[settings.model])
            name = f"speed {settings.model} {settings.backend}"
            self.store.set_fact(name, pace.seconds_per_frame / steps)

    async def _look_after(self) -> None:
        """Stop endless videos that nobody watches, and all work when the folder is too large."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for job in [j for j in self.jobs.values() if j.status == RUNNING]:
                if self.broadcast(job).viewers or job.frames or not self.kind(job).steerable:
                    self._seen[job.id] = time.monotonic()
                idle = time.monotonic() - self._seen.setdefault(job.id, time.monotonic())
                if idle > self.limits.idle_seconds:
                    await self.stop(job.id)
                    job.error = f"nobody watched it for {idle:.0f} s; it can continue"
                    self.store.save(job)


TYPES = {
    ".mp4": "video/mp4",
    ".mkv": "video/x-matroska",
    ".png": "image/png",
    ".json": "application/json",
    ".html": "text/html",
}


def _stamp(place: str) -> str:
    """Name and time of a model's index, by which a changed model is known."""
    path = Path(place) / "model_index.json"
    return f"{place} {path.stat().st_mtime_ns}" if path.exists() else place


def print_to(path: Path, line: str) -> None:
    """Add a line to a log file."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
