"""The index of videos on disk: which can be used, and why the others cannot."""

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from longtake.data.clips import ClipPlan
from longtake.data.source import Rejected
from longtake.video import VideoError, VideoInfo, probe
from longtake.video.pictures import SUFFIXES as PICTURES

LOGGER = logging.getLogger("longtake")
THREADS = 8
_NAMES = "mp4 m4v mov mkv webm avi gif mpg mpeg ts wmv flv"
VIDEO_SUFFIXES = frozenset("." + name for name in _NAMES.split())


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file, or a folder of frames; ``fault`` says why it cannot be used, if that is known."""

    path: Path
    label: int | None = None
    caption: str | None = None
    fault: str | None = None


class Found(NamedTuple):
    """Videos of a data set in order; what was looked for, for messages; names of the labels."""

    candidates: Sequence[Candidate]
    looked_for: str
    classes: tuple[str, ...] = ()


class Item(NamedTuple):
    """A video that can be used."""

    video: VideoInfo
    label: int | None
    caption: str | None


class Index(NamedTuple):
    """Videos of a source in the order of the search; ``fault`` says why none can be used."""

    items: Sequence[Item]
    rejected: tuple[Rejected, ...]
    classes: tuple[str, ...]
    fault: str | None


def build_index(found: Found, plan: ClipPlan, frames_fps: float) -> Index:
    """Open every video; each that cannot be used is logged once, with its reason."""
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        probed = list(pool.map(lambda video: _probe(video, frames_fps), found.candidates))
    items, short, rejected = [], [], []
    for candidate, video in zip(found.candidates, probed, strict=True):
        if isinstance(video, str):
            fault = video
        elif video.frames < plan.span:
            short.append(video)
            fault = f"has {video.frames} frames, a clip spans {plan.span}"
        else:
            items.append(Item(video, candidate.label, candidate.caption))
            continue
        rejected.append(Rejected(str(candidate.path), fault))
        _warn_once(*rejected[-1])
    fault = None if items else _none_usable(found, plan, short, rejected)
    return Index(items, tuple(rejected), found.classes, fault)


def videos_below(folder: Path) -> list[Path]:
    """Video files and folders of frames at any depth, sorted, without hidden and partial ones."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if _visible(name)]
        files = [Path(parent) / name for name in names if _visible(name)]
        videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        found.extend(videos)
        if not videos and any(path.suffix.lower() in PICTURES for path in files):
            found.append(Path(parent))
    return sorted(found)


def subfolders(folder: Path) -> list[Path]:
    """Visible subfolders, sorted; empty if the folder does not exist."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in there if path.is_dir() and _visible(path.name))


def stamp(root: Path, items: Iterable[Item]) -> list[list[object]]:
    """Plain data that identifies videos: name, length, size, time of change, label and caption."""
    rows = []
    for video, label, caption in items:
        name, stat = video.path.relative_to(root).as_posix(), video.path.stat()
        rows.append([name, video.frames, stat.st_size, stat.st_mtime_ns, label, caption])
    return rows


def _none_usable(
    found: Found, plan: ClipPlan, short: Sequence[VideoInfo], rejected: Sequence[Rejected]
) -> str:
    """What was looked for and found where no video can be used."""
    if not rejected:
        return f"no videos were found; looked for {found.looked_for}"
    if short:
        longest = max(short, key=lambda video: video.frames)
        others = len(rejected) - len(short)
        also = f"; {others} videos cannot be used for other reasons" if others else ""
        return (
            f"plan.frames={plan.frames} at plan.stride={plan.stride} spans {plan.span} frames, "
            f"more than every video has; the longest, {longest.path}, has {longest.frames}{also}"
        )
    path, reason = rejected[0]
    return (
        f"none of {len(rejected)} videos can be used (looked for {found.looked_for}); "
        f"the first, {path}: {reason}"
    )


@cache
def _warn_once(path: str, reason: str) -> None:
    LOGGER.warning("%s: skipped: %s", path, reason)


def _visible(name: str) -> bool:
    return not name.startswith(".") and ".partial." not in f"{name}."


def _probe(candidate: Candidate, frames_fps: float) -> VideoInfo | str:
    """Length, size and rate of a video, or why it cannot be used."""
    if candidate.fault is not None:
        return candidate.fault
    try:
        return probe(candidate.path, frames_fps)
    except VideoError as error:
        return str(error).removeprefix(f"{candidate.path}: ")
