"""The index of videos on disk: which can be used, and why the others cannot."""

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
    """A video that may be used.

    Attributes:
        path: a file, or a folder of frames.
        label: index into the source's classes.
        caption: sentence that describes the video.
        fault: why the video cannot be used, if known before it is opened.
    """

    path: Path
    label: int | None = None
    caption: str | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """A video that can be used."""

    video: VideoInfo
    label: int | None
    caption: str | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Contents of a data set's folder.

    Attributes:
        candidates: videos, in order.
        classes: names of the labels.
    """

    candidates: Sequence[Candidate]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Index:
    """The videos of a source, in the order in which they were found.

    Attributes:
        items: videos that can be used.
        short: videos with fewer frames than a clip spans.
        rejected: videos that cannot be used, including the short ones.
        classes: names of the labels.
    """

    items: tuple[Item, ...]
    short: tuple[VideoInfo, ...]
    rejected: tuple[Rejected, ...]
    classes: tuple[str, ...]

    def check(self, looked_for: str, plan: ClipPlan) -> None:
        """Check that there is a usable video.

        Args:
            looked_for: description of the videos and of their place.
            plan: how clips are cut.

        Raises:
            ValueError: there is none; the message says what was looked for and found.
        """
        if self.items:
            return
        if not self.rejected:
            raise ValueError(f"no videos were found; looked for {looked_for}")
        path, reason = self.rejected[0]
        if self.short:
            longest = max(self.short, key=lambda video: video.frames)
            others = len(self.rejected) - len(self.short)
            also = f"; {others} videos cannot be used for other reasons" if others else ""
            raise ValueError(
                f"plan.frames={plan.frames} at plan.stride={plan.stride} spans {plan.span} frames, "
                f"more than every video has; the longest, {longest.path}, has {longest.frames}"
                f"{also}"
            )
        raise ValueError(
            f"none of {len(self.rejected)} videos can be used (looked for {looked_for}); "
            f"the first, {path}: {reason}"
        )


def build_index(found: Found, plan: ClipPlan, frames_fps: float) -> Index:
    """Open every video; each that cannot be used is logged once, with its reason.

    Args:
        found: the videos.
        plan: how clips are cut.
        frames_fps: frame rate of folders of frames.
    """
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        probed = list(pool.map(lambda video: _probe(video, frames_fps), found.candidates))
    items, short, rejected = [], [], []
    for candidate, video in zip(found.candidates, probed, strict=True):
        path = str(candidate.path)
        if isinstance(video, str):
            rejected.append(Rejected(path, video))
        elif video.frames < plan.span:
            short.append(video)
            reason = f"has {video.frames} frames, a clip spans {plan.span}"
            rejected.append(Rejected(path, reason))
        else:
            items.append(Item(video=video, label=candidate.label, caption=candidate.caption))
    for path, reason in rejected:
        _warn_once(path, reason)
    return Index(
        items=tuple(items), short=tuple(short), rejected=tuple(rejected), classes=found.classes
    )


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
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and _visible(path.name))


def stamp(root: Path, items: Iterable[Item]) -> list[list[object]]:
    """Plain data that identifies videos: name, length, size, time of change, label and caption."""
    rows = []
    for item in items:
        path, stat = item.video.path, item.video.path.stat()
        name = path.relative_to(root).as_posix()
        rows.append(
            [name, item.video.frames, stat.st_size, stat.st_mtime_ns, item.label, item.caption]
        )
    return rows


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
