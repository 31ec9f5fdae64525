"""Enlarged frames: of the autoencoder's own, frame by frame, in streams as in clips."""

import pytest
import torch

from longtake.autoencoders import (
    EnlargerConfig,
    TriplaneAutoencoderConfig,
    VideoAutoencoder,
    VolumeAutoencoderConfig,
)
from longtake.autoencoders.enlarger import Enlarger
from longtake.config import ConfigError, parse

CONFIG = EnlargerConfig(clip=(4, 16, 16), width=8, blocks=1)
VOLUME = VolumeAutoencoderConfig(
    clip=(4, 8, 8), factors=(2, 2, 2), hidden=2, groups=2, z_channels=2
)
PLANES = TriplaneAutoencoderConfig(
    clip=(4, 8, 8), patch=2, width=8, depth=1, heads=1, head_channels=8, embed_dim=2
)
BOTH = pytest.mark.parametrize("config", [VOLUME, PLANES], ids=["volume", "planes"])


@pytest.fixture
def network() -> Enlarger:
    """With a last layer that is not zero, as it is before training."""
    network = CONFIG.build()
    torch.nn.init.normal_(network.out.weight, std=0.05)
    return network.requires_grad_(False)


def joined(model: VideoAutoencoder, z: torch.Tensor) -> torch.Tensor:
    return torch.cat(list(model.stream_decode([z])), 2)


@BOTH
def test_untrained_it_repeats_every_pixel(config):
    model = CONFIG.build().beside(config.build())
    z = torch.randn(2, *model.spec.shape)
    own = model.autoencoder.decode(z)
    assert torch.equal(model.decode(z), own.repeat_interleave(2, 3).repeat_interleave(2, 4))
    assert model.spec.clip == (4, 16, 16)


@BOTH
def test_what_comes_out_is_the_enlarged_frames_of_the_autoencoder(config, network: Enlarger):
    model = network.beside(config.build())
    z = torch.randn(1, *model.spec.shape)
    assert torch.equal(model.decode(z), network(model.autoencoder.decode(z)))
    whole = joined(model, torch.cat([z, -z], 2))
    assert whole.shape == (1, 3, 8, 16, 16)


def test_a_frame_does_not_depend_on_others(network: Enlarger):
    video = torch.rand(2, 3, 4, 8, 8)
    single = torch.cat([network(frame) for frame in video.split(1, 2)], 2)
    torch.testing.assert_close(network(video), single, rtol=0, atol=1e-6)


def test_half_precision_comes_back_in_the_precision_of_the_frames(network: Enlarger):
    video = torch.rand(1, 3, 4, 8, 8)
    made = network(video)
    half = network.bfloat16()(video)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, made, rtol=0.05, atol=0.03)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, at its first derivative
def test_forward_and_backward_derivatives_agree(network: Enlarger):
    network.double()
    video, along = (torch.randn(1, 3, 2, 8, 8, dtype=torch.float64) for _ in range(2))
    made, moved, *_ = torch.func.jvp(network, (video,), (along,))
    other = torch.randn_like(made)
    pulled = torch.func.vjp(network, video)[1](other)[0]
    torch.testing.assert_close((moved * other).sum(), (pulled * along).sum())


def test_training_changes_the_enlarger_alone(network: Enlarger):
    model = network.beside(VOLUME.build())
    assert model.trained is network
    assert model.last_layer is network.out.weight


def test_sizes_that_do_not_fit_are_refused(network: Enlarger):
    with pytest.raises(ConfigError, match="must be multiples of 4"):
        parse(EnlargerConfig, {"clip": (4, 18, 16)})
    with pytest.raises(ConfigError, match="must be the autoencoder's"):
        parse(EnlargerConfig, {"clip": (8, 16, 16)}).build().beside(VOLUME.build())
    with pytest.raises(ConfigError, match="set factor=4"):
        parse(EnlargerConfig, {"clip": (4, 32, 32)}).build().beside(VOLUME.build())
