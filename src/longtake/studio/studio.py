"""The studio: jobs are submitted, changed, stopped and continued; models are described."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from longtake.config import parse, plural, to_dict
from longtake.files import locked, remove
from longtake.studio.checks import check_change, check_uploads, described
from longtake.studio.errors import BusyError, MissingError, StateError
from longtake.studio.kinds import AnyJob, JobKind, MakeJob
from longtake.studio.places import FOOTAGE, JOBS, TRAINED, UPLOADS
from longtake.studio.queueing import Commands, Queue
from longtake.studio.settings import UPLOAD_ID, Change, Limits, VideoSettings
from longtake.studio.showing import shown, size_of
from longtake.studio.store import RUNNING, WAITING, Job, JobStore
from longtake.studio.trainings import exports

STOP_SECONDS = 20.0
MAY_CONTINUE = ("stopped", "failed")
LOOK_SECONDS = 5.0
IDS = re.compile(f'"({UPLOAD_ID.pattern})"')
MAKE_ROOM = "delete jobs or uploads"


class Studio:
    """Jobs of a folder, carried out by worker processes.

    Made in an event loop; all methods are called in it. ``async with`` opens and closes it.

    Args:
        folder: folder of jobs, uploads and footage; one process uses it at a time.
        models: folder or hub id of each model by its name.
        limits: limits of jobs and uploads.
        commands: functions that make command lines for jobs.
        trainings: folder of each training to watch, by its name.

    Attributes:
        trainings: folder of each training to watch, by its name.
    """

    def __init__(
        self,
        folder: Path,
        models: Mapping[str, str],
        limits: Limits,
        commands: Commands,
        trainings: Mapping[str, Path] | None = None,
    ) -> None:
        self.folder, self.limits, self.trainings = folder.absolute(), limits, trainings or {}
        self._places, self._commands = models, commands
        self._seen: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._trained: dict[str, str] = {}
        self._bytes = 0
        self._open = contextlib.ExitStack()

    async def __aenter__(self) -> "Studio":
        for name in (JOBS, UPLOADS, FOOTAGE):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._open.enter_context(locked(self.folder, self.folder / ".lock"))
        _remove_unfinished(self.folder / UPLOADS)
        self.store = JobStore(self.folder / "studio.sqlite3")
        self._open.callback(self.store.close)
        self.queue = Queue(self.folder, self.store, self._places, self._commands, self._add_trained)
        self.catalogue = self.queue.catalogue
        self._tasks = [
            asyncio.create_task(self._begin()),
            asyncio.create_task(self._look_after()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self.queue.close()
        self._open.close()

    def submit(self, data: Any, origin: str = "studio") -> Job:
        """Check a job, given as JSON data, and put it into the queue.

        ``data`` has the fields of a ``JobKind``: ``kind`` and ``settings``. ``origin`` says what
        submits it: ``studio``, the page, or ``videos``, the API.

        Raises:
            ValueError: it cannot be done, or goes beyond the limits.
            BusyError: too many jobs wait, or the studio's folder is too large.
        """
        kind: JobKind = parse(AnyJob, data)
        kind.check(self.catalogue.models, self.limits, self.folder)
        self._check_queue()
        settings = {k: v for k, v in to_dict(kind).items() if k != "kind"}
        job = Job(kind=str(data["kind"]), settings=settings, frames=kind.frames, origin=origin)
        self.queue.enqueue(job)
        return job

    async def change(self, name: str, data: Any) -> dict[str, Any]:
        """Change a live video; returns the change as JSON data of a ``LoggedChange``.

        Args:
            name: id of the video's job.
            data: label, prompt, negative prompt, scale of guidance or start image, as JSON data of
                a ``Change``.

        Raises:
            MissingError: there is no such job.
            StateError: the video is not made now.
            ValueError: nothing is changed, or the model does not read the change.
        """
        job = self.queue.job(name)
        change: Change = parse(Change, data)
        if not change.model_dump(exclude_none=True):
            raise ValueError(
                "nothing is changed; give label, prompt, guidance_scale or start_image"
            )
        if not self.queue.kind(job).steerable or job.status != RUNNING:
            raise StateError(
                f"this job is {job.status}; only a live video that is being made can be changed"
            )
        model = described(job.settings["settings"]["model"], self.catalogue.models)
        check_change(change, model)
        check_uploads(self.folder, change.start_image)
        found = await self.queue.lane(job).ask({"do": "change", "change": to_dict(change)})
        return found["change"]

    async def stop(self, name: str) -> Job:
        """Stop the job with the id ``name``, and wait until it has stopped, for at most 20 s.

        Its complete frames are kept as a file. Raises a MissingError if there is no such job.
        """
        job = self.queue.job(name)
        lane = self.queue.lane(job)
        if job.status == WAITING:
            lane.waiting.remove(job.id)
            self.queue.finish(job, "stopped")
        elif job.status == RUNNING:
            lane.send({"do": "stop"})
            with suppress(TimeoutError):
                await asyncio.wait_for(self.queue.ended[job.id].wait(), STOP_SECONDS)
        return job

    def resume(self, name: str, frames: int | None = None) -> Job:
        """Let a stopped or failed job continue, bit for bit as if it had not been stopped.

        One that is done continues with more frames, as if it had been asked for them at first; else
        a job that waits, runs or is done is returned as it is.

        Args:
            name: id of the job.
            frames: new length of its video, in frames; None: the length that it has.

        Raises:
            MissingError: there is no such job.
            StateError: it waits or runs, and ``frames`` is another length; or it is done, and its
                video cannot get longer.
            ValueError: the video has as many frames already, or they go beyond the limits.
            BusyError: too many jobs wait, or the studio's folder is too large.
        """
        job = self.queue.job(name)
        if job.status not in MAY_CONTINUE:
            if frames is None or frames == job.frames:
                return job
            if job.status != "done":
                raise StateError(
                    f"this job is {job.status}; stop it, then continue it with frames={frames}"
                )
            self.queue.kind(job).check_longer()
        if frames is not None:
            if frames <= job.frames_done:
                raise ValueError(
                    f"frames={frames}: the video has {job.frames_done} already; ask for more"
                )
            settings = {**job.settings, "settings": {**job.settings["settings"], "frames": frames}}
            kind: JobKind = parse(AnyJob, {"kind": job.kind, **settings})
            kind.check(self.catalogue.models, self.limits, self.folder)
            job.settings, job.frames = settings, kind.frames
        self._check_queue()
        job.queued, job.error, job.ended = time.time(), "", None
        self.queue.enqueue(job)
        return job

    async def delete(self, name: str) -> None:
        """Stop the job with the id ``name``, and remove it with its files.

        Raises a MissingError if there is no such job.
        """
        job = await self.stop(name)
        if job.status == RUNNING:
            self.queue.lane(job).kill()
            await self.queue.ended[job.id].wait()
        self.queue.remove(job)
        for model in [each for each in self.catalogue.places if each.startswith(trained_name(job))]:
            self.catalogue.remove(model)
        await asyncio.to_thread(remove, self.queue.job_folder(job))

    async def remove_upload(self, name: str) -> None:
        """Remove the upload with the id ``name``.

        Raises:
            MissingError: there is no such upload.
            StateError: a job that waits, runs or can continue needs it.
        """
        folder = self.folder / UPLOADS / name
        if not UPLOAD_ID.fullmatch(name) or not folder.is_dir():
            raise MissingError(f"there is no upload {name!r}")
        jobs = self.queue.jobs.values()
        if needing := [job for job in jobs if job.status != "done" and name in ids_of(job)]:
            raise StateError(
                f"{plural(len(needing), 'job')} that may still be carried out would lack this "
                "upload; delete these jobs first"
            )
        await asyncio.to_thread(remove, folder)

    def shown(self, job: Job) -> dict[str, Any]:
        """Describe a job as JSON data for a page, as ``showing.shown`` does."""
        queue, waiting = self.queue, self.queue.lane(job).waiting
        place = waiting.index(job.id) + 1 if job.id in waiting else 0
        kind = queue.kind(job)
        # No command changes guidance or a negative prompt along time: the log repeats that.
        command = "" if job.changes else self._command(kind, job.frames_done)
        return shown(job, kind, queue.job_folder(job), place, command)

    def estimate(self, data: Any) -> dict[str, Any]:
        """Estimate time, memory, length and command of a video.

        ``data`` is JSON data of ``VideoSettings``. Returns JSON data: ``seconds`` and ``memory_mb``
        to make it, ``frames``, ``duration_seconds`` and ``command``; None where it is unknown.

        Raises:
            ValueError: it cannot be made, or goes beyond the limits.
        """
        settings = parse(VideoSettings, data)
        kind = MakeJob(settings=settings)
        kind.check(self.catalogue.models, self.limits, self.folder)
        model, frames = self.catalogue.models[settings.model], kind.frames
        seconds = None if frames is None else self.catalogue.seconds(settings, frames)
        memory = self.catalogue.memory(settings, frames or model["grain"])
        return {
            "seconds": None if seconds is None else round(seconds, 1),
            "memory_mb": None if memory is None else round(memory),
            "frames": frames,
            "duration_seconds": None if frames is None else frames / model["fps"],
            "command": self._command(kind, frames_done=0),
        }

    async def decode(self, upload: str) -> dict[str, Any]:
        """Decode the file of the upload with this id in a sandbox.

        Returns JSON data, as ``decode_upload`` does.

        Raises:
            ValueError: it is not a video or image, is broken, or beyond the limits.
        """
        path = self.folder / UPLOADS / upload
        message = {"do": "upload", "path": str(path), "limits": to_dict(self.limits)}
        return (await self.queue.lanes[UPLOADS].ask(message))["upload"]

    def _command(self, kind: JobKind, frames_done: int) -> str:
        return self._commands.repeat(kind, frames_done, self.folder, self.catalogue.places)

    def check_room(self, more_bytes: int = 0) -> None:
        """Raise a BusyError if the folder is too large, or would be with ``more_bytes`` more."""
        if self._bytes > self.limits.disk_bytes:
            raise BusyError(self._full())
        if self._bytes + more_bytes > self.limits.disk_bytes:
            raise BusyError(
                f"{more_bytes / 1e6:.1f} MB more do not fit into the studio's folder, which holds "
                f"{self._bytes / 1e9:.1f} GB; its limit is {self.limits.disk_bytes / 1e9:.1f} GB; "
                f"{MAKE_ROOM}"
            )

    def _check_queue(self) -> None:
        """Raise a BusyError if no further job may wait."""
        self.check_room()
        if (waiting := self.queue.waiting) >= self.limits.jobs:
            raise BusyError(f"{waiting} jobs wait already, the limit; try again when some are done")

    async def _begin(self) -> None:
        """Describe the models, then start the jobs that wait."""
        await self.catalogue.describe_all()
        for job in self.queue.jobs.values():
            self._add_trained(job)
        for job in self.queue.interrupted:
            self.queue.lane(job).send(self.queue.message("keep", job))
        self.queue.start_all()

    def _add_trained(self, job: Job) -> None:
        """Let the model of a training be used, at its newest step."""
        found = exports(self.training_of(job))
        if not found or self._trained.get(job.id) == found[0].stamp:
            return
        name, self._trained[job.id] = trained_name(job), found[0].stamp
        job.result["model"] = name
        self.store.save(job)
        self.offer(name, found[0].folder, self.queue.kind(job).title)

    def training_of(self, job: Job) -> Path:
        """Folder of the training that a job carries out; another job's has nothing in it."""
        return self.queue.job_folder(job) / TRAINED

    def offer(self, name: str, folder: Path, title: str = "") -> str:
        """Let the model in a folder be chosen by a name, which is returned, once it is described.

        ``title`` is the name to show; empty: ``name``.
        """
        self._tasks.append(asyncio.create_task(self.catalogue.add(name, str(folder), title)))
        return name

    async def _look_after(self) -> None:
        """Stop endless videos that nobody watches, and all work when the folder is too large."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._tasks = [task for task in self._tasks if not task.done()]
            self._bytes = await asyncio.to_thread(size_of, self.folder)
            for job in [j for j in self.queue.jobs.values() if j.status == RUNNING]:
                if (
                    self.queue.broadcast(job).viewers
                    or job.frames
                    or not self.queue.kind(job).steerable
                ):
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
            f"{self.limits.disk_bytes / 1e9:.1f} GB; {MAKE_ROOM}"
        )


def ids_of(job: Job) -> set[str]:
    """Ids of the uploads and jobs that the settings and changes of a job name."""
    return {*IDS.findall(json.dumps([job.settings, job.changes]))}


def trained_name(job: Job) -> str:
    """Name under which the model of a training job is offered."""
    return f"train-{job.id}"


def _remove_unfinished(uploads: Path) -> None:
    """Remove the uploads whose decoding a kill has cut short, which no client has the id of."""
    own = [p for p in uploads.iterdir() if UPLOAD_ID.fullmatch(p.name) and p.is_dir()]
    for folder in own:
        names = {path.name for path in folder.iterdir()}
        if names & {"original", "original.d"} or not names & {"given.png", "given.mkv"}:
            remove(folder)
