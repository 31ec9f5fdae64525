"""Segments of videos on disk, each with the state from which sampling continues after it."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from annotated_types import Ge
from pydantic import StringConstraints
from torch import Tensor

from longtake.checkpoint import (
    CheckpointError,
    file_hash,
    read_header,
    read_metadata,
    read_tensors,
    tensors_hash,
    write_tensors,
)
from longtake.config import Config, ConfigError, parse, to_dict
from longtake.documents import DocumentError, parse_json
from longtake.files import remove

LOGGER = logging.getLogger("longtake")


class Segment(Config):
    """Consecutive frames of a job's videos that are on disk, and the state that continues them.

    Attributes:
        start: index of the first frame.
        end: index of the last frame plus one.
        files: SHA-256 of each video's file, by the file's name.
        tensors: names of the tensors of the state.
        state: SHA-256 of these tensors; empty in files of earlier versions.
    """

    start: Annotated[int, Ge(0)]
    end: Annotated[int, Ge(1)]
    files: dict[Annotated[str, StringConstraints(pattern=r"^\d+_\d+\.\w+$")], str]
    tensors: tuple[str, ...]
    state: str = ""


def write_record(
    folder: Path, start: int, end: int, paths: Sequence[Path], state: Mapping[str, Tensor]
) -> Segment:
    """Write the state after a segment whose files are whole; only then the segment is complete.

    Args:
        folder: folder of the segments.
        start: index of the first frame.
        end: index of the last frame plus one.
        paths: file of each video.
        state: tensors from which sampling continues.

    Raises:
        CheckpointError: the file cannot be written.
    """
    files = {path.name: file_hash(path) for path in paths}
    segment = Segment(
        start=start, end=end, files=files, tensors=(*state,), state=tensors_hash(state)
    )
    write_tensors(record_of(folder, start), state, {"segment": json.dumps(to_dict(segment))})
    return segment


def keep_whole(folder: Path) -> list[Segment]:
    """Find the whole segments of videos in a folder, from frame 0 on without a gap.

    Everything else is removed from the folder.

    Raises:
        CheckpointError: a state lacks a tensor.
    """
    found: list[Segment] = []
    kept: set[str] = set()
    while (segment := _whole(folder, found[-1].end if found else 0)) is not None:
        kept |= {record_of(folder, segment.start).name, *segment.files}
        found.append(segment)
    for path in folder.iterdir():
        if path.name not in kept:
            remove(path)
    return found


def _whole(folder: Path, start: int) -> Segment | None:
    """The segment that begins with frame ``start``; None if there is none, or it is damaged.

    A CheckpointError if the state after the segment is broken.
    """
    record = record_of(folder, start)
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
    damaged = [folder / n for n, sha in segment.files.items() if not _is_whole(folder / n, sha)]
    if segment.state and tensors_hash(read_tensors(record)) != segment.state:
        damaged.append(record)
    for path in damaged[:1]:
        LOGGER.warning("%s: missing or damaged; frames from %d on are made again", path, start)
    return None if damaged else segment


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and file_hash(path) == sha256


def record_of(folder: Path, start: int) -> Path:
    """Path in ``folder`` of the state after the segment that begins with frame ``start``."""
    return folder / f"{start:08d}.safetensors"
