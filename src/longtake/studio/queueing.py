"""The queue of jobs: they wait, run in worker processes and end, with viewers."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from longtake.config import parse
from longtake.documents import DocumentError, read_json
from longtake.studio.catalogue import Catalogue
from longtake.studio.child import Header
from longtake.studio.errors import MissingError
from longtake.studio.frames import Broadcast, Clip
from longtake.studio.kinds import TRAINING, WORKER, AnyJob, JobKind
from longtake.studio.lanes import Lane
from longtake.studio.places import CHANGES, JOBS, UPLOADS
from longtake.studio.store import ACTIVE, RUNNING, WAITING, Job, JobStore

SMOOTHING = 0.3  # share of the newest clip in the speed that is shown


class Commands(NamedTuple):
    """Functions that make command lines for jobs; the command line interface provides them.

    Attributes:
        repeat: returns the command that repeats a job without changes; empty if none does. Takes
            the job, the number of its frames so far, the studio's folder, and the folder or hub id
            of each model by name.
        train: returns arguments of the process that trains for a job; empty if it trains nothing.
            Takes the job, its folder, the studio's folder, and the folder or hub id of each model.
    """

    repeat: Callable[[JobKind, int, Path, Mapping[str, str]], str]
    train: Callable[[JobKind, Path, Path, Mapping[str, str]], list[str]]


@dataclass
class Pace:
    """Speed of a job that runs.

    Attributes:
        last: time at which its last part was made, by ``time.monotonic``.
        seconds_per_frame: smoothed time of a frame; None before the first part.
    """

    last: float
    seconds_per_frame: float | None = None


class Queue:
    """The jobs, and the lanes that carry them out.

    All methods are called in the event loop. What happens to a job is written to the store before
    anyone is shown it.

    Args:
        folder: folder of the studio.
        store: keeps the jobs.
        places: folder or hub id of each model by its name.
        commands: functions that make command lines for jobs.
        on_export: called with a job that may have a new model.
    """

    def __init__(
        self,
        folder: Path,
        store: JobStore,
        places: Mapping[str, str],
        commands: Commands,
        on_export: Callable[[Job], None],
    ) -> None:
        self._folder, self._store, self._commands = folder, store, commands
        self._on_export = on_export
        names = (WORKER, TRAINING, UPLOADS)
        self.lanes = {name: Lane(folder / "worker.log", self._on_event) for name in names}
        self.catalogue = Catalogue(places, store, self.lanes[WORKER])
        self.jobs: dict[str, Job] = {}
        self.ended: dict[str, asyncio.Event] = {}
        self.interrupted: list[Job] = []
        self.frames_made = 0
        self._broadcasts: dict[str, Broadcast] = {}
        self._paces: dict[str, Pace] = {}
        for job in sorted(store.jobs(), key=lambda job: job.queued):
            self.recover(job)
        self.jobs = dict(sorted(self.jobs.items(), key=lambda pair: pair[1].created))

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        return sum(len(lane.waiting) for lane in self.lanes.values())

    def start_all(self) -> None:
        """Let every lane that carries out no job begin its next one."""
        for lane in self.lanes.values():
            self.start_next(lane)

    async def close(self) -> None:
        """End the worker processes; a job that runs is stopped first."""
        for lane in self.lanes.values():
            if lane.running is not None:
                lane.send({"do": "stop"})
        await asyncio.gather(*(lane.close() for lane in self.lanes.values()))

    def remove(self, job: Job) -> None:
        """Remove a job that does not run from the queue and the store; its files stay."""
        self._store.delete([job.id])
        del self.jobs[job.id]
        self._broadcasts.pop(job.id, None)

    def job(self, name: str) -> Job:
        """The job with the id ``name``; a MissingError if there is no such job."""
        if name not in self.jobs:
            raise MissingError(f"there is no job {name!r}")
        return self.jobs[name]

    def kind(self, job: Job) -> JobKind:
        """Kind and settings of a job, as one config.

        Raises:
            ConfigError: the kind or its settings are not valid.
        """
        return parse(AnyJob, {"kind": job.kind, **job.settings})

    def job_folder(self, job: Job) -> Path:
        """Folder of a job's files, in the studio's folder."""
        return self._folder / JOBS / job.id

    def broadcast(self, job: Job) -> Broadcast:
        """The ``Broadcast`` by which viewers of a job get its frames and events."""
        return self._broadcasts.setdefault(job.id, Broadcast())

    @property
    def viewers(self) -> int:
        """Number of viewers of all jobs."""
        return sum(len(each.viewers) for each in self._broadcasts.values())

    def lane(self, job: Job) -> Lane:
        """The ``Lane`` that carries out a job.

        Raises:
            ConfigError: the job's kind or its settings are not valid.
        """
        return self.lanes[self.kind(job).lane]

    def enqueue(self, job: Job) -> None:
        """Put a job at the end of its lane's queue; begins it if the lane and the models are ready.

        Raises:
            ConfigError: the job's kind or its settings are not valid.
        """
        job.status = WAITING
        self.jobs[job.id] = job
        self.ended[job.id] = asyncio.Event()
        (self._folder / JOBS / job.id).mkdir(parents=True, exist_ok=True)
        self._store.save(job)
        lane = self.lane(job)
        lane.waiting.append(job.id)
        self.start_next(lane)

    def start_next(self, lane: Lane) -> None:
        """Let a lane begin its next job if it is free, a job waits and models are described."""
        if lane.running is not None or not lane.waiting or not self.catalogue.ready.is_set():
            return
        job = self.jobs[lane.waiting.pop(0)]
        job.status, job.error, lane.running = RUNNING, "", job.id
        self._store.save(job)
        lane.send(self.message("job", job))
        self._tell(job)

    def message(self, what: str, job: Job) -> dict[str, Any]:
        """Message for a worker: carry out a job (``what``: ``job``) or join parts (``keep``)."""
        places, folder = self.catalogue.places, self.job_folder(job)
        return {
            "do": what,
            "id": job.id,
            "job": {"kind": job.kind, **job.settings},
            "root": str(self._folder),
            "models": places,
            "arguments": self._commands.train(self.kind(job), folder, self._folder, places),
        }

    def _on_event(self, lane: Lane, header: Header, clip: Clip | None) -> None:
        """Handle an event of a worker by ``_on_EVENT``, and show its frames to viewers."""
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
        """Count the frames of a new part of a video, and estimate the time left."""
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
        self._store.save(job)
        self._tell(job)

    def _on_progress(self, job: Job, header: Header) -> None:
        done = {"done": header["done"], "total": header["total"]}
        self.broadcast_event(job, {"event": "progress", **done})

    def _on_answer(self, job: Job, header: Header) -> None:
        job.changes.append(header["change"])
        self._store.save(job)
        self.broadcast_event(job, {"event": "change", **header["change"]})

    def _on_end(self, job: Job, header: Header) -> None:
        job.result |= header.get("result", {})
        job.frames_done = header.get("frames_done", job.frames_done)
        self._leave(job)
        self._on_export(job)
        pace, kind = self._paces.get(job.id), self.kind(job)
        if pace is not None and pace.seconds_per_frame is not None:
            kind.learn(self.catalogue, pace.seconds_per_frame)
        self.finish(job, header["status"], header.get("error", ""))

    def _on_died(self, job: Job, header: Header) -> None:
        lane, code = self.lane(job), header["code"]
        self._leave(job)
        how = f"signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
        self.finish(job, "failed", f"the worker ended unexpectedly ({how}); it can continue")
        lane.send(self.message("keep", job))

    def _on_kept(self, job: Job, header: Header) -> None:
        if job.status not in ACTIVE:
            job.frames_done = header["frames_done"]
            self._store.save(job)
            self._tell(job)

    def _on_stage(self, job: Job, header: Header) -> None:
        job.result = {**job.result, **header["result"]}
        job.seconds_left = header["seconds_left"]
        self._store.save(job)
        self._on_export(job)
        self._tell(job)

    def _leave(self, job: Job) -> None:
        """Free the lane of a job that has ended."""
        lane = self.lane(job)
        if lane.running == job.id:
            lane.running = None
            asyncio.get_running_loop().call_soon(self.start_next, lane)

    def finish(self, job: Job, status: str, error: str = "") -> None:
        """Store that a job has ended, with ``status`` and an ``error`` if any; tell its viewers."""
        job.status, job.error, job.ended, job.seconds_left = status, error, time.time(), None
        self._store.save(job)
        self._paces.pop(job.id, None)
        self._tell(job)
        self.broadcast_event(job, {"event": "end", "status": status, "error": error or None})
        self.ended[job.id].set()
        self.forget(job)

    def status(self, job: Job) -> dict[str, Any]:
        """The event ``status`` for viewers: a job's status, frames, and seconds left."""
        facts = ("status", "frames_done", "frames", "seconds_left")
        return {"event": "status", **{k: getattr(job, k) for k in facts}}

    def forget(self, job: Job) -> None:
        """Free the memory of a job's last clip if the job has ended and has no viewers."""
        broadcast = self._broadcasts.get(job.id)
        if broadcast is not None and not broadcast.viewers and job.status not in ACTIVE:
            del self._broadcasts[job.id]

    def _tell(self, job: Job, **more: Any) -> None:
        self.broadcast_event(job, {**self.status(job), **more})

    def broadcast_event(self, job: Job, event: dict[str, Any]) -> None:
        """Send an event, as JSON data, to the viewers of a job."""
        if job.id in self._broadcasts:
            self._broadcasts[job.id].tell(event)

    def recover(self, job: Job) -> None:
        """Restore a job after the server's restart.

        One that was running is stopped or, if a program submitted it by the API, waits again.
        """
        self.jobs[job.id] = job
        self.ended[job.id] = asyncio.Event()
        log = self._folder / JOBS / job.id / CHANGES
        if log.exists():
            with suppress(DocumentError):
                job.changes = read_json(log)
        if job.status == RUNNING and job.origin != "studio":
            job.status = WAITING  # a program that waits for it cannot continue it
        elif job.status == RUNNING:
            job.status, job.error = "stopped", "the server was ended while it ran; it can continue"
            job.ended, job.seconds_left = time.time(), None
            self.interrupted.append(job)
        if job.status == WAITING:
            self.lane(job).waiting.append(job.id)
        else:
            self.ended[job.id].set()
        self._store.save(job)
