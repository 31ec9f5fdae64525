"""Distances between frames, and the choice of the frames of a clip that a loss compares."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.config import Config
from longtake.noise import derive

Clips = Float[Tensor, "b 3 t h w"]
Frames = Float[Tensor, "n 3 h w"]
Scalar = Float[Tensor, ""]


def pick_frames(
    video: Float[Tensor, "b c t h w"], count: int | None, seeds: Sequence[int]
) -> Float[Tensor, "b c n h w"]:
    """``count`` frames of each clip, drawn by the clip's seed; None for all.

    The same seeds draw the same frames, from a video and its reconstruction, and for all losses
    that use the same number of frames.
    """
    if count is None or count >= video.shape[2]:
        return video
    rows = zip(video, seeds, strict=True)
    return torch.stack([clip[:, choose_frames(clip.shape[1], count, seed)] for clip, seed in rows])


def choose_frames(total: int, count: int, seed: int) -> list[int]:
    """Indices of one frame in each of ``count`` equal parts of a clip of ``total`` frames."""
    edges = [part * total // count for part in range(count + 1)]
    return [low + derive(seed, "frame", low) % (high - low) for low, high in pairwise(edges)]


class FrameDistance(nn.Module, ABC):
    """Distance between pairs of frames; its weights are frozen, and it has no training mode."""

    @abstractmethod
    def forward(self, x: Frames, y: Frames) -> Float[Tensor, "n"]:
        """Distance of each pair of frames in [-1, 1]; 0 if they are equal."""


class Perceptual(Config, ABC):
    """Settings of a perceptual loss.

    Attributes:
        weight: weight relative to the pixel error.
        frames: number of frames of a clip that are compared, one from each of as many equal parts
            of the clip, drawn for each clip and step; None for all. LVDM compares all, PVDM 1.
    """

    weight: Annotated[float, Gt(0)] = 1.0
    frames: Annotated[int, Ge(1)] | None = None

    @abstractmethod
    def build(self) -> FrameDistance:
        """The distance, with its weights.

        Raises:
            CheckpointError: weights are missing or do not fit.
        """


def clip_distance(distance: FrameDistance, video: Clips, other: Clips) -> Scalar:
    """Mean distance over the frames of clips."""
    x, y = (rearrange(v, "b c t h w -> (b t) c h w") for v in (video, other))
    return distance(x, y).mean()


def unit_difference(
    x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n c h w"]:
    """Squared difference of features with unit norm over channels at each pixel (LPIPS).

    Unlike in the official code, the gradient is 0 instead of NaN where all channels are 0.
    """
    return (_unit(x.float()) - _unit(y.float())) ** 2


def _unit(features: Tensor) -> Tensor:
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)


def freeze(network: nn.Module) -> None:
    """Give a network's weights no gradient; its inputs still get theirs."""
    network.requires_grad_(False).eval()
