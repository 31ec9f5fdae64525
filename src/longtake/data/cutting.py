"""How a clip is cut from a video that lies in a file: start, size and mirror."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn.functional import interpolate

from longtake.data.clips import ClipPlan
from longtake.video import read_clip

Crop = Literal["centre", "random"]


def cut(
    path: Path, frames: int, plan: ClipPlan, crop: Crop, generator: torch.Generator
) -> tuple[int, UInt8[np.ndarray, "t h w 3"]]:
    """Start frame and pixels of a clip of a video of so many frames.

    Each draw has its place, so that a setting changes what it is for and nothing else.
    """
    draws = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    starts = frames - plan.span + 1
    start = int(draws[0] * starts) if plan.start == "random" else 0
    clip = read_clip(path, start, plan.frames, plan.stride)
    place = (draws[1], draws[2]) if crop == "random" else (0.5, 0.5)
    clip = fit_frames(clip, plan.height, plan.width, place)
    if plan.flip and draws[3] < 0.5:
        clip = clip[:, :, ::-1]
    return start, np.ascontiguousarray(clip)


def fit_frames(
    frames: UInt8[np.ndarray, "t h w 3"],
    height: int,
    width: int,
    place: tuple[float, float] = (0.5, 0.5),
) -> UInt8[np.ndarray, "t height width 3"]:
    """Resize so that the frames just cover a size, and crop to it.

    Args:
        frames: of any size.
        height: in pixels.
        width: in pixels.
        place: of the crop: 0 is top or left, 0.5 the centre, 1 bottom or right.
    """
    scale = max(height / frames.shape[1], width / frames.shape[2])
    tall = max(height, round(frames.shape[1] * scale))
    wide = max(width, round(frames.shape[2] * scale))
    if (tall, wide) != frames.shape[1:3]:
        pixels = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)
        resized = interpolate(pixels, (tall, wide), mode="bilinear", antialias=True)
        frames = resized.permute(0, 2, 3, 1).numpy()
    top = round(place[0] * (tall - height))
    left = round(place[1] * (wide - width))
    return frames[:, top : top + height, left : left + width]
