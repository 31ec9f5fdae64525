"""Videos written to files: segment by segment, so that a killed command loses little, then joined.

A segment is a file of each video, and a state from which sampling continues after it. Segments of
long videos have the format of the video and are joined without loss; those of short ones, which
are many to a second, are lossless and encoded again, so that no format shows where they met.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from longtake.checkpoint import read_tensors
from longtake.config import plural
from longtake.generate import VideoStream
from longtake.outputs import Outputs, open_outputs
from longtake.progress import ProgressCallback, no_progress
from longtake.rollout import Request, Steering
from longtake.segments import Segment, keep_whole, record_of, write_record
from longtake.video import VideoError, VideoWriter, concatenate, overview, stream_video
from longtake.video.background import Background
from longtake.video.host_copy import HostCopy
from longtake.video.write import check_format

SEGMENT_FRAMES = 256  # most frames of a segment
SEGMENTS = 8  # least number of segments
JOINABLE = (".mp4", ".mkv")
LOSSLESS = ".mkv"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Videos to sample as one batch and to write to files of one folder.

    Attributes:
        request: seeds and conditions (signals) of the videos.
        paths: one file per video; the suffix selects the format.
        frames: number of frames of each video.
        fps: frame rate of the files, in frames per second.
        identity: everything else that the videos depend on, as JSON data.
        sheets: also write a contact sheet of each video beside it.
    """

    request: Request
    paths: Sequence[Path]
    frames: int
    fps: float
    identity: Mapping[str, Any]
    sheets: bool = False

    @property
    def files(self) -> list[Path]:
        """Paths of all files to write: the videos, then their contact sheets."""
        return [*self.paths, *(map(_sheet, self.paths) if self.sheets else ())]


def open_jobs(
    jobs: Sequence[Job], place: Path, *, overwrite: bool = False, group: str = ""
) -> AbstractContextManager[Outputs]:
    """Reserve the files of one or more jobs, and find what interrupted ones have written.

    Args:
        jobs: all jobs of a command, which differ in their seeds.
        place: folder of the videos, or the path of the only one.
        overwrite: replace files that exist, and drop unfinished ones of another request.
        group: name shared by processes that write the videos together; see ``locked``.

    Raises:
        VideoError: a format is unknown, or cannot store the frame rate.
        InUseError: another process makes files there.
        ExistsError: a file exists that was not made for this request, or the folder holds
            unfinished files of another request.
        CheckpointError: what the folder holds is broken.
    """
    for job in jobs:
        for path in job.paths:
            check_format(path, job.fps)
    first = jobs[0]
    request = {
        **first.identity,
        "frames": first.frames,
        "fps": first.fps,
        "sheets": first.sheets,
        "seeds": [list(job.request.seeds) for job in jobs],
        "files": [path.name for job in jobs for path in job.paths],
    }
    sets = [job.files for job in jobs]
    return open_outputs(place, "generate", request, sets, overwrite=overwrite, group=group)


def write_job(
    video: VideoStream,
    job: Job,
    outputs: Outputs,
    *,
    report: ProgressCallback = no_progress,
    steering: Steering | None = None,
) -> int:
    """Sample a job's videos and write them; continues an interrupted job after its last segment.

    Memory does not depend on the length. Each segment is a playable file.

    Args:
        video: makes the videos.
        job: seeds, conditions and files.
        outputs: what ``open_jobs`` yields.
        report: called with the number of frames done of each video, and its total.
        steering: callbacks that change, watch or cancel the videos while they are sampled.

    Returns:
        the number of frames of each video that this call has made, without those of earlier calls.

    Raises:
        ExistsError: a file was put in the place of one to write.
        VideoError: a file cannot be written.
        CheckpointError: the state of the interrupted job lacks something.
        Cancelled: ``steering`` asked for it.
        FloatingPointError: latents or decoded frames are not finite.
    """
    if outputs.made(job.files):
        return 0
    folder = outputs.folder(job.files)
    segments = folder / "segments"
    segments.mkdir(exist_ok=True)
    found = keep_whole(segments)
    before = done = found[-1].end if found else 0
    while done < job.frames:
        state = read_tensors(record_of(segments, found[-1].start)) if found else None
        found.append(_write_segment(video, job, segments, done, state, report, steering))
        done = found[-1].end
    for row, path in enumerate(job.paths):
        parts = [segments / list(segment.files)[row] for segment in found]
        _join(parts, folder / path.name, job)
        if job.sheets:
            overview(folder / path.name, folder / _sheet(path).name)
    outputs.put(job.files)
    return job.frames - before


def write_videos(
    video: VideoStream,
    job: Job,
    *,
    overwrite: bool = False,
    report: ProgressCallback = no_progress,
    steering: Steering | None = None,
) -> int:
    """Sample and write the videos of one job: ``open_jobs``, then ``write_job``.

    Args:
        video: makes the videos.
        job: seeds, conditions and files.
        overwrite: replace files that exist, and drop unfinished ones of another request.
        report: called with the number of frames done of each video, and its total.
        steering: callbacks that change, watch or cancel the videos while they are sampled.

    Returns:
        the number of frames of each video that this call has made.

    Raises:
        ValueError: files exist or cannot be written, as ``open_jobs`` and ``write_job`` describe.
        Cancelled: ``steering`` asked for it.
        FloatingPointError: latents or decoded frames are not finite.
    """
    with open_jobs([job], job.paths[0], overwrite=overwrite) as outputs:
        return write_job(video, job, outputs, report=report, steering=steering)


def _sheet(path: Path) -> Path:
    return path.with_name(f"{path.stem}_sheet.png")


def _write_segment(
    video: VideoStream,
    job: Job,
    folder: Path,
    start: int,
    state: Mapping[str, Tensor] | None,
    report: ProgressCallback,
    steering: Steering | None,
) -> Segment:
    """Write one segment of each video from frame ``start`` on, then the state at its end.

    Sampling continues from ``state``; None: from the start of the video.
    """
    done, end = start, min(start + min(SEGMENT_FRAMES, -(-job.frames // SEGMENTS)), job.frames)
    suffix = _segment_suffix(job)
    paths = [folder / f"{row:03d}_{start:08d}{suffix}" for row in range(len(job.paths))]
    with ExitStack() as stack:
        writers = [stack.enter_context(VideoWriter(p, job.fps, overwrite=True)) for p in paths]
        encoding = stack.enter_context(Background())  # beside the networks; ends before writers do
        for part in video(job.request, job.frames, state, steering):
            frames, state = part.bytes[:, : job.frames - done], part.state
            encoding.submit(_write, writers, HostCopy(frames))
            done += frames.shape[1]
            report(done, job.frames)
            if done >= end:
                break
    assert state is not None
    return write_record(folder, start, done, paths, state)


def _write(writers: Sequence[VideoWriter], frames: HostCopy) -> None:
    for writer, own in zip(writers, frames.wait(), strict=True):
        writer.write(own)


def _segment_suffix(job: Job) -> str:
    """Suffix of the segments' files: that of the videos if segments are long, else ``.mkv``."""
    own = job.paths[0].suffix
    long = job.frames >= SEGMENTS * SEGMENT_FRAMES
    return own if own in JOINABLE and long else LOSSLESS


def _join(segments: Sequence[Path], path: Path, job: Job) -> None:
    """Write a job's segments as one file, copied where the suffix allows it, else encoded again."""
    if path.suffix == segments[0].suffix:
        frames = concatenate(segments, path, overwrite=True)
    else:
        with VideoWriter(path, job.fps, overwrite=True) as writer:
            for segment in segments:
                for chunk in stream_video(segment):
                    writer.write(chunk)
        frames = writer.frames
    if frames != job.frames:
        raise VideoError(
            f"{path}: {plural(frames, 'frame')} were joined, expected {job.frames}, as a segment "
            "was changed; make the video again"
        )
