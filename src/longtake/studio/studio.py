"""The studio: jobs in a queue, the workers that carry them out, and what is known of models."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from longtake.config import parse, to_dict
from longtake.documents import DocumentError, read_json
from longtake.files import locked, remove
from longtake.hub import INDEX
from longtake.studio.catalogue import Catalogue
from longtake.studio.child import Header
from longtake.studio.frames import Broadcast, Clip
from longtake.studio.kinds import (
    TRAINING,
    WORKER,
    AnyJob,
    JobKind,
)
from longtake.studio.lanes import Lane
from longtake.studio.settings import Change, Limits, VideoSettings
from longtake.studio.store import ACTIVE, RUNNING, WAITING, Job, JobStore
from longtake.studio.work import CHANGES, FILES, FOOTAGE, JOBS, TRAINED, UPLOADS

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
            changes, the folder of the studio and the places of models.
        train: arguments of the process that trains for a job, if it trains. Takes the job, its
            folder, the folder of the studio and the places of models.
    """

    repeat: Callable[[JobKind, list[dict[str, Any]], Path, Mapping[str, str]], str]
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
        self.jobs: dict[str, Job] = {}
        self.frames_made = 0
        self._places, self._commands = models, commands
        self._broadcasts: dict[str, Broadcast] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._paces: dict[str, Pace] = {}
        self._seen: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._interrupted: list[Job] = []
        self._trained: dict[str, str] = {}
        self._bytes = 0
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
        self.catalogue = Catalogue(self._places, self.store, self.lanes[WORKER])
        for job in sorted(self.store.jobs(), key=lambda job: job.queued):
            self._recover(job)
        self.jobs = dict(sorted(self.jobs.items(), key=lambda pair: pair[1].created))
        self._tasks = [
            asyncio.create_task(self._begin()),
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
        kind.check(self.catalogue.models, self.limits)
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
            kind.check(self.catalogue.models, self.limits)
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
            "command": self._command(kind, job.changes),
            "changes": job.changes,
            "result": job.result,
            "stage": job.result.get("stage"),
            "progress": progress_of(job),
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
        kind.check(self.catalogue.models, self.limits)
        model, frames = self.catalogue.models[settings.model], kind.frames
        seconds = None if frames is None else self.catalogue.seconds(settings, frames)
        return {
            "seconds": None if seconds is None else round(seconds, 1),
            "memory_mb": model["memory_mb"],
            "frames": frames,
            "duration_seconds": None if frames is None else frames / model["fps"],
            "command": self._command(kind, []),
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

    def _command(self, kind: JobKind, changes: list[dict[str, Any]]) -> str:
        return self._commands.repeat(kind, changes, self.folder, self.catalogue.places)

    def _lane(self, job: Job) -> Lane:
        return self.lanes[self.kind(job).lane]

    def _check_room(self) -> None:
        if self._bytes > self.limits.disk_bytes:
            raise BusyError(self._full())
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
        if lane.running is not None or not lane.waiting or not self.catalogue.ready.is_set():
            return
        job = self.jobs[lane.waiting.pop(0)]
        job.status, job.error, lane.running = RUNNING, "", job.id
        self.store.save(job)
        lane.send(self._message("job", job))
        self._tell(job)

    def _message(self, what: str, job: Job) -> dict[str, Any]:
        """A message to a worker about a job."""
        places, folder = self.catalogue.places, self.job_folder(job)
        return {
            "do": what,
            "id": job.id,
            "job": {"kind": job.kind, **job.settings},
            "root": str(self.folder),
            "models": places,
            "arguments": self._commands.train(self.kind(job), folder, self.folder, places),
        }

    def _on_event(self, lane: Lane, header: Header, clip: Clip | None) -> None:
        """Take note of what a worker says."""
        job = self.jobs.get(header.get("job") or lane.running or "")
        if job is None:
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
        job.result |= header.get("result", {})
        self._leave(job)
        self._add_trained(job)
        pace, kind = self._paces.get(job.id), self.kind(job)
        if pace is not None and pace.seconds_per_frame is not None:
            kind.learn(self.catalogue, pace.seconds_per_frame)
        self._finish(job, header["status"], header.get("error", ""))

    def _on_died(self, job: Job, header: Header) -> None:
        lane, code = self._lane(job), header["code"]
        self._leave(job)
        how = f"signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
        self._finish(job, "failed", f"the worker ended unexpectedly ({how}); it can continue")
        lane.send(self._message("keep", job))

    def _on_kept(self, job: Job, header: Header) -> None:
        if job.status not in ACTIVE:
            job.frames_done = header["frames_done"]
            self.store.save(job)
            self._tell(job)

    def _on_stage(self, job: Job, header: Header) -> None:
        job.result = {**job.result, **header["result"]}
        job.seconds_left = header["seconds_left"]
        self.store.save(job)
        self._add_trained(job)
        self._tell(job)

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
            self._interrupted.append(job)
        if job.status == WAITING:
            self._lane(job).waiting.append(job.id)
        else:
            self._ended[job.id].set()
        self.store.save(job)

    async def _begin(self) -> None:
        """Describe the models, then start the jobs that wait."""
        await self.catalogue.describe_all()
        for job in self.jobs.values():
            self._add_trained(job)
        for job in self._interrupted:
            self._lane(job).send(self._message("keep", job))
        for lane in self.lanes.values():
            self._start_next(lane)

    def _add_trained(self, job: Job) -> None:
        """Let the model of a training be used, at its newest step."""
        found = trained_model(self.job_folder(job) / TRAINED)
        if found is None or self._trained.get(job.id) == found.stamp:
            return
        name, self._trained[job.id] = f"train-{job.id}", found.stamp
        job.result["model"] = name
        self.store.save(job)
        adding = self.catalogue.add(name, str(found.folder), self.kind(job).title)
        self._tasks.append(asyncio.create_task(adding))

    async def _look_after(self) -> None:
        """Stop endless videos that nobody watches, and all work when the folder is too large."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._tasks = [task for task in self._tasks if not task.done()]
            self._bytes = await asyncio.to_thread(size_of, self.folder)
            for job in [j for j in self.jobs.values() if j.status == RUNNING]:
                if self.broadcast(job).viewers or job.frames or not self.kind(job).steerable:
                    self._seen[job.id] = time.monotonic()
                if self._bytes > self.limits.disk_bytes:
                    await self._halt(job, self._full())
                    continue
                idle = time.monotonic() - self._seen.setdefault(job.id, time.monotonic())
                if idle > self.limits.idle_seconds:
                    await self._halt(job, f"nobody watched it for {idle:.0f} s; it can continue")

    async def _halt(self, job: Job, reason: str) -> None:
        """Stop a job for a reason that is not a user's."""
        await self.stop(job.id)
        job.error = reason
        self.store.save(job)

    def _full(self) -> str:
        return (
            f"the studio's folder holds {self._bytes / 1e9:.1f} GB, over its limit of "
            f"{self.limits.disk_bytes / 1e9:.1f} GB; delete jobs"
        )


TYPES = {
    ".mp4": "video/mp4",
    ".mkv": "video/x-matroska",
    ".png": "image/png",
    ".json": "application/json",
    ".html": "text/html",
}


class Trained(NamedTuple):
    """The newest model of a training: its folder, and what changes with each export."""

    folder: Path
    stamp: str


def trained_model(out: Path) -> Trained | None:
    """The finished model of a training, or else the newest of its runs that makes videos."""
    found = [*out.glob(f"model/{INDEX}"), *out.glob(f"runs/*/model/{INDEX}")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        with suppress(OSError, DocumentError):
            if read_json(path).get("roles"):
                return Trained(path.parent, f"{path} {path.stat().st_mtime_ns}")
    return None


def progress_of(job: Job) -> float | None:
    """Share of a job that is done, from 0 to 1; None if it is unknown."""
    if job.status == "done":
        return 1.0
    return job.frames_done / job.frames if job.frames else job.result.get("progress")


def size_of(folder: Path) -> int:
    """Bytes of all files of a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 (ten times faster)
    return total
