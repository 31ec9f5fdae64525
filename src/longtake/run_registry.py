"""Every kind that only a run or an evaluation chooses; those of a model are in ``registry``.

As there, unions of which a config below this module has a field are only listed.
"""

from typing import Annotated

from pydantic import Field

from longtake.data.captions import AnyCaptions as AnyCaptions
from longtake.data.folders import SkyTimelapse, Taichi, VideoFolder
from longtake.data.synthetic import DoomWorld, MarblesWorld, SkyWorld
from longtake.data.ucf101 import UCF101
from longtake.features.i3d import I3DConfig
from longtake.features.random_features import RandomFeaturesConfig
from longtake.losses.autoencoder import AnyPerceptual as AnyPerceptual
from longtake.losses.discriminators import AnyDiscriminator as AnyDiscriminator

_Kind = Field(discriminator="kind")

AnySource = Annotated[
    SkyWorld | MarblesWorld | DoomWorld | VideoFolder | UCF101 | SkyTimelapse | Taichi, _Kind
]
"""Config of a source of videos for training."""

AnyNetwork = Annotated[I3DConfig | RandomFeaturesConfig, _Kind]
"""Config of the feature network of an evaluation protocol."""
