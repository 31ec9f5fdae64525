"""A folder of pictures as a video."""

import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from longtake.video.files import VideoError, reading

SUFFIXES = frozenset(
    f".{name}"
    for name in [
        "png",
        "jpg",
        "jpeg",
        "webp",
        "bmp",
        "tif",
        "tiff",
        "ppm",
        "pgm",
        "pnm",
        "jp2",
        "avif",
    ]
)
STRAY_SHARE = 10  # a kind of name that is this many times rarer than another is not a frame's


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by which frame 10 comes after frame 9."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def files(folder: Path) -> list[Path]:
    """Pictures of a folder, at least one, in natural order of their names."""
    with reading(folder):
        paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    found = [path for path in paths if not path.name.startswith(".")]
    if not found:
        raise VideoError(f"{folder}: not a video, the folder has no pictures")
    return sequence(found)


def sequence(paths: Sequence[Path]) -> list[Path]:
    """Frames among a folder's pictures, in natural order.

    Where most names differ in their numbers alone, a picture with a name of another kind, such as
    ``cover.jpg``, is not a frame.
    """
    kinds = Counter(map(_kind, paths))
    most = max(kinds.values(), default=0)
    numbered = most > 1 and most * 2 >= len(paths)
    strays = {k for k, n in kinds.items() if numbered and (n == 1 or n * STRAY_SHARE <= most)}
    return sorted((path for path in paths if _kind(path) not in strays), key=natural)


def numbered(paths: Sequence[Path]) -> bool:
    """Whether two pictures have names that differ in their numbers alone."""
    return len(set(map(_kind, paths))) < len(paths)


def _kind(path: Path) -> str:
    """A picture's name without suffix and numbers."""
    return re.sub(r"\d+", "#", path.stem.lower())


def size(path: Path) -> tuple[int, int]:
    """Height and width of a picture."""
    with _opened(path) as picture:
        return picture.height, picture.width


def frames(paths: Sequence[Path]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Read pictures as frames, all of the size of the first."""
    first = None
    for path in paths:
        with _opened(path) as picture:
            frame = np.asarray(picture.convert("RGB"))
        first = frame.shape if first is None else first
        if frame.shape != first:
            raise VideoError(
                f"{path}: is {frame.shape[0]} x {frame.shape[1]} pixels (height x width), "
                f"{paths[0].name} is {first[0]} x {first[1]}"
            )
        yield frame


@contextmanager
def _opened(path: Path) -> Generator[Image.Image]:
    try:
        with Image.open(path) as picture:
            yield picture
    except (OSError, SyntaxError) as error:
        raise VideoError(f"{path}: not a picture, or broken ({error})") from error
