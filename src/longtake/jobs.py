"""Videos written to files: segment by segment, so that a killed command loses little, then joined.

A segment is a file of each video, and a state from which sampling continues after it. Segments of
long videos have the format of the video and are joined without loss; those of short ones, which
are many to a second, are lossless and encoded again, so that no format shows where they met.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import StringConstraints
from torch import Tensor

from longtake.checkpoint import (
    CheckpointError,
    file_hash,
    read_header,
    read_metadata,
    read_tensors,
    write_tensors,
)
from longtake.config import Config, ConfigError, parse, to_dict
from longtake.documents import DocumentError, parse_json
from longtake.files import remove
from longtake.generate import VideoStream
from longtake.outputs import Outputs, open_outputs
from longtake.progress import ProgressCallback, no_progress
from longtake.rollout import Request, Steering
from longtake.video import VideoError, VideoWriter, concatenate, overview, stream_video
from longtake.video.write import check_format

LOGGER = logging.getLogger("longtake")
SEGMENT_FRAMES = 256  # most frames of a segment
SEGMENTS = 8  # least number of segments
JOINABLE = (".mp4", ".mkv")
LOSSLESS = ".mkv"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Videos to sample as one batch and to write to files of one folder.

    Attributes:
        request: seeds and signals of the videos.
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


class Segment(Config):
    """Consecutive frames of a job's videos that are on disk, and the state that continues them.

    Attributes:
        start: index of the first frame.
        end: index of the last frame plus one.
        files: SHA-256 of each video's file, by the file's name.
        tensors: names of the tensors of the state.
    """

    start: Annotated[int, Ge(0)]
    end: Annotated[int, Ge(1)]
    files: dict[Annotated[str, StringConstraints(pattern=r"^\d+_\d+\.\w+$")], str]
    tensors: tuple[str, ...]


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
        job: seeds, signals and files.
        outputs: what ``open_jobs`` yields.
        report: called with the number of frames done of each video, and its total.
        steering: callbacks that change, watch or cancel the videos while they are sampled.

    Returns:
        the number of frames of each video that this call has made, without those of earlier calls.

    Raises:
        ExistsError: a file was put in the place of one to write.
        VideoError: a file cannot be written.
        CheckpointError: the state of the interrupted job lacks something.
    """
    if outputs.made(job.files):
        return 0
    folder = outputs.folder(job.files)
    segments = folder / "segments"
    segments.mkdir(exist_ok=True)
    found = _keep_whole(segments)
    before = done = found[-1].end if found else 0
    while done < job.frames:
        state = read_tensors(_record(segments, found[-1].start)) if found else None
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

    Returns the number of frames of each video that this call has made.
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
    """One segment of each video; the state of its end is written after the segment is whole."""
    done, end = start, min(start + min(SEGMENT_FRAMES, -(-job.frames // SEGMENTS)), job.frames)
    suffix = _segment_suffix(job)
    paths = [folder / f"{row:03d}_{start:08d}{suffix}" for row in range(len(job.paths))]
    with ExitStack() as stack:
        writers = [stack.enter_context(VideoWriter(p, job.fps, overwrite=True)) for p in paths]
        for part in video(job.request, job.frames, state, steering):
            frames, state = part.frames[:, : job.frames - done], part.state
            for writer, own in zip(writers, frames, strict=True):
                writer.write(own)
            done += frames.shape[1]
            report(done, job.frames)
            if done >= end:
                break
    assert state is not None
    files = {path.name: file_hash(path) for path in paths}
    segment = Segment(start=start, end=done, files=files, tensors=(*state,))
    write_tensors(_record(folder, start), state, {"segment": json.dumps(to_dict(segment))})
    return segment


def _segment_suffix(job: Job) -> str:
    """The format of segments: the video's own where few of them make up a second."""
    own = job.paths[0].suffix
    long = job.frames >= SEGMENTS * SEGMENT_FRAMES
    return own if own in JOINABLE and long else LOSSLESS


def _keep_whole(folder: Path) -> list[Segment]:
    """Whole segments from the first frame on; everything else is removed from the folder."""
    found: list[Segment] = []
    kept: set[str] = set()
    while (segment := _whole(folder, found[-1].end if found else 0)) is not None:
        kept |= {_record(folder, segment.start).name, *segment.files}
        found.append(segment)
    for path in folder.iterdir():
        if path.name not in kept:
            remove(path)
    return found


def _whole(folder: Path, start: int) -> Segment | None:
    """The segment from a frame on, or None if there is none, or it is damaged."""
    record = _record(folder, start)
    if not record.exists():
        return None
    try:
        names, metadata = read_header(record), read_metadata(record)
    except CheckpointError as error:
        LOGGER.warning("%s; frames from %d on are made again", error, start)
        return None
    try:
        segment: Segment = parse(Segment, parse_json(metadata.get("segment", "{}")))
    except (ConfigError, DocumentError) as error:
        again = f"remove {folder} to make the video again"
        raise CheckpointError(f"{record}: {error}; {again}") from error
    if lacking := sorted({*segment.tensors} - names.keys()):
        raise CheckpointError(
            f"{record}: lacks {lacking[0]!r}; remove {folder} to make the video again"
        )
    for name, expected in segment.files.items():
        path = folder / name
        if not path.is_file() or file_hash(path) != expected:
            LOGGER.warning("%s: missing or damaged; frames from %d on are made again", path, start)
            return None
    return segment


def _record(folder: Path, start: int) -> Path:
    return folder / f"{start:08d}.safetensors"


def _join(segments: Sequence[Path], path: Path, job: Job) -> None:
    if path.suffix == segments[0].suffix:
        frames = concatenate(segments, path, overwrite=True)
    else:
        with VideoWriter(path, job.fps, overwrite=True) as writer:
            for segment in segments:
                for chunk in stream_video(segment):
                    writer.write(chunk)
        frames = writer.frames
    if frames != job.frames:
        raise VideoError(f"{path}: {frames} frames were joined, expected {job.frames}")
