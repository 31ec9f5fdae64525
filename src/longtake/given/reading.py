"""Reads an image or a video as frames of the size and rate that a model makes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from longtake.config import plural
from longtake.data.clips import fit_frames
from longtake.video import VideoError, frame_seconds, pictures, probe, stream_video

SAME_RATE = 1e-3
"""Relative difference under which two frame rates are taken as equal: 24 and 23.976 are not."""


@dataclass(frozen=True, kw_only=True)
class GivenFrames:
    """Frames that the user gives, converted for a model.

    Attributes:
        frames: pixels at the model's frame size.
        fps: frames per second: the model's or, if all frames are kept, the file's own.
        note: one line of text that says what was read and how it was changed.
    """

    frames: UInt8[np.ndarray, "t h w 3"]
    fps: float
    note: str

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels."""
        return hashlib.sha256(str(self.frames.shape).encode() + self.frames.tobytes()).hexdigest()


def read_given_image(path: Path | str, size: tuple[int, int], fps: float) -> GivenFrames:
    """Read an image file as one frame, resized to cover ``size`` and cropped to it.

    ``size`` is (height, width); ``fps`` is the frame rate that the result states.

    Raises:
        VideoError: the path is not an image.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() not in pictures.SUFFIXES:
        known = ", ".join(sorted(pictures.SUFFIXES))
        raise VideoError(f"{path}: not an image; expected a file that ends in {known}")
    (frame,) = pictures.frames([path])
    note = f"{path}: {_sizes((frame.shape[0], frame.shape[1]), size)}"
    return GivenFrames(frames=_fit(frame[None], size), fps=fps, note=note)


def read_given_video(path: Path | str, size: tuple[int, int], fps: float | None) -> GivenFrames:
    """Read a video file, or a folder of image files, at a frame size and rate.

    If the video has another frame rate, times at the new rate are counted back from the last frame,
    and each gets the video's nearest frame. A video of the same size and rate is unchanged. A
    folder of image files is assumed to have the rate ``fps``, or 25 if that is None.

    Args:
        path: the video.
        size: height and width; frames are resized to cover it and cropped to it.
        fps: frames per second; None: all frames, at the video's own rate.

    Raises:
        VideoError: the path is not a video, or it is broken.
    """
    path = Path(path)
    info = probe(path)
    own = float(info.fps)
    target = own if fps is None else fps
    same = not info.rate_known or (not info.variable_rate and abs(own / target - 1) < SAME_RATE)
    if fps is None or same:
        numbers = np.arange(info.frames)
    else:
        seconds = frame_seconds(path) if info.variable_rate else np.arange(info.frames) / own
        steps = np.arange(int(seconds[-1] * target + 1e-6) + 1)[::-1]
        numbers = _nearest(seconds, seconds[-1] - steps / target)
    frames = np.concatenate(list(_taken(path, numbers, size)))
    if info.rate_known:
        rates = f"{own:g} fps" + ("" if own == target else f" -> {target:g} fps")
    else:
        rates = f"no frame rate, taken as {target:g} fps"
    sizes = _sizes((info.height, info.width), size)
    note = f"{path}: {sizes}, {rates}, {plural(info.frames, 'frame')} -> {len(frames)}"
    return GivenFrames(frames=frames, fps=target, note=note)


def _nearest(seconds: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of the frame whose time is nearest to each wanted time; times of both rise."""
    after = np.searchsorted(seconds, wanted).clip(1, max(len(seconds) - 1, 1))
    after = after.clip(max=len(seconds) - 1)
    before = (after - 1).clip(0)
    return np.where(wanted - seconds[before] <= seconds[after] - wanted, before, after)


def _taken(path: Path, numbers: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the frames of a video whose indices are ``numbers``, which rise, in chunks.

    They are resized to cover ``size``, (height, width), and cropped to it.
    """
    first = 0
    for chunk in stream_video(path):
        inside = numbers[(numbers >= first) & (numbers < first + len(chunk))] - first
        if len(inside):
            yield _fit(chunk[inside], size)
        first += len(chunk)


def _fit(frames: np.ndarray, size: tuple[int, int]) -> UInt8[np.ndarray, "t h w 3"]:
    return np.ascontiguousarray(fit_frames(frames, *size))


def _sizes(before: tuple[int, int], after: tuple[int, int]) -> str:
    """A size, and the one it is brought to: ``720x1280 -> 64x64 (height x width)``."""
    changed = "" if before == after else f" -> {after[0]}x{after[1]}"
    return f"{before[0]}x{before[1]}{changed} (height x width)"
