"""Preparation of clips for a network, equal for real and generated ones."""

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from longtake.config import Config

Frames = UInt8[Tensor, "t h w 3"] | Float[Tensor, "3 t h w"]
"""A clip: 8-bit pixels, or floats in [-1, 1]."""


class Treatment(Config):
    """How clips become input of I3D. Each field changes scores, so a protocol states them all.

    Attributes:
        levels: conversion of floats to 8-bit levels: ``round``, or ``truncate``, as in the official
            LVDM and PVDM codes.
        fit: ``squash`` to a square, or ``crop``: resize the shorter side, then take the centre.
        grid: pixel centres of the bilinear resize: at halves (``half_pixel``; PyTorch, TensorFlow
            2), or at whole numbers (``top_left``; TensorFlow 1).
        antialias: antialiasing of the resize.
        size: height and width of the result.
    """

    levels: Literal["round", "truncate"] = "round"
    fit: Literal["squash", "crop"] = "crop"
    grid: Literal["half_pixel", "top_left"] = "half_pixel"
    antialias: bool = False
    size: Annotated[int, Ge(1)] = 224

    def __call__(self, clip: Frames) -> Float[Tensor, "3 t s s"]:
        """Prepared frames in [-1, 1], on the clip's device."""
        frames = self._pixels(clip)
        height, width = frames.shape[2:]
        shorter = min(height, width)
        # the longer side is rounded up
        cropped = -(-height * self.size // shorter), -(-width * self.size // shorter)
        frames = self._resize(frames, cropped if self.fit == "crop" else (self.size, self.size))
        top, left = ((side - self.size) // 2 for side in frames.shape[2:])
        frames = frames[:, :, top : top + self.size, left : left + self.size]
        return rearrange(frames, "t c h w -> c t h w") / 127.5 - 1

    def _pixels(self, clip: Frames) -> Float[Tensor, "t 3 h w"]:
        if not clip.is_floating_point():
            return rearrange(clip, "t h w c -> t c h w").float()
        levels = (rearrange(clip.float(), "c t h w -> t c h w") + 1) * 127.5
        levels = levels.round() if self.levels == "round" else levels.floor()
        return levels.clamp(0, 255)

    def _resize(
        self, frames: Float[Tensor, "t c h w"], target: tuple[int, int]
    ) -> Float[Tensor, "t c h2 w2"]:
        if frames.shape[2:] == target:
            return frames
        if self.grid == "top_left":
            return _resize_rows(_resize_rows(frames, target[0]).mT, target[1]).mT
        return interpolate(frames, target, mode="bilinear", antialias=self.antialias)


def _resize_rows(frames: Float[Tensor, "t c h w"], height: int) -> Float[Tensor, "t c h2 w"]:
    """Resize rows: row i interpolates at i * old height / new height."""
    before = frames.shape[2]
    place = torch.arange(height, dtype=torch.float32, device=frames.device) * (before / height)
    above = place.floor().long().clamp(max=before - 1)
    below = (above + 1).clamp(max=before - 1)
    return torch.lerp(frames[:, :, above], frames[:, :, below], (place - above)[:, None])
