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
from longtake.nn.formulas import at_least_float32
from longtake.noise import derive

Clips = Float[Tensor, "b 3 t h w"]
Frames = Float[Tensor, "n 3 h w"]
Scalar = Float[Tensor, ""]


def pick_frames(
    video: Float[Tensor, "b c t h w"], count: int | None, seeds: Sequence[int]
) -> Float[Tensor, "b c n h w"]:
    """Select ``count`` frames of each clip at random, one per equal part of the clip; None: all.

    ``seeds`` has one seed per clip. Equal seeds select equal frames: from a video and its
    reconstruction, and for all losses with the same ``count``.
    """
    if count is None or count >= video.shape[2]:
        return video
    rows = zip(video, seeds, strict=True)
    return torch.stack([clip[:, choose_frames(clip.shape[1], count, seed)] for clip, seed in rows])


def choose_frames(total: int, count: int, seed: int) -> list[int]:
    """Index of a random frame in each of ``count`` equal parts of a clip of ``total`` frames.

    All follow from ``seed``.
    """
    edges = [part * total // count for part in range(count + 1)]
    return [low + derive(seed, "frame", low) % (high - low) for low, high in pairwise(edges)]


class FrameDistance(nn.Module, ABC):
    """A perceptual distance between pairs of frames, frozen; training mode changes no result."""

    @abstractmethod
    def forward(self, x: Frames, y: Frames) -> Float[Tensor, "n"]:
        """Distance of each frame of ``x`` to that of ``y``, whose pixels are in [-1, 1].

        It is 0 if they are equal.
        """


class Perceptual(Config, ABC):
    """Settings of a perceptual loss.

    Attributes:
        weight: weight of the distance in the sum of the reconstruction errors.
        frames: number of frames of each clip that are compared, one from each of as many equal
            parts of the clip, drawn again at each step; None for all. LVDM compares all, PVDM 1.
    """

    weight: Annotated[float, Gt(0)] = 1.0
    frames: Annotated[int, Ge(1)] | None = None

    @abstractmethod
    def build(self) -> FrameDistance:
        """Build the perceptual distance and load its weights.

        Raises:
            CheckpointError: weights are missing or broken.
        """


def clip_distance(distance: FrameDistance, video: Clips, other: Clips) -> Scalar:
    """Mean distance between the frames of two batches of clips, whose pixels are in [-1, 1]."""
    x, y = (rearrange(v, "b c t h w -> (b t) c h w") for v in (video, other))
    return distance(x, y).mean()


def unit_difference(
    x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n c h w"]:
    """Squared difference of features that are first divided by their norm over channels (LPIPS).

    Where all channels are 0, the gradient is 0; in the official code it is NaN.
    """
    return (_unit(at_least_float32(x)) - _unit(at_least_float32(y))) ** 2


def _unit(features: Tensor) -> Tensor:
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)


def freeze(network: nn.Module) -> None:
    """Set a network to eval mode, its weights to get no gradient; its inputs still get theirs."""
    network.requires_grad_(False).eval()
