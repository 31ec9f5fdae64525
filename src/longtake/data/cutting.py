"""How a training clip is cut from a video: start, size and mirroring."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn.functional import interpolate

from longtake.data.clips import Clip, ClipPlan
from longtake.data.source import VideoSource

Crop = Literal["centre", "random"]


def cut(
    source: VideoSource, index: int, plan: ClipPlan, crop: Crop, generator: torch.Generator
) -> Clip:
    """A clip of a video: start, crop position and mirroring are drawn.

    Each setting has its own draw, so that changing one leaves the others' results as they are.
    """
    draws = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    info = source.info(index)
    starts = info.frames - plan.span + 1
    start = int(draws[0] * starts) if plan.start == "random" else 0
    frames = source.read(index, start, plan.frames, plan.stride)
    position = (draws[1], draws[2]) if crop == "random" else (0.5, 0.5)
    frames = fit_frames(frames, plan.height, plan.width, position)
    if plan.flip and draws[3] < 0.5:
        frames = frames[:, :, ::-1]
    return Clip(
        frames=np.ascontiguousarray(frames),
        path=source.title(index),
        start_frame=start,
        fps=float(info.fps / plan.stride),
        label=source.label(index),
        caption=source.caption(index),
    )


def fit_frames(
    frames: UInt8[np.ndarray, "t h w 3"],
    height: int,
    width: int,
    position: tuple[float, float] = (0.5, 0.5),
) -> UInt8[np.ndarray, "t height width 3"]:
    """Resize frames so that they just cover a size, and crop them to it.

    Args:
        frames: frames of any size.
        height: height in pixels.
        width: width in pixels.
        position: vertical and horizontal position of the crop: 0 is top or left, 0.5 the centre,
            1 bottom or right.
    """
    scale = max(height / frames.shape[1], width / frames.shape[2])
    tall = max(height, round(frames.shape[1] * scale))
    wide = max(width, round(frames.shape[2] * scale))
    if (tall, wide) != frames.shape[1:3]:
        pixels = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)
        resized = interpolate(pixels, (tall, wide), mode="bilinear", antialias=True)
        frames = resized.permute(0, 2, 3, 1).numpy()
    top = round(position[0] * (tall - height))
    left = round(position[1] * (wide - width))
    return frames[:, top : top + height, left : left + width]
