"""Autoencoders, which encode clips of video to latents and decode latents to clips."""

from longtake.autoencoders.base import Posterior as Posterior
from longtake.autoencoders.base import StreamDecoder as StreamDecoder
from longtake.autoencoders.base import VideoAutoencoder as VideoAutoencoder
from longtake.autoencoders.enlarger import EnlargerConfig as EnlargerConfig
from longtake.autoencoders.framewise import FramewiseAutoencoder as FramewiseAutoencoder
from longtake.autoencoders.framewise import FramewiseAutoencoderConfig as FramewiseAutoencoderConfig
from longtake.autoencoders.light import LightDecoder as LightDecoder
from longtake.autoencoders.light import LightTriplaneDecoderConfig as LightTriplaneDecoderConfig
from longtake.autoencoders.light import LightVolumeDecoderConfig as LightVolumeDecoderConfig
from longtake.autoencoders.redecoded import OtherDecoder as OtherDecoder
from longtake.autoencoders.redecoded import Redecoded as Redecoded
from longtake.autoencoders.streaming import WindowDecoder as WindowDecoder
from longtake.autoencoders.triplane import TriplaneAutoencoder as TriplaneAutoencoder
from longtake.autoencoders.triplane import TriplaneAutoencoderConfig as TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoder as VolumeAutoencoder
from longtake.autoencoders.volume import VolumeAutoencoderConfig as VolumeAutoencoderConfig
