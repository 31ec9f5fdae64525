"""What a perceptual loss is: a distance between frames in the features of a frozen network."""

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.config import Config


class FrameDistance(nn.Module, ABC):
    """Distance of frames to frames. Its weights are frozen; it is the same in every mode."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "n 3 h w"], y: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, "n"]:
        """One distance a pair of frames in [-1, 1]; 0 where they are the same."""


class Perceptual(Config, ABC):
    """Settings of a perceptual loss.

    Attributes:
        weight: beside the pixel error.
        frames: how many frames of a clip are compared, one from each of as many equal parts of
            the clip, drawn anew for each clip and step; all where None. LVDM has all, PVDM 1.
    """

    weight: Annotated[float, Gt(0)] = 1.0
    frames: Annotated[int, Ge(1)] | None = None

    @abstractmethod
    def build(self) -> FrameDistance:
        """The distance, with its weights.

        Raises:
            CheckpointError: there are no weights, or they do not fit.
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
    """Squared difference of features whose channels have unit norm at each pixel (LPIPS).

    Unlike the official code, its gradient is 0, not NaN, where all channels are 0.
    """
    return (_unit(x.float()) - _unit(y.float())) ** 2


def _unit(features: Tensor) -> Tensor:
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)


def freeze(network: nn.Module) -> None:
    """Let gradients through a network, but to none of its weights."""
    network.requires_grad_(False).eval()
