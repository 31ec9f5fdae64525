"""Features of an untrained network, for trying commands without weights.

A distance of such features falls as sets of videos become more alike, but compares with no number
of any paper.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn

from longtake.config import Config
from longtake.noise import generator


class RandomFeaturesConfig(Config):
    """Features of an untrained network, three convolutions with random weights; only for trials.

    Attributes:
        width: number of features per clip.
        seed: seed of the weights.
    """

    unit: ClassVar[str] = "(random features)"
    metrics: ClassVar[Mapping[str, str]] = {
        "fvd": "random_features_fd",
        "kvd": "random_features_kd",
        "rfvd": "random_features_rfd",
    }

    kind: Literal["random_features"] = "random_features"
    width: Annotated[int, Ge(1)] = 64
    seed: int = 0

    def build(self) -> "RandomFeatures":
        """Build the network; its weights are equal on any machine."""
        return RandomFeatures(self)


class RandomFeatures(nn.Module):
    """An untrained, frozen convolutional network; training mode changes no result."""

    def __init__(self, config: RandomFeaturesConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.layers = nn.Sequential(
            nn.Conv3d(3, 16, (3, 7, 7), (2, 4, 4), (1, 3, 3)),
            nn.ReLU(),
            nn.Conv3d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv3d(32, config.width, 3, 2, 1),
        )
        random = generator(config.seed, "random features")
        for weight in self.parameters():
            fan_in = max(weight[0].numel(), 1)
            drawn = torch.randn(weight.shape, generator=random)
            weight.data.copy_(drawn * (2 / fan_in) ** 0.5 if weight.ndim > 1 else drawn * 0.1)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Features of clips whose pixels are in [-1, 1], averaged over time and space."""
        return self.layers(video.float()).mean((2, 3, 4))
