"""A folder of pictures as a video."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.video.errors import VideoError, reading

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp"))


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by which frame 10 comes after frame 9."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def files(folder: Path) -> list[Path]:
    """Pictures of a folder, in natural order of their names.

    Raises:
        VideoError: the folder has no pictures.
    """
    with reading(folder):
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        ]
    if not found:
        raise VideoError(f"{folder}: not a video, the folder has no pictures")
    return sorted(found, key=natural)


def size(path: Path) -> tuple[int, int]:
    """Height and width of a picture."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except OSError as error:
        raise VideoError(f"{path}: not a picture, or broken ({error})") from error


def read(paths: Sequence[Path]) -> UInt8[np.ndarray, "t h w 3"]:
    """Read pictures as frames.

    Raises:
        VideoError: a picture is broken, or differs in size from the first.
    """
    frames = [_pixels(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise VideoError(
                f"{path}: is {frame.shape[0]} x {frame.shape[1]} pixels (height x width), "
                f"{paths[0].name} is {frames[0].shape[0]} x {frames[0].shape[1]}"
            )
    return np.stack(frames)


def _pixels(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise VideoError(f"{path}: not a picture, or broken ({error})") from error
