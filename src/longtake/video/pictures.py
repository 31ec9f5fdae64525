"""A folder of image files as a video."""

import math
import os
import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.video import archive
from longtake.video.files import VideoError, reading
from longtake.video.pixel_shape import square_size

_NAMES = "png jpg jpeg webp bmp tif tiff ppm pgm pnm jp2 avif"
SUFFIXES = frozenset("." + name for name in _NAMES.split())
STRAY_SHARE = 10  # a kind of name that is this many times rarer than another is not a frame's
SIXTEEN_BITS = (".pgm", ".ppm", ".pnm", ".png")  # formats whose grey levels Pillow gives 32 bits
LARGEST = 1 << 28  # bytes of a picture in a tar file
ORIENTATION = 0x0112  # EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that turns an image upright, by its EXIF orientation; 1 needs none."""
SIDEWAYS = [TURNS[orientation] for orientation in (5, 6, 7, 8)]


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key of a file's name in natural order: ``frame 10.png`` comes after ``frame 9.png``."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def files(folder: Path) -> list[Path]:
    """Image files of a folder that are frames of a video, in natural order of their names.

    Raises:
        VideoError: the folder cannot be read, or has no image files.
    """
    with reading(folder):
        paths = archive.files_in(folder)
        if paths is None:
            with os.scandir(folder) as entries:
                paths = [folder / entry.name for entry in entries if not entry.is_dir()]
    found = [p for p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise VideoError(f"{folder}: not a video, the folder has no image files")
    return sequence(found)


def sequence(paths: Sequence[Path]) -> list[Path]:
    """Those image files of a folder that are frames of a video, in natural order of their names.

    If at least half of the names differ in their numbers alone, an image whose name is unlike any
    other, such as ``cover.jpg``, is not a frame, nor are images whose kind of name is at least ten
    times rarer than the most frequent kind.
    """
    kinds = Counter(map(_kind, paths))
    most = max(kinds.values(), default=0)
    numbered = most > 1 and most * 2 >= len(paths)
    strays = {k for k, n in kinds.items() if numbered and (n == 1 or n * STRAY_SHARE <= most)}
    return sorted((path for path in paths if _kind(path) not in strays), key=natural)


def numbered(paths: Sequence[Path]) -> bool:
    """Whether at least two of some image files have names that differ in their numbers alone."""
    return len(set(map(_kind, paths))) < len(paths)


def _kind(path: Path) -> str:
    """Name of a file in lower case, without suffix, and with ``#`` for each number."""
    return re.sub(r"\d+", "#", path.stem.lower())


def size(path: Path) -> tuple[int, int]:
    """Height and width in pixels of an image file, upright and with square pixels.

    Raises:
        VideoError: the file cannot be read as an image.
    """
    with _opened(path) as picture:
        sideways = _turn(picture) in SIDEWAYS
        height, width = square_size(picture.height, picture.width, _pixel_aspect(picture))
        return (width, height) if sideways else (height, width)


def frames(paths: Sequence[Path]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield image files as RGB frames, turned upright as their EXIF data say.

    Pictures whose pixels are not square are made wider or higher, as FFmpeg and players show them.

    Raises:
        VideoError: a file cannot be read as an image, or the sizes of two differ.
    """
    first = None
    for path in paths:
        with _opened(path) as picture:
            turn = _turn(picture)
            frame = _upright(_square(_rgb(path, picture), _pixel_aspect(picture)), turn)
        first = frame.shape if first is None else first
        if frame.shape != first:
            raise VideoError(
                f"{path}: is {frame.shape[0]} x {frame.shape[1]} pixels (height x width), "
                f"{paths[0].name} is {first[0]} x {first[1]}; all frames must have one size"
            )
        yield frame


def _turn(picture: Image.Image) -> Image.Transpose | None:
    picture.load()  # which turns TIFF pictures
    with suppress(SyntaxError):  # broken EXIF data
        return TURNS.get(picture.getexif().get(ORIENTATION, 1))
    return None


def _pixel_aspect(picture: Image.Image) -> Fraction | None:
    """Width of a pixel divided by its height, from the picture's resolutions; None without any."""
    for name in ("aspect", "resolution", "dpi", "jfif_density"):
        found = picture.info.get(name)
        if found is not None and all(0 < float(each) < math.inf for each in found):
            across, down = (Fraction(float(each)) for each in found)
            return down / across
    return None


def _square(frame: UInt8[np.ndarray, "h w 3"], aspect: Fraction | None) -> np.ndarray:
    height, width = square_size(frame.shape[0], frame.shape[1], aspect)
    if (height, width) == frame.shape[:2]:
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


def _upright(
    frame: UInt8[np.ndarray, "h w 3"], turn: Image.Transpose | None
) -> UInt8[np.ndarray, "h2 w2 3"]:
    return frame if turn is None else np.asarray(Image.fromarray(frame).transpose(turn))


def _rgb(path: Path, picture: Image.Image) -> np.ndarray:
    """Pixels of 8 bits; of 16 bits of grey, which Pillow would clip, the upper 8.

    Raises:
        VideoError: pixels are numbers of 32 bits, whose range is not known.
    """
    if picture.mode in ("I", "F") and path.suffix.lower() not in SIXTEEN_BITS:
        raise VideoError(f"{path}: has pixels of 32 bits, expected 8 or 16 bits")
    if picture.mode.startswith("I"):
        return np.repeat((np.asarray(picture) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(picture.convert("RGB"))


@contextmanager
def _opened(path: Path) -> Generator[Image.Image]:
    with reading(path):
        there = archive.place(path)
    if not there.file.is_file():  # opening a pipe would wait for a writer
        raise VideoError(f"{path}: not a regular file")
    try:
        whole = there.file == path
        with Image.open(path if whole else BytesIO(archive.read_bytes(path, LARGEST))) as picture:
            yield picture
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise VideoError(f"{path}: not an image, or broken ({error})") from error
