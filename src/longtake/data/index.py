"""The index of videos on disk: which can be used, and why the others cannot."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import av

from longtake.config import plural
from longtake.data.clips import ClipPlan
from longtake.data.file_facts import file_facts
from longtake.data.source import Rejected
from longtake.video import VideoError, VideoInfo, probe
from longtake.video.archive import contents, is_archive, is_folder
from longtake.video.pictures import SUFFIXES as PICTURES
from longtake.video.pictures import numbered, sequence
from longtake.video.read import as_rate
from longtake.video.timeline import packed_timeline

LOGGER = logging.getLogger("longtake")
PROBED = f"probe 6 {av.__version__}"  # raise the number when the same file is read otherwise
_NAMES = "mp4 m4v mov mkv webm avi gif mpg mpeg ts wmv flv 3gp mts m2ts ogv vob mxf y4m"
VIDEO_SUFFIXES = frozenset("." + name for name in _NAMES.split())
_OTHERS = """
    3g2 asf f4v rm rmvb swf dv ivf h264 hevc heic heif exr tga dng cr2 nef arw psd svg apng zip tgz
"""
UNREAD = frozenset("." + name for name in _OTHERS.split())
FRAMES_PER_PREVIEW = 4  # pictures beside videos are frames if there are this many to each


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file, or a folder of image files, that may be a video of a data set.

    Attributes:
        path: path of the file or folder.
        label: class of the video; None without classes.
        caption: caption of the video; None without one.
        fault: why it cannot be used; None if no reason is known yet.
    """

    path: Path
    label: int | None = None
    caption: str | None = None
    fault: str | None = None


class Found(NamedTuple):
    """Result of searching a data set for videos.

    Attributes:
        candidates: files and folders that may be videos, in the order of the source's videos.
        looked_for: what was searched for, for error messages.
        classes: name of each class; empty without classes.
        passed_over: files that look like videos but are not taken for one, with the reason.
    """

    candidates: Sequence[Candidate]
    looked_for: str
    classes: tuple[str, ...] = ()
    passed_over: Sequence[Rejected] = ()


class Item(NamedTuple):
    """A readable video of a source, or the part of one that belongs to the source.

    Attributes:
        video: length, size and frame rate of the part.
        label: class of the video; None without classes.
        caption: caption of the video; None without one.
        first_frame: index in the file of the part's first frame.
        timeline: times of all frames of the file, a result of ``packed_timeline``; None for folders
            of image files, and if the frame rate varies too much.
    """

    video: VideoInfo
    label: int | None
    caption: str | None
    first_frame: int = 0
    timeline: str | None = None


class Part(NamedTuple):
    """A part of a video: ``video.frames`` frames of a file from ``first_frame`` on."""

    first_frame: int
    video: VideoInfo


Split = Callable[[Sequence[VideoInfo]], Sequence[Part | None]]
"""Function that chooses a part of each video; None leaves a video out."""


class Index(NamedTuple):
    """The videos of a source in files, opened and checked.

    Attributes:
        items: readable videos, in the order in which they were found.
        rejected: videos that cannot be used, with the reason.
        classes: name of each class; empty without classes.
        passed_over: files that look like videos but are not taken for one, with the reason.
        fault: why ``items`` is empty; None if it is not.
    """

    items: Sequence[Item]
    rejected: tuple[Rejected, ...]
    classes: tuple[str, ...]
    passed_over: Sequence[Rejected]
    fault: str | None


def whole(videos: Sequence[VideoInfo]) -> Sequence[Part]:
    """A ``Split`` that selects all frames of every video."""
    return [Part(0, video) for video in videos]


def build_index(found: Found, plan: ClipPlan, frames_fps: float, split: Split = whole) -> Index:
    """Open every video that was found and keep those that can be used.

    A video that cannot be used is logged once, with the reason; of those that are too short, the
    first with the number of the others.

    Args:
        found: result of the search.
        plan: clips to cut; a video must have at least one clip's frames.
        frames_fps: frame rate of folders of image files, which do not store one.
        split: selects a part of each video.
    """
    paths = [candidate.path for candidate in found.candidates if candidate.fault is None]
    probed = iter(file_facts(PROBED, paths, _probe))
    opened = [_info(candidate, probed, as_rate(frames_fps)) for candidate in found.candidates]
    parts = iter(split([video for video, _ in opened if isinstance(video, VideoInfo)]))
    items, short, rejected, too_short = [], [], [], []
    for candidate, (video, line) in zip(found.candidates, opened, strict=True):
        part = next(parts) if isinstance(video, VideoInfo) else video
        if part is None:
            continue
        if isinstance(part, str):
            rejected.append(Rejected(str(candidate.path), part))
            _warn_once(*rejected[-1])
        elif part.video.frames < plan.span:
            fault = f"has {plural(part.video.frames, 'frame')}, a clip spans {plan.span}"
            rejected.append(Rejected(str(candidate.path), fault))
            too_short.append(rejected[-1])
            short.append(part.video)
        else:
            about = candidate.label, candidate.caption, part.first_frame
            items.append(Item(part.video, *about, line))
    _warn_of_first(too_short, "videos too short as well: {}")
    _warn_of_first(found.passed_over, "other files passed over as well: {}")
    fault = None if items else _none_usable(found, plan, short, rejected)
    return Index(items, tuple(rejected), found.classes, tuple(found.passed_over), fault)


class Searched(NamedTuple):
    """Result of searching a folder.

    Attributes:
        videos: video files and folders of image files, sorted.
        passed_over: files that look like videos but are not taken for one, with the reason.
    """

    videos: Sequence[Path]
    passed_over: Sequence[Rejected]


def existing(folder: Path) -> Path:
    """Return ``folder``, a folder or a tar file; a ValueError if it does not exist."""
    if not (folder.is_dir() or is_archive(folder)):
        raise ValueError(f"{folder}: no such folder")
    return folder


def videos_below(folder: Path) -> list[Path]:
    """Paths of videos (files, and folders of image files) at any depth below ``folder``, sorted.

    Hidden files are left out.
    """
    return [*search(folder).videos]


def search(folder: Path) -> Searched:
    """Search a folder for videos at any depth; follows links, but searches no folder twice.

    Tar files are searched like folders.
    """
    if is_archive(folder):
        return _in_archive(folder)
    videos: list[Path] = []
    passed_over: list[Rejected] = []
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        stat = Path(parent).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = [name for name in folders if _visible(name)]
        files = [Path(parent) / name for name in names if _visible(name)]
        found, others = _videos_of(Path(parent), sorted(files), bool(folders))
        parts = [Searched(found, others), *map(_in_archive, filter(is_archive, files))]
        for part in parts:
            videos.extend(part.videos)
            passed_over.extend(part.passed_over)
    return Searched(sorted(videos), sorted(passed_over))


def _in_archive(archive: Path) -> Searched:
    """Videos among the members of a tar file; its folders are searched like those on the disk."""
    try:
        inside = contents(archive)
    except OSError as error:
        return Searched([], [Rejected(str(archive), error.strerror or str(error))])
    videos: list[Path] = []
    passed_over = [Rejected(f"{archive}/{name}", why) for name, why in inside.refused.items()]
    outer = {parent for name in inside.folders for parent in PurePosixPath(name).parents}
    for name, files in inside.folders.items():
        if all(map(_visible, PurePosixPath(name).parts)):
            paths = sorted(archive / name / file for file in files if _visible(file))
            found = _videos_of(archive / name, paths, PurePosixPath(name) in outer)
            videos.extend(found.videos)
            passed_over.extend(found.passed_over)
    return Searched(sorted(videos), sorted(passed_over))


def _videos_of(folder: Path, files: Sequence[Path], outer: bool) -> Searched:
    """Videos among a folder's own files; the folder itself if they are frames.

    Frames have numbered names, unless nothing else is in the folder (``outer``: it has subfolders).
    Beside videos they are frames only if they are many, otherwise pictures of those videos.
    """
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    unread = [Rejected(str(p), "format is not read") for p in files if p.suffix.lower() in UNREAD]
    titles = {path.stem for path in videos}
    frames = sequence([path for path in pictures if path.stem not in titles])
    few = len(frames) < max(2, FRAMES_PER_PREVIEW * len(videos))
    if few or ((videos or outer) and not numbered(frames)):
        reason = "image beside videos or folders" if videos or outer else "single image"
        return Searched(videos, [*unread, *(Rejected(str(path), reason) for path in pictures)])
    strays = sorted({*pictures, *videos} - {*frames})
    return Searched(
        [folder], [*unread, *(Rejected(str(p), "not one of the frames") for p in strays)]
    )


def subfolders(folder: Path) -> list[Path]:
    """Subfolders that are not hidden, sorted; empty if ``folder`` does not exist."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in there if path.is_dir() and _visible(path.name))


def former_stamp(root: Path, items: Iterable[Item]) -> list[list[object]]:
    """JSON data by which version 0.1.0 identified videos of ``root`` in keys of latent caches."""
    rows = []
    for video, label, caption, *_ in items:
        name, path = video.path.relative_to(root).as_posix(), video.path
        stat = path.stat() if path.exists() else None  # 0.1.0 knew no members of tar files
        rows.append(
            [name, video.frames, stat and stat.st_size, stat and stat.st_mtime_ns, label, caption]
        )
    return rows


def _none_usable(
    found: Found, plan: ClipPlan, short: Sequence[VideoInfo], rejected: Sequence[Rejected]
) -> str:
    """Why no video can be used: what was looked for and found; ``short`` are too short ones."""
    if not rejected:
        return f"no videos were found; looked for {found.looked_for}"
    if short:
        longest = max(short, key=lambda video: video.frames)
        others = len(rejected) - len(short)
        also = f"; {plural(others, 'video')} cannot be used for other reasons" if others else ""
        return (
            f"plan.frames={plan.frames} at plan.stride={plan.stride} spans "
            f"{plural(plan.span, 'frame')}, more than every video has; the longest, "
            f"{longest.path}, has {longest.frames}{also}"
        )
    path, reason = rejected[0]
    return (
        f"none of {len(rejected)} videos can be used (looked for {found.looked_for}); "
        f"the first, {path}: {reason}"
    )


def _warn_of_first(rejected: Sequence[Rejected], others_text: str) -> None:
    """Log the first of files that are skipped for like reasons, and the number of the others.

    ``others_text`` says the number where it has ``{}``.
    """
    if rejected:
        path, reason = rejected[0]
        others = len(rejected) - 1
        _warn_once(path, f"{reason}; {others_text.format(others)}" if others else reason)


@cache
def _warn_once(path: str, reason: str) -> None:
    LOGGER.warning("%s: skipped: %s", path, reason)


def _visible(name: str) -> bool:
    return not name.startswith(".") and ".partial." not in f"{name}."


def _probe(path: Path) -> list[Any] | VideoError:
    """JSON list of a video's fields of ``VideoInfo`` and its packed timeline, or why it fails."""
    try:
        video = probe(path)
        line = None if is_folder(path) else packed_timeline(path)
    except VideoError as error:
        return error
    size, kind = (video.height, video.width), (video.variable_rate, video.rate_known)
    return [video.frames, *video.fps.as_integer_ratio(), *size, video.seconds, *kind, line]


def _info(
    candidate: Candidate, probed: Iterator[Any], frames_fps: Fraction
) -> tuple[VideoInfo | str, str | None]:
    """Length, size and rate of a candidate, or why it cannot be used; and its packed timeline.

    The timeline is None if there is none. ``probed`` yields results of ``_probe``; ``frames_fps``
    is the rate of folders of image files.
    """
    if candidate.fault is not None:
        return candidate.fault, None
    found = next(probed)
    if isinstance(found, VideoError):
        return str(found).removeprefix(f"{candidate.path}: "), None
    frames, rate, per, height, width, seconds, variable, known, line = found
    fps = Fraction(rate, per) if known else frames_fps
    video = VideoInfo(
        path=candidate.path,
        frames=frames,
        fps=fps,
        height=height,
        width=width,
        seconds=seconds if known else float(frames / fps),
        variable_rate=variable,
        rate_known=known,
    )
    return video, line
