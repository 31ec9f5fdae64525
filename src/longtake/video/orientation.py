"""Rotates, mirrors and crops decoded frames as the file specifies."""

import re
from collections.abc import Mapping

import numpy as np
from av.video.frame import VideoFrame

PADDED = "longtake: cut to {width} x {height}"


def padding_note(height: int, width: int) -> str:
    """Comment of a file whose frames were padded to even sizes."""
    return PADDED.format(height=height, width=width)


def written_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Height and width of a padded file before padding; None for any other file."""
    comments = [value for key, value in metadata.items() if key.lower() == "comment"]
    for comment in comments:
        if found := re.fullmatch(r"longtake: cut to (\d+) x (\d+)", comment):
            return int(found[2]), int(found[1])
    return None


def upright(frame: VideoFrame, size: tuple[int, int] | None) -> np.ndarray:
    """Upright RGB of a frame, uint8 ``(H, W, 3)``."""
    pixels = frame.to_ndarray(format="rgb24")
    if size is not None:
        pixels = pixels[: size[0], : size[1]]
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5]
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
