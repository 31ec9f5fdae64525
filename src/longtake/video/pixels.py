"""Conversion of uint8 ``(T, H, W, 3)`` to float ``(3, T, H, W)`` in [-1, 1] and back; images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from longtake.checkpoint import check_free
from longtake.video.files import cannot_write, partial_path

GAP, BACKGROUND = 2, 255


def to_model(frames: UInt8[np.ndarray | Tensor, "t h w 3"]) -> Float[Tensor, "3 t h w"]:
    """Pixels for a network, on the device of ``frames`` if it is a tensor."""
    pixels = frames if isinstance(frames, Tensor) else torch.from_numpy(np.array(frames))
    return rearrange(pixels, "t h w c -> c t h w").float() / 127.5 - 1


def to_pixels(
    video: Float[Tensor, "3 t h w"], levels: Literal["round", "truncate"] = "round"
) -> UInt8[np.ndarray, "t h w 3"]:
    """Inverse of ``to_model``: values are clamped to [-1, 1] and rounded to one of 256 levels.

    With ``levels="truncate"`` they are cut to the level below instead.
    """
    pixels = as_levels(video.detach(), levels).to(torch.uint8)
    return rearrange(pixels, "c t h w -> t h w c").cpu().contiguous().numpy()


def as_levels(
    video: Float[Tensor, "*n"], levels: Literal["round", "truncate"] = "round"
) -> Float[Tensor, "*n"]:
    """Whole levels from 0 to 255 of values in [-1, 1], as ``to_pixels`` makes them."""
    scaled = (video.float() + 1) * 127.5
    scaled = scaled.round() if levels == "round" else scaled.floor()
    return scaled.clamp(0, 255)


def contact_sheet(
    rows: Sequence[UInt8[np.ndarray, "_ _ _ 3"]], frames_per_row: int = 8
) -> UInt8[np.ndarray, "h w 3"]:
    """One row per video, of evenly spaced frames from its first to its last.

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


def write_image(
    path: Path | str, image: UInt8[np.ndarray, "h w 3"], *, overwrite: bool = False
) -> None:
    """Write a picture, complete or not at all; the suffix chooses the format.

    Raises:
        VideoError: the image cannot be written.
        ExistsError: the path exists.
    """
    path = Path(path)
    check_free(path, overwrite)
    partial = partial_path(path)
    try:
        Image.fromarray(image).save(partial)
        partial.replace(path)
    except (OSError, ValueError) as error:
        partial.unlink(missing_ok=True)
        raise cannot_write(error, path, partial) from error


def _padded(pixels: np.ndarray, *widths: tuple[int, int]) -> np.ndarray:
    return np.pad(pixels, widths, constant_values=BACKGROUND)
