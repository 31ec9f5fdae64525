"""Every kind that a model's config can choose: a new kind is one file, and one line here.

``run_registry`` lists the kinds that only runs and evaluations choose, such as sources of videos:
to open a model, none of them is imported.

Unions of which a config below this module has a field, as ``Diffusion`` has of schedules, are
defined beside that config and only listed here.
"""

from typing import Annotated

from pydantic import Field

from longtake.autoencoders.enlarger import EnlargerConfig
from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.light import LightTriplaneDecoderConfig, LightVolumeDecoderConfig
from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.denoisers.volume_transformer import VolumeTransformerConfig
from longtake.denoisers.volume_unet import Attention as Attention
from longtake.denoisers.volume_unet import VolumeUNetConfig
from longtake.diffusion.diffusers_sampler import DiffusersSampler
from longtake.diffusion.guidance import Autoguidance, ClassifierFree, Unguided
from longtake.diffusion.samplers import DDIM, DDPM
from longtake.diffusion.schedule import AnySchedule as AnySchedule
from longtake.diffusion.signals.context_cases import AnyContextCase as AnyContextCase
from longtake.diffusion.timesteps import AnyTimePattern as AnyTimePattern
from longtake.diffusion.timesteps import AnyTimestepSampling as AnyTimestepSampling
from longtake.rollout import (
    Autoregressive,
    DiffusionForcing,
    Fifo,
    Hierarchical,
    NextClip,
    OneClip,
)
from longtake.text import AnyTextEncoder as AnyTextEncoder

_Kind = Field(discriminator="kind")

AnyAutoencoder = Annotated[
    VolumeAutoencoderConfig | TriplaneAutoencoderConfig | FramewiseAutoencoderConfig, _Kind
]
"""Config of an autoencoder."""

AnyDecoder = Annotated[
    LightVolumeDecoderConfig | LightTriplaneDecoderConfig | EnlargerConfig, _Kind
]
"""Config of another decoder of an autoencoder's latents."""

AnyDenoiser = Annotated[VolumeUNetConfig | VolumeTransformerConfig | TriplaneUNetConfig, _Kind]
"""Config of a denoiser."""

AnySampler = Annotated[DDPM | DDIM | DiffusersSampler, _Kind]
"""Settings of a sampler."""

AnyGuidance = Annotated[Unguided | ClassifierFree | Autoguidance, _Kind]
"""Settings of guidance."""

AnyRollout = Annotated[
    OneClip | Autoregressive | Hierarchical | NextClip | DiffusionForcing | Fifo, _Kind
]
"""Settings of a rollout, by which clips become a long video."""
