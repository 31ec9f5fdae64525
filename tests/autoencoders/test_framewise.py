import pytest
import torch

from longtake.autoencoders.framewise import FramewiseAutoencoder, FramewiseAutoencoderConfig
from longtake.config import ConfigError, parse, to_dict
from longtake.model import ModelIndex, VideoModel

TINY = FramewiseAutoencoderConfig(
    clip=(3, 8, 16), channels=2, width=8, channel_mult=(1, 2), num_res_blocks=1, groups=4
)


@pytest.fixture
def model() -> FramewiseAutoencoder:
    return TINY.build().eval()


@torch.no_grad()
def test_a_frame_is_coded_as_if_it_were_alone(model):
    video = torch.rand(2, 3, 3, 8, 16) * 2 - 1
    posterior = model.encode(video)
    alone = model.encode(video[1:, :, 2:])
    assert posterior.mean.shape[1:] == model.spec.shape == (2, 3, 4, 8)
    assert torch.equal(posterior.mean[1:, :, 2:], alone.mean)
    assert torch.equal(posterior.log_variance[1:, :, 2:], alone.log_variance)
    assert torch.equal(model.decode(posterior.mean)[1:, :, 2:], model.decode(alone.mean))


@torch.no_grad()
def test_frames_coded_together_differ_by_rounding_alone(model):
    together = TINY.model_copy(update={"frames_at_once": 4}).build().eval()
    together.load_state_dict(model.state_dict())
    video = torch.rand(2, 3, 5, 8, 16) * 2 - 1
    z = model.encode(video).mean
    torch.testing.assert_close(together.encode(video).mean, z, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.decode(z), model.decode(z), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frames_at_once", [1, 2, 3, 64])
@torch.no_grad()
def test_no_more_frames_are_in_the_network_than_asked(model, frames_at_once):
    model.config = model.config.model_copy(update={"frames_at_once": frames_at_once})
    sizes = []
    model.coder.decoder.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    model.decode(torch.randn(2, 2, 7, 2, 2))
    assert sum(sizes) == 14
    assert max(sizes) == min(frames_at_once, 14)


@pytest.mark.parametrize("cuts", [[7], [1] * 7, [2, 1, 4]])
@torch.no_grad()
def test_a_stream_equals_the_whole_bit_for_bit_however_it_is_cut(model, cuts):
    z = torch.randn(2, 2, 7, 4, 8)
    stream = torch.cat([*model.stream_decode(z.split(cuts, 2))], 2)
    assert torch.equal(stream, model.decode(z))


@torch.no_grad()
def test_a_restored_stream_continues_bit_for_bit(model):
    first, second = torch.randn(2, 1, 2, 2, 4, 8)
    decoder, other = model.stream_decoder(), model.stream_decoder()
    decoder.push(first)
    other.restore(decoder.state())
    assert decoder.state() == {}
    assert torch.equal(other.push(second), decoder.push(second))
    assert decoder.flush() is None


def test_clips_of_frames_follow_each_other(model):
    with pytest.raises(ValueError, match="overlap=1 must be 0 for latents with a time axis"):
        model.stream_decoder(clip_overlap=1)


@torch.no_grad()
def test_any_size_that_the_factor_divides_goes(model):
    z = model.encode(torch.rand(1, 3, 5, 6, 10)).mean
    assert z.shape == (1, 2, 5, 3, 5)
    assert model.decode(z).shape == (1, 3, 5, 6, 10)
    assert model.spec.pixel_frames(z) == 5


def test_frames_whose_size_the_factor_does_not_divide_are_refused(model):
    with pytest.raises(ValueError, match=r"width 9 is not divisible by 2; .* widths are 8 and 10"):
        model.encode(torch.zeros(1, 3, 1, 8, 9))
    with pytest.raises(ValueError, match=r"height 1 is not divisible by 2; .* height is 2"):
        model.encode(torch.zeros(1, 3, 1, 1, 8))


def test_every_weight_learns(model):
    posterior = model.encode(torch.randn(1, 3, 2, 8, 16))
    model.decode(posterior.sample(torch.randn(posterior.mean.shape))).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith("to_k.bias"):  # softmax does not see it
            assert parameter.grad.abs().sum() > 0, name


def test_the_last_layer_is_what_the_pixels_come_from(model):
    assert model.last_layer is model.coder.decoder.conv_out.weight
    assert model.last_layer.shape[0] == 3


def test_a_model_folder_holds_it(model, tmp_path):
    VideoModel(index=ModelIndex(), autoencoder=model).save_pretrained(tmp_path / "model")
    opened = VideoModel.from_pretrained(tmp_path / "model").autoencoder
    assert isinstance(opened, FramewiseAutoencoder)
    assert opened.config == model.config
    z = torch.randn(1, *model.spec.shape)
    with torch.no_grad():
        assert torch.equal(opened.decode(z), model.decode(z))


def test_the_config_is_kept_and_survives_yaml(model):
    assert model.config == parse(FramewiseAutoencoderConfig, to_dict(TINY)) == TINY


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clip": (16, 250, 256)}, "height 250 is not divisible by 8; .* are 248 and 256"),
        ({"groups": 48}, "groups=48 must divide a level's 128 channels"),
        ({"channel_mult": ()}, "channel_mult is empty"),
    ],
)
def test_impossible_networks_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        parse(FramewiseAutoencoderConfig, fields)
