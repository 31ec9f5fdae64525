"""Writes a video of footage as one file per scene, and describes these files."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from jaxtyping import UInt8
from pydantic import AfterValidator, Field, model_validator

from longtake.checkpoint import file_hash
from longtake.config import Config
from longtake.data.clips import fit_frames
from longtake.data.scenes import CutFinder
from longtake.files import remove
from longtake.video import VideoError, VideoWriter, probe, stream_video
from longtake.video.sandbox import Sandbox

NEEDS_SANDBOX = "damaged=keep needs sandbox=True: concealed damage is noticed only there"
KEY_FRAMES = 16


class PrepareSettings(Config):
    """How ``prepare`` writes video files.

    Attributes:
        size: shorter side of the frames in pixels; smaller videos are not enlarged.
        format: ``mp4``: H.264 with a key frame every 16 frames; ``mkv``: lossless FFV1 in which
            every frame is a key frame.
        cuts: write a new file for each scene.
        shortest: least number of frames of a scene; shorter scenes are dropped.
        sandbox: decode each video in a child process with limits, which also notices damage that
            FFmpeg conceals; folders of image files are not read then.
        damaged: with ``sandbox``, what is done with videos whose damage FFmpeg conceals:
            ``refuse``: nothing of them is written; ``keep``: they are written and counted as
            damaged.
    """

    size: Annotated[int, Ge(2)] = 256
    format: Literal["mp4", "mkv"] = "mp4"
    cuts: bool = True
    shortest: Annotated[int, Ge(1)] = 16
    sandbox: bool = False
    damaged: Literal["refuse", "keep"] = "refuse"

    @model_validator(mode="after")
    def _damage_is_seen(self) -> "PrepareSettings":
        if self.damaged == "keep" and not self.sandbox:
            raise ValueError(NEEDS_SANDBOX)
        return self


def _below(file: str) -> str:
    """Return the path of a file below a folder; a ValueError if it is absolute or leads out."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in file:
        raise ValueError(f"{file!r} names no file in the folder; expected a relative path")
    return file


class Scene(Config):
    """One file that ``prepare`` wrote: a scene of a source video.

    Attributes:
        file: name of the file in the output folder.
        first_frame: index of the scene's first frame in the source video.
        frames: number of frames of the scene.
        sha256: SHA-256 of the file, in hexadecimal digits.
    """

    file: Annotated[str, AfterValidator(_below)]
    first_frame: Annotated[int, Ge(0)]
    frames: Annotated[int, Ge(1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ConcealedError(VideoError):
    """FFmpeg decoded a video to its end, but concealed damage; the message is FFmpeg's."""


def decoded(
    path: Path, settings: PrepareSettings
) -> Iterator[tuple[UInt8[np.ndarray, "t h w 3"], Fraction, int]]:
    """Yield chunks of a video's frames, each with frame rate and length in frames of the video.

    ``settings`` say whether the video is decoded in a sandbox.

    Raises:
        VideoError: the video cannot be decoded, or not to its end.
        ConcealedError: at the end, if FFmpeg concealed damage, which only a sandbox notices.
    """
    if not settings.sandbox:
        info = probe(path)
        yield from ((chunk, info.fps, info.frames) for chunk in stream_video(path))
        return
    with Sandbox() as sandbox:
        for chunk in sandbox.frames(path):
            yield chunk, sandbox.fps, sandbox.stated_frames
        if sandbox.damage:
            raise ConcealedError(sandbox.damage[0])


class SceneFiles:
    """Finds the scenes of a video and writes each to a file: ``NAME.0000.mp4`` and so on.

    Frames are passed to ``add``, and ``close`` ends the last scene. A scene begins where
    ``CutFinder`` finds a cut; without ``settings.cuts`` there is one scene.

    Args:
        out: folder to write to.
        name: NAME, a path below ``out``; its folders are made.
        settings: size and format of the files, and the least number of frames of a scene.

    Attributes:
        read: number of frames that ``add`` was given so far.
        written: files that were written so far.
        dropped: number of frames in scenes of fewer than ``settings.shortest`` frames.
    """

    def __init__(self, out: Path, name: str, settings: PrepareSettings) -> None:
        self._out, self._name, self._settings = out, name, settings
        self._finder = CutFinder() if settings.cuts else None
        self._writer: VideoWriter | None = None
        self._begun: list[np.ndarray] = []  # first frames of a scene that may be too short
        self._first = self._frames = self.read = 0
        self._fps = Fraction(1)
        self.written: list[Scene] = []
        self.dropped = 0

    def add(self, chunk: UInt8[np.ndarray, "t h w 3"], fps: Fraction) -> None:
        """Add the next frames of the video, at ``fps`` frames per second.

        The last of them may be written by a later call, or by ``close``. Existing files are
        replaced.

        Raises:
            VideoError: a file cannot be written.
        """
        self._fps = fps
        self.read += len(chunk)
        height, width = chunk.shape[1:3]
        for frame in fit_frames(chunk, *_size(height, width, self._settings.size)):
            if self._finder is None:
                self._append(frame)
                continue
            for ready, cut in self._finder.push(frame):
                self._append(ready, cut)

    def discard(self) -> None:
        """Remove all files of this video; all its frames count as dropped."""
        self.close()
        for scene in self.written:
            remove(self._out / scene.file)
        self.written, self.dropped = [], self.read

    def close(self) -> None:
        """Write the frames of the video that are not written yet, as its last scene.

        Raises:
            VideoError: a file cannot be written.
        """
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
            self._writer = VideoWriter(path, self._fps, overwrite=True, key_frames=KEY_FRAMES)
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


def _size(height: int, width: int, shorter: int) -> tuple[int, int]:
    """Even height and width of a video resized to a shorter side; it is never enlarged."""
    scale = min(1.0, shorter / min(height, width))
    return tuple(max(2, 2 * round(side * scale / 2)) for side in (height, width))  # pyright: ignore[reportReturnType]
