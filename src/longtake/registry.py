"""Every kind that a config can choose: a new kind is one file and one line in its union here.

Some unions are defined beside a config that has a field of them and only listed here: a schedule
is part of ``Diffusion``, discriminators of the autoencoder's loss, captions of a folder of videos.
Those configs are below this module (a folder of videos is itself a kind of source), so that they
cannot import it.
"""

from typing import Annotated

from pydantic import Field

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.data.captions import AnyCaptions
from longtake.data.folders import UCF101, SkyTimelapse, Taichi, VideoFolder
from longtake.data.synthetic import DoomWorld, MarblesWorld, SkyWorld
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.denoisers.volume_unet import Attention, VolumeUNetConfig
from longtake.diffusion.diffusers_sampler import DiffusersSampler
from longtake.diffusion.guidance import ClassifierFree, Unguided
from longtake.diffusion.samplers import DDIM, DDPM
from longtake.diffusion.schedule import AnySchedule
from longtake.diffusion.timesteps import AnyTimePattern, AnyTimestepSampling
from longtake.features.i3d import I3DConfig
from longtake.features.random_features import RandomFeaturesConfig
from longtake.losses.autoencoder import AnyPerceptual
from longtake.losses.discriminators import AnyDiscriminator
from longtake.rollout import Autoregressive, Hierarchical, NextClip, OneClip

AnyAutoencoder = Annotated[
    VolumeAutoencoderConfig | TriplaneAutoencoderConfig | FramewiseAutoencoderConfig,
    Field(discriminator="kind"),
]
AnyDenoiser = Annotated[VolumeUNetConfig | TriplaneUNetConfig, Field(discriminator="kind")]
AnySampler = Annotated[DDPM | DDIM | DiffusersSampler, Field(discriminator="kind")]
AnyGuidance = Annotated[Unguided | ClassifierFree, Field(discriminator="kind")]
AnyRollout = Annotated[
    OneClip | Autoregressive | Hierarchical | NextClip, Field(discriminator="kind")
]
AnySource = Annotated[
    SkyWorld | MarblesWorld | DoomWorld | VideoFolder | UCF101 | SkyTimelapse | Taichi,
    Field(discriminator="kind"),
]
AnyNetwork = Annotated[I3DConfig | RandomFeaturesConfig, Field(discriminator="kind")]

__all__ = [
    "AnyAutoencoder",
    "AnyCaptions",
    "AnyDenoiser",
    "AnyDiscriminator",
    "AnyGuidance",
    "AnyNetwork",
    "AnyPerceptual",
    "AnyRollout",
    "AnySampler",
    "AnySchedule",
    "AnySource",
    "AnyTimePattern",
    "AnyTimestepSampling",
    "Attention",
]
