"""Footage prepared for training: small files, one per scene, whose clips are read fast."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from longtake.checkpoint import ExistsError, file_hash, read_config, write_text
from longtake.config import Config, ConfigError, differences, parse, plural, to_dict
from longtake.data.captions import CaptionBeside
from longtake.data.fingerprint import fingerprints
from longtake.data.index import existing, videos_below
from longtake.data.scene_files import ConcealedError, PrepareSettings, Scene, SceneFiles, decoded
from longtake.documents import read_json_lines
from longtake.files import locked, remove
from longtake.progress import ProgressCallback, no_progress
from longtake.video import VideoError
from longtake.video.archive import is_archive

SETTINGS, MANIFEST, DONE, LOCK = "prepared.json", "manifest.jsonl", ".prepared.jsonl", ".lock"
BEGUN = {f".{SETTINGS}.partial", LOCK}
"""Names of files that ``prepare`` leaves if it is killed before it has written its settings."""

MAX_MANIFEST_BYTES = 1 << 30
CAPTION = ".txt"


class PreparedVideo(Config):
    """What ``prepare`` did with one source video: a line of ``manifest.jsonl``.

    Attributes:
        source: path of the source video, relative to the folder of footage.
        fingerprint: hash of the source video; empty if it cannot be read.
        frames: number of frames that were read.
        dropped: number of frames in scenes that were too short.
        unread: number of frames that were left out because the deadline had passed.
        fault: why it was not read, or not to its end; or that FFmpeg concealed damage, or that its
            caption cannot be read. Empty if none of these is so.
        scenes: the files that were written.
    """

    source: str
    fingerprint: str
    frames: Annotated[int, Ge(0)] = 0
    dropped: Annotated[int, Ge(0)] = 0
    unread: Annotated[int, Ge(0)] = 0
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
        deadline: time, as ``time.time()``, after which no more frames are read; None: no limit.
        overwrite: replace files made with other settings, and files of other origin.
        report: called with the number of videos that are done and their total.

    Returns:
        an entry for each source video.

    Raises:
        ExistsError: the folder holds other files, or files made with other settings.
        ValueError: there are no videos.
        InUseError: another process writes to the folder.
    """
    one = footage.is_file() and not is_archive(footage)
    paths = [footage] if one else videos_below(existing(footage))
    if not paths:
        raise ValueError(
            f"{footage}: no videos were found; expected video files or folders of image files"
        )
    root = footage.parent if footage.is_file() else footage
    names = [path.relative_to(root).as_posix() for path in paths]
    work = partial(prepare_video, root=root, out=out, settings=settings, deadline=deadline)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, out / LOCK):
        known = _opened(out, settings, overwrite)
        kept = [name for name in names if name in known and _kept(root, out, known[name])]
        found, todo = {name: known[name] for name in kept}, [n for n in names if n not in kept]
        for name in known.keys() & todo:
            _remove_scenes(out, known[name])
        report(len(found), len(names))
        for video in _results(work, todo, processes or os.cpu_count() or 1):
            found[video.source] = video
            with (out / DONE).open("a", encoding="utf-8") as file:
                file.write(_line(video))
            report(len(found), len(names))
        videos = [found[name] for name in names]
        write_text(out / MANIFEST, "".join(map(_line, videos)))
        (out / DONE).unlink(missing_ok=True)
    return videos


def read_manifest(out: Path) -> list[PreparedVideo]:
    """Read ``manifest.jsonl`` in a folder that ``prepare`` wrote; empty if it is missing.

    Raises:
        OSError: the file cannot be read.
        DocumentError: the file is not UTF-8 text.
    """
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
    path, fault, unread = root / name, "", 0
    try:
        (fingerprint,) = fingerprints([path])
    except VideoError as error:
        return PreparedVideo(source=name, fingerprint="", fault=_reason(error, path))
    scenes = SceneFiles(out, name, settings)
    try:
        for chunk, fps, frames in decoded(path, settings):
            if deadline is not None and time.time() > deadline:
                fault = f"the time limit was reached after {scenes.read} of {frames} frames"
                unread = max(frames - scenes.read, 0)
                break
            scenes.add(chunk, fps)
    except ConcealedError as error:
        fault = f"damaged ({_reason(error, path)})"
        if settings.damaged == "refuse":
            scenes.discard()
    except VideoError as error:
        fault = f"after {plural(scenes.read, 'frame')}: {_reason(error, path)}"
    scenes.close()
    caption = None
    try:
        caption = _caption_of(root, path)
    except ValueError as error:
        fault = fault or f"its caption cannot be read: {error}"
    for scene in scenes.written:
        if caption is not None:
            write_text(_caption(out, scene), caption)
    return PreparedVideo(
        source=name,
        fingerprint=fingerprint,
        frames=scenes.read,
        dropped=scenes.dropped,
        unread=unread,
        fault=fault,
        scenes=tuple(scenes.written),
    )


def _results(
    work: Callable[[str], PreparedVideo], names: Sequence[str], processes: int
) -> Iterator[PreparedVideo]:
    """Yield ``work(name)`` of all names as they come, computed here or by several processes."""
    if processes == 1 or len(names) < 2:
        yield from map(work, names)
        return
    context = get_context("spawn")  # a fork would copy locks of threads that it does not have
    size = min(processes, len(names))
    with ProcessPoolExecutor(size, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            for future in as_completed([pool.submit(work, name) for name in names]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """End this process when the one that started it is killed, instead of waiting for ever."""

    def end() -> None:
        parent = parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _opened(out: Path, settings: PrepareSettings, overwrite: bool) -> dict[str, PreparedVideo]:
    """Prepare a folder for writing; return what an earlier call with equal settings did, by source.

    Raises:
        ExistsError: without ``overwrite``, the folder holds other files.
    """
    path, given = out / SETTINGS, to_dict(settings)
    if path.exists():
        there = to_dict(read_config(path, PrepareSettings))
        if changed := differences(there, given):
            if not overwrite:
                keys = ", ".join(f"{key}={was}" for key, (was, _) in sorted(changed.items()))
                raise ExistsError(out, f"holds footage that was prepared with {keys}")
            _remove(out)
    elif {path.name for path in out.iterdir()} - BEGUN and not overwrite:
        raise ExistsError(out, f"holds other files, and no {SETTINGS}")
    write_text(path, json.dumps(given, indent=2) + "\n")
    return {video.source: video for name in (MANIFEST, DONE) for video in _lines(out / name)}


def _remove(out: Path) -> None:
    """Remove ``manifest.jsonl`` and ``.prepared.jsonl`` of a folder, and the files they list."""
    for name in (MANIFEST, DONE):
        for video in _lines(out / name):
            _remove_scenes(out, video)
        (out / name).unlink(missing_ok=True)


def _remove_scenes(out: Path, video: PreparedVideo) -> None:
    for scene in video.scenes:
        remove(out / scene.file)
        remove(_caption(out, scene))


def _caption(out: Path, scene: Scene) -> Path:
    return (out / scene.file).with_suffix(CAPTION)


def _caption_of(root: Path, video: Path) -> str | None:
    """Text for the caption file beside each scene of a video; None if the video has no caption."""
    found = CaptionBeside().read(root, [video])
    return f"{found[video]}\n" if video in found else None


def _text(path: Path) -> str | None:
    return path.read_text(errors="replace", encoding="utf-8") if path.is_file() else None


def _kept(root: Path, out: Path, video: PreparedVideo) -> bool:
    """Whether a source video and the files that were made of it have not changed since."""
    try:
        caption = _caption_of(root, root / video.source)
    except ValueError:
        caption = None
    for scene in video.scenes:
        path = out / scene.file
        if not path.is_file() or file_hash(path) != scene.sha256:
            return False
        if _text(_caption(out, scene)) != caption:
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
