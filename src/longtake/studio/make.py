"""Makes a video of a given length as the command line does, and shows it meanwhile."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from longtake.generate import Part, VideoStream
from longtake.given import Given, wired
from longtake.jobs import Job, open_jobs, write_job
from longtake.rollout import Cancelled, Request, Steering
from longtake.segments import Segment, keep_whole
from longtake.studio.loaded import request_of
from longtake.studio.longer import to_continue
from longtake.studio.measuring import RunningDrift
from longtake.studio.places import SEGMENTS
from longtake.studio.settings import VideoSettings
from longtake.studio.work import StoppedError, Work
from longtake.video import VideoWriter, probe, stream_video

STOPPED = "so_far.mp4"


class Watched(VideoStream):
    """A stream of videos whose first one is shown while it is made.

    Args:
        video: makes the videos.
        work: the job.
        done: number of frames that an earlier run has made.
    """

    def __init__(self, video: VideoStream, work: Work, done: int) -> None:
        self._video, self._work, self._done = video, work, done
        self._drift = RunningDrift(work.folder)

    @property
    def grain(self) -> int:
        return self._video.grain

    @property
    def sampled_from(self) -> int:
        return self._video.sampled_from

    @property
    def first_step_frames(self) -> int:
        return self._video.first_step_frames

    def steps(self, frames: int) -> int:
        return self._video.steps(frames)

    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Yield the parts of the video after they are shown."""
        for part in self._video(request, frames, state, steering):
            shown = part.frames[0][: frames - self._done]
            start, self._done = self._done, self._done + len(shown)
            drift = self._drift.add(shown, start) if len(shown) > 1 else {}
            self._work.emit("part", shown, start=start, end=self._done, drift=drift)
            yield part


def run_make(settings: VideoSettings, work: Work) -> dict[str, Any]:
    """Make a video of a given length and write it; an interrupted or shorter one continues.

    Its segments stay in the job's folder, so that it can be continued when it is done.

    Returns JSON data: ``frames``, their number, and ``notes``, sentences on how given files were
    changed.

    Raises:
        StoppedError: it was stopped; ``so_far.mp4`` has the complete segments.
    """
    opened = work.loaded.open(settings)
    start = work.given(settings.start_image)
    end = work.given(settings.end_image)
    given = Given(
        start_image=None if end else start,
        end_image=None if start else end,
        continued=work.given(settings.continue_video),
        between=(start, end) if start and end else None,
        loop=settings.loop,
    )
    found = wired(opened.video, given, settings.frames, opened.model.index.fps)
    job = Job(
        request=request_of(opened.model, settings),
        paths=[work.files / f"seed_{settings.seed:04d}.mp4"],
        frames=found.frames,
        fps=found.fps,
        identity={**found.identity, "settings": settings.model_dump(mode="json")},
        sheets=settings.sheet,
    )
    (work.files / STOPPED).unlink(missing_ok=True)
    steering = Steering(cancel=lambda: work.poll(), progress=work.progress)
    with open_jobs([job], work.files, overwrite=True) as outputs:
        folder = _segments(work, outputs.folder(job.files) / SEGMENTS)
        segments = to_continue(work.folder, folder, found.frames)
        done = segments[-1].end if segments else 0
        work.emit("begun", frames_done=done, fps=found.fps, frames=found.frames)
        try:
            write_job(Watched(found.video, work, done), job, outputs, steering=steering)
        except Cancelled as stop:
            kept = keep_whole(folder)
            _keep(folder, kept, work.files / STOPPED)
            raise StoppedError(kept[-1].end if kept else 0) from stop
    return {"frames": found.frames, "notes": list(found.notes)}


def _segments(work: Work, link: Path) -> Path:
    """The folder of a job's segments, which ``write_job`` finds at ``link`` and leaves there."""
    folder = work.folder / SEGMENTS
    folder.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(folder, link.parent))
    return folder


def keep_made(work: Work) -> int:
    """Join the segments that a killed worker left to one file; returns its number of frames."""
    folder = work.folder / SEGMENTS
    segments = keep_whole(folder) if folder.is_dir() else []
    _keep(folder, segments, work.files / STOPPED)
    return segments[-1].end if segments else 0


def _keep(folder: Path, segments: Sequence[Segment], path: Path) -> None:
    """Write the segments of a stopped video as one file."""
    paths = [folder / name for segment in segments for name in segment.files]
    if not paths:
        return
    with VideoWriter(path, probe(paths[0]).fps, overwrite=True) as writer:
        for each in paths:
            for frames in stream_video(each):
                writer.write(frames)
