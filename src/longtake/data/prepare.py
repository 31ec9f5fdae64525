"""Footage prepared for training: small files, one per scene, whose clips are read fast."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from jaxtyping import UInt8
from pydantic import AfterValidator

from longtake.checkpoint import ExistsError, file_hash, read_config, write_text
from longtake.config import Config, ConfigError, differences, parse, to_dict
from longtake.data.captions import CaptionBeside
from longtake.data.clips import fit_frames
from longtake.data.fingerprint import fingerprints
from longtake.data.index import existing, videos_below
from longtake.data.scenes import CutFinder
from longtake.documents import read_json_lines
from longtake.progress import ProgressCallback, no_progress
from longtake.video import VideoError, VideoInfo, VideoWriter, probe, stream_video
from longtake.video.archive import is_archive

SETTINGS, MANIFEST, DONE = "prepared.json", "manifest.jsonl", ".prepared.jsonl"
KEY_FRAMES = 16
MAX_MANIFEST_BYTES = 1 << 30
CAPTION = ".txt"


class PrepareSettings(Config):
    """How ``prepare`` writes video files.

    Attributes:
        size: shorter side of the frames in pixels; smaller videos are not enlarged.
        format: ``mp4``: H.264 with a key frame every 16 frames; ``mkv``: lossless FFV1 in which
            every frame is a key frame.
        cuts: write a new file for each scene.
        shortest: least number of frames of a scene; shorter scenes are dropped.
    """

    size: Annotated[int, Ge(2)] = 256
    format: Literal["mp4", "mkv"] = "mp4"
    cuts: bool = True
    shortest: Annotated[int, Ge(1)] = 16


def _below(file: str) -> str:
    """A path that does not lead out of the folder that it is relative to, or a ValueError."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("leads out of the folder")
    return file


class Scene(Config):
    """One file that ``prepare`` wrote: a scene of a source video.

    Attributes:
        file: name of the file in the output folder.
        first_frame: index of the scene's first frame in the source video.
        frames: number of frames of the scene.
        sha256: hash of the file.
    """

    file: Annotated[str, AfterValidator(_below)]
    first_frame: int
    frames: int
    sha256: str


class PreparedVideo(Config):
    """What ``prepare`` did with one source video: a line of ``manifest.jsonl``.

    Attributes:
        source: path of the source video, relative to the folder of footage.
        fingerprint: hash of the source video; empty if it cannot be read.
        frames: number of frames that were read.
        dropped: number of frames in scenes that were too short.
        fault: why it was not read, or not to its end; empty if it was read completely.
        scenes: the files that were written.
    """

    source: str
    fingerprint: str
    frames: int = 0
    dropped: int = 0
    fault: str = ""
    scenes: tuple[Scene, ...] = ()


def prepare(
    footage: Path,
    out: Path,
    settings: PrepareSettings,
    *,
    processes: int | None = None,
    deadline: float | None = None,
    overwrite: bool = False,
    report: ProgressCallback = no_progress,
) -> list[PreparedVideo]:
    """Convert videos to small files, one per scene, and list them in ``manifest.jsonl``.

    Files that an earlier call wrote are kept if their source video has not changed and their hashes
    are right: an interrupted call continues, and footage can be added. A damaged video is used up
    to its damage.

    Args:
        footage: a folder of videos, or one video.
        out: folder to write to.
        settings: size, format and whether to split at cuts.
        processes: number of processes, each of which converts one video at a time; None: one per
            core; 1: this process does it.
        deadline: time, as ``time.time()``, after which no more frames are read; None for no limit.
        overwrite: replace files made with other settings, and files of other origin.
        report: called with the number of videos that are done and their total.

    Returns:
        an entry for each source video.

    Raises:
        ExistsError: the folder holds other files, or files made with other settings.
        ValueError: there are no videos.
    """
    one = footage.is_file() and not is_archive(footage)
    paths = [footage] if one else videos_below(existing(footage))
    if not paths:
        raise ValueError(f"{footage}: no videos were found")
    root = footage.parent if footage.is_file() else footage
    known = _opened(out, settings, overwrite)
    names = [path.relative_to(root).as_posix() for path in paths]
    found = {name: known[name] for name in names if name in known and _kept(root, out, known[name])}
    todo = [name for name in names if name not in found]
    report(len(found), len(names))
    work = partial(prepare_video, root=root, out=out, settings=settings, deadline=deadline)
    for video in _results(work, todo, processes or os.cpu_count() or 1):
        found[video.source] = video
        with (out / DONE).open("a") as file:
            file.write(_line(video))
        report(len(found), len(names))
    videos = [found[name] for name in names]
    write_text(out / MANIFEST, "".join(map(_line, videos)))
    (out / DONE).unlink(missing_ok=True)
    return videos


def read_manifest(out: Path) -> list[PreparedVideo]:
    """Entries of ``manifest.jsonl`` in a folder; empty if it has none."""
    return _lines(out / MANIFEST)


def prepare_video(
    name: str, root: Path, out: Path, settings: PrepareSettings, deadline: float | None = None
) -> PreparedVideo:
    """Convert one video: write a file per scene, and copy the video's caption beside each.

    A damaged video raises nothing; the result's ``fault`` describes the damage.

    Args:
        name: path of the video, relative to ``root``.
        root: folder of footage.
        out: folder to write to.
        settings: size, format and whether to split at cuts.
        deadline: time, as ``time.time()``, after which no more frames are read; None for no limit.
    """
    path, fault, read = root / name, "", 0
    try:
        (fingerprint,) = fingerprints([path])
        info = probe(path)
    except VideoError as error:
        return PreparedVideo(source=name, fingerprint="", fault=_reason(error, path))
    scenes = _Scenes(out, name, info, settings)
    size = _size(info, settings.size)
    try:
        for chunk in stream_video(path):
            if deadline is not None and time.time() > deadline:
                fault = f"the time was over after {read} of {info.frames} frames"
                break
            scenes.add(fit_frames(chunk, *size))
            read += len(chunk)
    except VideoError as error:
        fault = f"after {read} frames: {_reason(error, path)}"
    scenes.close()
    try:
        for caption in CaptionBeside().read(root, [path]).values():
            for scene in scenes.written:
                write_text((out / scene.file).with_suffix(CAPTION), f"{caption}\n")
    except ValueError as error:
        fault = fault or f"its caption cannot be read: {error}"
    return PreparedVideo(
        source=name,
        fingerprint=fingerprint,
        frames=read,
        dropped=scenes.dropped,
        fault=fault,
        scenes=tuple(scenes.written),
    )


class _Scenes:
    """Writes the scenes of a video as its frames come."""

    def __init__(self, out: Path, name: str, info: VideoInfo, settings: PrepareSettings) -> None:
        self._out, self._name, self._info, self._settings = out, name, info, settings
        self._finder = CutFinder() if settings.cuts else None
        self._writer: VideoWriter | None = None
        self._begun: list[np.ndarray] = []  # first frames of a scene that may be too short
        self._first = self._frames = 0
        self.written: list[Scene] = []
        self.dropped = 0

    def add(self, chunk: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Add frames, the last of which may be written later."""
        for frame in chunk:
            if self._finder is None:
                self._append(frame)
                continue
            for ready, cut in self._finder.push(frame):
                self._append(ready, cut)

    def close(self) -> None:
        """Write what is left."""
        for frame, cut in self._finder.flush() if self._finder else ():
            self._append(frame, cut)
        self._end_scene()

    def _append(self, frame: np.ndarray, cut: bool = False) -> None:
        if cut:
            self._end_scene()
        self._frames += 1
        self._begun.append(frame)
        if self._writer is None and len(self._begun) >= self._settings.shortest:
            path = self._out / self._file()
            path.parent.mkdir(parents=True, exist_ok=True)
            fps = self._info.fps
            self._writer = VideoWriter(path, fps, overwrite=True, key_frames=KEY_FRAMES)
        if self._writer is not None:
            self._writer.write(np.stack(self._begun))
            self._begun.clear()

    def _end_scene(self) -> None:
        if self._writer is None:
            self.dropped += self._frames
        else:
            self._writer.close()
            file = self._file()
            sha256 = file_hash(self._out / file)
            scene = Scene(file=file, first_frame=self._first, frames=self._frames, sha256=sha256)
            self.written.append(scene)
        self._writer, self._first = None, self._first + self._frames
        self._frames = 0
        self._begun.clear()

    def _file(self) -> str:
        return f"{self._name}.{len(self.written):04d}.{self._settings.format}"


def _size(info: VideoInfo, shorter: int) -> tuple[int, int]:
    """Even height and width with the aspect ratio of a video, never larger than it is."""
    scale = min(1.0, shorter / min(info.height, info.width))
    return tuple(max(2, 2 * round(side * scale / 2)) for side in (info.height, info.width))  # pyright: ignore[reportReturnType]


def _results(
    work: Callable[[str], PreparedVideo], names: Sequence[str], processes: int
) -> Iterator[PreparedVideo]:
    """Results of all names as they come, from this process or from several others."""
    if processes == 1 or len(names) < 2:
        yield from map(work, names)
        return
    context = get_context("spawn")  # a fork would copy locks of threads that it does not have
    with ProcessPoolExecutor(min(processes, len(names)), mp_context=context) as pool:
        try:
            for future in as_completed([pool.submit(work, name) for name in names]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _opened(out: Path, settings: PrepareSettings, overwrite: bool) -> dict[str, PreparedVideo]:
    """What an earlier call with these settings did, by source; the folder is ready to write to."""
    path, given = out / SETTINGS, to_dict(settings)
    if path.exists():
        there = to_dict(read_config(path, PrepareSettings))
        if changed := differences(there, given):
            if not overwrite:
                keys = ", ".join(f"{key}={was}" for key, (was, _) in sorted(changed.items()))
                raise ExistsError(out, f"holds footage that was prepared with {keys}")
            _remove(out)
    elif out.exists() and any(out.iterdir()) and not overwrite:
        raise ExistsError(out, f"holds other files, and no {SETTINGS}")
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(given, indent=2) + "\n")
    return {video.source: video for name in (MANIFEST, DONE) for video in _lines(out / name)}


def _remove(out: Path) -> None:
    """Remove the files that a folder's manifest lists, and the manifest."""
    for name in (MANIFEST, DONE):
        for video in _lines(out / name):
            for scene in video.scenes:
                (out / scene.file).unlink(missing_ok=True)
                (out / scene.file).with_suffix(CAPTION).unlink(missing_ok=True)
        (out / name).unlink(missing_ok=True)


def _kept(root: Path, out: Path, video: PreparedVideo) -> bool:
    """Whether a source and the files made of it are as they were."""
    files = [(out / scene.file, scene.sha256) for scene in video.scenes]
    if not all(path.is_file() and file_hash(path) == sha256 for path, sha256 in files):
        return False
    try:
        return fingerprints([root / video.source]) == [video.fingerprint]
    except VideoError:
        return video.fingerprint == ""


def _lines(path: Path) -> list[PreparedVideo]:
    found: list[PreparedVideo] = []
    for line in read_json_lines(path, MAX_MANIFEST_BYTES):
        with suppress(ConfigError):
            found.append(parse(PreparedVideo, line))
    return found


def _line(video: PreparedVideo) -> str:
    return json.dumps(to_dict(video)) + "\n"


def _reason(error: VideoError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
