"""Contact sheets of videos, and image files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image

from longtake.checkpoint import check_free
from longtake.files import put
from longtake.video.files import cannot_write, partial_path
from longtake.video.read import probe, read_clip

GAP, BACKGROUND = 2, 255


def contact_sheet(
    rows: Sequence[UInt8[np.ndarray, "_ _ _ 3"]], frames_per_row: int = 8
) -> UInt8[np.ndarray, "h w 3"]:
    """One image with a row of evenly spaced frames, first to last, of each video in ``rows``.

    A video has shape (t, h, w, 3). A row has ``frames_per_row`` frames, or all of a shorter video.
    Rows are padded with white.

    Raises:
        ValueError: ``rows`` is empty.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one video, got none")
    strips = []
    for frames in rows:
        shown = min(frames_per_row, len(frames))
        numbers = np.linspace(0, len(frames) - 1, shown).round().astype(int)
        spaced = _padded(frames[numbers], (0, 0), (0, GAP), (0, GAP), (0, 0))
        strips.append(rearrange(spaced, "n h w c -> h (n w) c"))
    width = max(strip.shape[1] for strip in strips)
    full = [_padded(strip, (0, 0), (0, width - strip.shape[1]), (0, 0)) for strip in strips]
    return np.concatenate(full)[:-GAP, :-GAP]


def overview(video: Path, image: Path, rows: int = 4, columns: int = 8) -> None:
    """Write an image of ``rows * columns`` evenly spaced frames of a video; replaces ``image``.

    Raises:
        VideoError: the video cannot be read, or the image not written.
    """
    last = probe(video).frames - 1
    shown = rows * columns
    indices = [round(i * last / max(shown - 1, 1)) for i in range(shown)]
    frames = np.concatenate([read_clip(video, index, 1) for index in indices])
    sheet = contact_sheet(list(frames.reshape(rows, columns, *frames.shape[1:])), columns)
    write_image(image, sheet, overwrite=True)


def write_image(
    path: Path | str, image: UInt8[np.ndarray, "h w 3"], *, overwrite: bool = False
) -> None:
    """Write an image file, completely or not at all; the suffix of ``path`` selects the format.

    Raises:
        VideoError: the image cannot be written, or the suffix is not of an image format.
        ExistsError: ``path`` exists and ``overwrite`` is false.
    """
    path = Path(path)
    check_free(path, overwrite)
    partial = partial_path(path)
    try:
        Image.fromarray(image).save(partial)
        put(partial, path)
    except (OSError, ValueError) as error:
        partial.unlink(missing_ok=True)
        raise cannot_write(error, path, partial) from error


def _padded(pixels: np.ndarray, *widths: tuple[int, int]) -> np.ndarray:
    return np.pad(pixels, widths, constant_values=BACKGROUND)
