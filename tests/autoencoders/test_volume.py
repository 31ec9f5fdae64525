import pytest
import torch

from longtake.autoencoders import VolumeAutoencoder, VolumeAutoencoderConfig
from longtake.config import ConfigError, parse, to_dict

TINY = VolumeAutoencoderConfig(clip=(4, 8, 8), factors=(2, 4, 4), hidden=2, groups=2)


@pytest.fixture
def model() -> VolumeAutoencoder:
    return TINY.build()


def test_a_latent_has_the_shape_that_the_spec_states(model):
    z = model.encode(torch.randn(2, 3, 4, 8, 8)).mean
    assert z.shape[1:] == model.spec.shape == (4, 2, 2, 2)
    assert model.spec.frames == 2
    assert model.decode(z).shape == (2, 3, 4, 8, 8)


@pytest.mark.parametrize("factors", [(1, 2, 2), (4, 1, 1), (4, 4, 4), (2, 8, 4)])
@torch.no_grad()
def test_any_powers_of_two_can_be_factors(factors):
    config = VolumeAutoencoderConfig(clip=(4, 8, 8), factors=factors, hidden=2, groups=2)
    model = config.build()
    z = model.encode(torch.randn(1, 3, 4, 8, 8)).mean
    assert z.shape[1:] == config.latent
    assert model.decode(z).shape == (1, 3, 4, 8, 8)


@torch.no_grad()
def test_other_sizes_than_the_trained_one_can_be_encoded(model):
    z = model.encode(torch.randn(1, 3, 6, 12, 4)).mean
    assert z.shape == (1, 4, 3, 3, 1)
    assert model.decode(z).shape == (1, 3, 6, 12, 4)


@torch.no_grad()
def test_a_sample_does_not_depend_on_the_others_in_its_batch(model):
    video = torch.randn(3, 3, 4, 8, 8)
    together = model.encode(video)
    alone = model.encode(video[1:2])
    torch.testing.assert_close(together.mean[1:2], alone.mean)
    torch.testing.assert_close(
        model.decode(together.mean)[1:2], model.decode(alone.mean), atol=1e-5, rtol=1e-4
    )


def test_every_weight_learns(model):
    posterior = model.encode(torch.randn(2, 3, 4, 8, 8))
    z = posterior.sample(torch.randn(posterior.mean.shape))
    model.decode(z).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_last_layer_is_what_the_pixels_come_from(model):
    assert model.last_layer is model.decoder.conv_out.weight
    assert model.last_layer.shape[0] == 3


@torch.no_grad()
def test_the_log_variance_is_clamped(model):
    assert model.to_moments.bias is not None
    model.to_moments.bias.copy_(torch.tensor([0.0] * 4 + [1e3, -1e3, 0.0, 0.0]))
    log_variance = model.encode(torch.zeros(1, 3, 4, 8, 8)).log_variance
    assert log_variance[:, 0].eq(20).all()
    assert log_variance[:, 1].eq(-30).all()


def test_embed_dim_is_the_width_of_the_latent_that_is_given_out():
    config = TINY.model_copy(update={"embed_dim": 6})
    model = config.build()
    z = model.encode(torch.randn(1, 3, 4, 8, 8)).mean
    assert z.shape[1:] == model.spec.shape == (6, 2, 2, 2)
    assert model.decode(z).shape == (1, 3, 4, 8, 8)


def test_the_config_is_kept_and_survives_yaml(model):
    assert model.config == parse(VolumeAutoencoderConfig, to_dict(TINY)) == TINY


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            (16, 64, 60),
            "width 60 is not divisible by 8; the nearest valid widths are 56 and 64",
        ),
        ((16, 4, 64), "height 4 is not divisible by 8; the nearest valid height is 8"),
        (
            (10, 64, 64),
            "frame count 10 is not divisible by 4; the nearest valid frame counts are 8 and 12",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_nearest_that_do(size, message):
    with pytest.raises(ConfigError, match=message):
        parse(VolumeAutoencoderConfig, {"clip": size})
    model = VolumeAutoencoderConfig(clip=(16, 64, 64), hidden=1, groups=1).build()
    with pytest.raises(ValueError, match=message):
        model.encode(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"factors": (4, 6, 8)}, "powers of two"),
        ({"factors": (1, 1, 1)}, "one must be over 1"),
        ({"hidden": 8}, "groups=32 must divide the 16 channels"),
    ],
)
def test_impossible_networks_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        parse(VolumeAutoencoderConfig, fields)
