"""Conversion of uint8 ``(T, H, W, 3)`` to float ``(3, T, H, W)`` in [-1, 1] and back."""

from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor


def to_model(frames: UInt8[np.ndarray | Tensor, "t h w 3"]) -> Float[Tensor, "3 t h w"]:
    """Convert 8-bit frames to floats in [-1, 1], on the device of ``frames`` if it is a tensor."""
    pixels = frames if isinstance(frames, Tensor) else torch.from_numpy(np.array(frames))
    return rearrange(pixels, "t h w c -> c t h w").float() / 127.5 - 1


def to_pixels(
    video: Float[Tensor, "3 t h w"], levels: Literal["round", "truncate"] = "round"
) -> UInt8[np.ndarray, "t h w 3"]:
    """Convert floats in [-1, 1] to 8-bit frames; the inverse of ``to_model``.

    Values are clamped to [-1, 1] and rounded to one of 256 levels, or with ``levels="truncate"``
    rounded down.
    """
    return to_bytes(video, levels).cpu().numpy()


def to_bytes(
    video: Float[Tensor, "*b 3 t h w"], levels: Literal["round", "truncate"] = "round"
) -> UInt8[Tensor, "*b t h w 3"]:
    """Convert one video, or a batch of any shape, to 8-bit frames on its device.

    Values are clamped to [-1, 1] and rounded, or with ``levels="truncate"`` rounded down.
    """
    pixels = as_levels(video.detach(), levels).to(torch.uint8)
    return pixels.movedim(-4, -1).contiguous()


def as_levels(
    video: Float[Tensor, "*n"], levels: Literal["round", "truncate"] = "round"
) -> Float[Tensor, "*n"]:
    """Convert values in [-1, 1] to whole levels from 0 to 255, as floats.

    Values are clamped to [-1, 1] and rounded, or with ``levels="truncate"`` rounded down.
    """
    scaled = (video.float() + 1) * 127.5
    scaled = scaled.round() if levels == "round" else scaled.floor()
    return scaled.clamp(0, 255)
