"""Synthetic data sets written as folders of videos and captions, to be read like any footage."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import NonNegativeInt, StringConstraints

from longtake.checkpoint import CheckpointError, ExistsError, file_hash, write_text
from longtake.config import Config, ConfigError, differences, parse, to_dict
from longtake.data.synthetic.base import SyntheticSource
from longtake.documents import DocumentError, read_json, read_json_lines
from longtake.files import put
from longtake.progress import ProgressCallback, no_progress
from longtake.video import VideoWriter

SETTINGS, CLASSES, VIDEOS = "export.json", "classes.txt", "videos.jsonl"
CHUNK_FRAMES = 64
T = TypeVar("T")


class Exported(Config):
    """One video of an exported synthetic data set, as ``videos.jsonl`` lists it.

    Attributes:
        file: name of the file in the folder.
        caption: sentence that the ``.txt`` file beside the video holds.
        label: class of the video: a line of ``classes.txt``, counted from 0; None without classes.
        sha256: hash of the video file.
    """

    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+\.mp4$")]
    caption: str
    label: NonNegativeInt | None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def export_world(
    world: SyntheticSource,
    out: Path,
    *,
    videos: int,
    frames: int,
    size: int | None = None,
    overwrite: bool = False,
    report: ProgressCallback = no_progress,
) -> list[Exported]:
    """Write the first videos of a synthetic data set to mp4 files with captions beside them.

    Videos that ``videos.jsonl`` lists with the hash of their file, from an earlier export with the
    same settings, are kept: an interrupted export continues, and a larger number of videos adds to
    a smaller.

    Args:
        world: the data set; its split, seed and stride are used.
        out: folder to write to.
        videos: number of videos.
        frames: number of frames of each video.
        size: height and width in pixels; None: those of the data set's plan.
        overwrite: replace an export with other settings, and files of other origin.
        report: called with the number of videos that are done and their total.

    Returns:
        an entry for each video.

    Raises:
        ExistsError: the folder holds an export with other settings, or a video of other origin.
        CheckpointError: a file of an earlier export cannot be read.
    """
    sized = {} if size is None else {"height": size, "width": size}
    plan = {**to_dict(world.plan), "frames": frames, **sized}
    world = parse(type(world), {**to_dict(world), "videos": videos, "plan": plan})
    out.mkdir(parents=True, exist_ok=True)
    _open(out, world, frames, overwrite)
    listed = {entry.file: entry for entry in read_export(out)}
    done: list[Exported] = []
    for index in range(videos):
        path = out / f"{index:06d}.mp4"
        entry = listed.get(path.name)
        if entry is None or not path.exists() or file_hash(path) != entry.sha256:
            if path.exists() and not overwrite:
                raise ExistsError(path, "is not a video of this export, or was changed")
            entry = _write(world, index, path, frames)
        done.append(entry)
        report(index + 1, videos)
    _list_once(out)
    return done


def read_export(out: Path) -> list[Exported]:
    """Read the entries of ``videos.jsonl`` in an export's folder; of a video's several, the last.

    Without the file there are none.

    Raises:
        CheckpointError: the file cannot be read, or is not UTF-8.
    """
    entries: dict[str, Exported] = {}
    for line in _there(lambda path: [*read_json_lines(path)], out / VIDEOS):
        with suppress(ConfigError):  # a line that a killed export left
            entry: Exported = parse(Exported, line)
            entries[entry.file] = entry
    return list(entries.values())


def _open(out: Path, world: SyntheticSource, frames: int, overwrite: bool) -> None:
    """Prepare a folder: check that an earlier export has equal settings, or start a new one.

    Raises:
        ExistsError: without ``overwrite``, the folder holds files of another export.
    """
    free = ("videos", "video_frames")  # what no frame depends on, so that exports can grow
    shown = {key: value for key, value in world.identity().items() if key not in free}
    settings = {"world": shown, "frames": frames, "fps": world.fps}
    path, listing = out / SETTINGS, out / VIDEOS
    classes = "".join(f"{name}\n" for name in world.classes)
    if path.exists():
        there = _there(read_json, path)
        if there == settings:
            _list_once(out)
            write_text(out / CLASSES, classes)
            return
        if not overwrite:
            keys = ", ".join(sorted(differences(there, settings)))
            raise ExistsError(out, f"holds an export that differs in {keys}")
        for entry in read_export(out):
            (out / entry.file).unlink(missing_ok=True)
            (out / entry.file).with_suffix(".txt").unlink(missing_ok=True)
    elif not overwrite and (strangers := [n for n in (CLASSES, VIDEOS) if (out / n).exists()]):
        raise ExistsError(out, f"holds {strangers[0]} but no {SETTINGS}, so it is not an export")
    listing.unlink(missing_ok=True)
    write_text(path, json.dumps(settings, indent=2) + "\n")
    write_text(out / CLASSES, classes)


def _there(read: Callable[[Path], T], path: Path) -> T:
    """Result of ``read`` for a file of an earlier export; CheckpointError if it cannot be read."""
    try:
        return read(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except DocumentError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _write(world: SyntheticSource, index: int, path: Path, frames: int) -> Exported:
    """Render and write a video, list it in ``videos.jsonl``, then move it to its final path."""
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    stride, wording = world.plan.stride, world.video_seed(index)
    caption, label = world.caption(index, 0, wording), None
    try:
        with VideoWriter(partial, world.fps, overwrite=True) as writer:
            for start in range(0, frames, CHUNK_FRAMES):
                count = min(CHUNK_FRAMES, frames - start)
                clip = world.video(index, start * stride, count, wording)
                label = clip.label
                writer.write(clip.frames)
        entry = Exported(file=path.name, caption=caption, label=label, sha256=file_hash(partial))
        write_text(path.with_suffix(".txt"), caption + "\n")
        with (path.parent / VIDEOS).open("a", encoding="utf-8") as listing:
            listing.write(_line(entry))
            listing.flush()
            os.fsync(listing.fileno())
        put(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return entry


def _list_once(out: Path) -> None:
    """Rewrite ``videos.jsonl`` with one line per video that exists; killed exports leave more."""
    entries = [entry for entry in read_export(out) if (out / entry.file).exists()]
    write_text(out / VIDEOS, "".join(map(_line, entries)))


def _line(entry: Exported) -> str:
    return json.dumps(to_dict(entry)) + "\n"
