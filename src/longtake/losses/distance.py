"""Base of perceptual losses: a distance between frames in the features of a frozen network."""

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.config import Config


class FrameDistance(nn.Module, ABC):
    """Distance between pairs of frames; its weights are frozen, and it has no training mode."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "n 3 h w"], y: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, "n"]:
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


def clip_distance(
    distance: FrameDistance, video: Float[Tensor, "b 3 t h w"], other: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, ""]:
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
