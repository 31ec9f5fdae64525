"""Preparation of clips for a network, equal for real and generated ones."""

import io
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from longtake.config import Config
from longtake.video.pixels import as_levels

Fit = Literal["squash", "crop", "crop_down", "square"]
"""How a frame becomes a square.

- ``squash``: resized to it, whatever its aspect ratio.
- ``crop``: the shorter side is resized, the longer side rounded up, the centre taken.
- ``crop_down``: the same with the longer side rounded down, as in torchvision.
- ``square``: the central square is taken, then resized.
"""

Size = tuple[int, int]

Frames = UInt8[Tensor, "t h w 3"] | Float[Tensor, "3 t h w"]
"""A clip: 8-bit pixels, or floats in [-1, 1]."""


class Treatment(Config):
    """How clips become the input of a feature network such as I3D; every field changes scores.

    Attributes:
        levels: conversion of float pixels to 8-bit levels: ``round``, or ``truncate``, as in the
            official LVDM and PVDM codes.
        fit: how a frame becomes a square: ``squash`` changes its proportions; ``crop`` resizes the
            shorter side and takes the middle, ``crop_down`` too, with sizes rounded down;
            ``square`` takes the middle square and resizes it.
        grid: pixel centres of the bilinear resize: at halves (``half_pixel``; PyTorch, TensorFlow
            2), or at whole numbers (``top_left``; TensorFlow 1).
        antialias: whether the resize is antialiased.
        size: height and width of the result in pixels.
    """

    levels: Literal["round", "truncate"] = "round"
    fit: Fit = "crop"
    grid: Literal["half_pixel", "top_left"] = "half_pixel"
    antialias: bool = False
    size: Annotated[int, Ge(1)] = 224

    def __call__(self, clip: Frames) -> Float[Tensor, "3 t s s"]:
        """Convert a clip to the feature network's input, in [-1, 1], on the clip's device."""
        frames = self._pixels(clip)
        before, target, after = placing((frames.shape[2], frames.shape[3]), self.size, self.fit)
        frames = self._resize(frames[:, :, before[0], before[1]], target)[:, :, after[0], after[1]]
        return rearrange(frames, "t c h w -> c t h w").div_(127.5).sub_(1)

    def _pixels(self, clip: Frames) -> Float[Tensor, "t 3 h w"]:
        if not clip.is_floating_point():
            return rearrange(clip, "t h w c -> t c h w").float()
        return as_levels(rearrange(clip, "c t h w -> t c h w"), self.levels)

    def _resize(
        self, frames: Float[Tensor, "t c h w"], target: tuple[int, int]
    ) -> Float[Tensor, "t c h2 w2"]:
        if frames.shape[2:] == target:
            return frames
        if self.grid == "top_left":
            return _resize_rows(_resize_rows(frames, target[0]).mT, target[1]).mT
        return interpolate(frames, target, mode="bilinear", antialias=self.antialias)


def placing(
    frame: Size, size: int, fit: Fit
) -> tuple[tuple[slice, slice], Size, tuple[slice, slice]]:
    """How a frame of height and width ``frame`` becomes a square of ``size`` x ``size`` pixels.

    Returns the rows and columns to crop first, the height and width to resize to, and the rows and
    columns to crop last. ``Fit`` describes the values of ``fit``.
    """
    whole, square, shorter = (slice(None), slice(None)), (size, size), min(frame)
    if fit == "squash":
        return whole, square, whole
    if fit == "square":
        return _middle(frame, shorter, nearest=True), square, whole
    down = fit == "crop_down"
    height, width = (s * size // shorter if down else -(-s * size // shorter) for s in frame)
    return whole, (height, width), _middle((height, width), size, nearest=down)


def _middle(frame: Size, size: int, *, nearest: bool) -> tuple[slice, slice]:
    """Rows and columns of a frame's central square of ``size`` pixels.

    The first are half of the rest, rounded as torchvision does (``nearest``) or down.
    """
    starts = (round((side - size) / 2) if nearest else (side - size) // 2 for side in frame)
    top, left = starts
    return slice(top, top + size), slice(left, left + size)


def stored_frame(
    frame: UInt8[np.ndarray, "h w 3"], size: int | None, fit: Fit, jpeg: int | None
) -> UInt8[np.ndarray, "_ _ 3"]:
    """A frame as it is read back from an image file that Pillow wrote.

    Args:
        frame: the frame.
        size: height and width in pixels to which the frame is resized by Lanczos; None: it is not.
        fit: how the frame becomes a square of that size: ``squash``, ``crop``, ``crop_down`` or
            ``square``, as ``Fit`` describes.
        jpeg: quality, 1 to 100, of the JPEG file; None: the file is lossless.
    """
    if size is not None:
        before, (height, width), after = placing((frame.shape[0], frame.shape[1]), size, fit)
        image = Image.fromarray(np.ascontiguousarray(frame[before]))
        frame = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))[after]
    if jpeg is not None:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(frame)).save(file, "JPEG", quality=jpeg)
        frame = np.asarray(Image.open(file))
    return frame


def _resize_rows(frames: Float[Tensor, "t c h w"], height: int) -> Float[Tensor, "t c h2 w"]:
    """Resize frames to ``height`` rows; new row i interpolates at old row i * old / new height."""
    before = frames.shape[2]
    place = torch.arange(height, dtype=torch.float32, device=frames.device) * (before / height)
    above = place.floor().long().clamp(max=before - 1)
    below = (above + 1).clamp(max=before - 1)
    return torch.lerp(frames[:, :, above], frames[:, :, below], (place - above)[:, None])
