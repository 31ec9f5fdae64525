"""Laws of the triplane UNet."""

from typing import Any

import pytest
import torch
from conditions import predict
from torch import Tensor

from longtake.config import ConfigError, parse, to_dict
from longtake.denoisers import TriplaneUNet, TriplaneUNetConfig
from longtake.denoisers.triplane_unet import on_planes
from longtake.diffusion import DDIM, ClipSampler, Diffusion
from longtake.diffusion.signals import (
    ABSENT,
    label_signal,
    null,
    previous_signal,
    rows,
    text_signal,
)
from longtake.latents import Triplane
from longtake.nn.attention import SelfAttention
from longtake.nn.layers import GroupNorm
from longtake.noise import SampleNoise

OBLONG, SQUARE, CUBE = (2, 4, 6), (2, 4, 4), (4, 4, 4)


def config(**changes: Any) -> TriplaneUNetConfig:
    plain: dict[str, Any] = {
        "latent": (3, *SQUARE),
        "model_channels": 8,
        "channel_mult": (1, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (2,),
        "num_heads": 2,
        "groups": 4,
        "zero_init": False,
    }
    return TriplaneUNetConfig(**plain | changes)


def unet(**changes: Any) -> TriplaneUNet:
    return config(**changes).build()


def extent(planes: tuple[int, int, int]) -> Triplane:
    frames, height, width = planes
    return Triplane(frames=frames, height=height, width=width)


def drawn(batch: int = 2, planes: tuple[int, int, int] = SQUARE) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 3, sum(extent(planes).sizes)), torch.rand(batch)


@pytest.mark.parametrize("planes", [OBLONG, SQUARE, CUBE])
def test_a_sample_does_not_depend_on_its_batch(planes):
    network = unet(latent=(3, *planes), num_classes=3)
    z, t = drawn(3, planes)
    signals = {**previous_signal(drawn(3, planes)[0]), **label_signal([0, 2, ABSENT])}
    one = torch.tensor([1])
    whole = predict(network, z, t, signals)
    assert whole.shape == z.shape
    torch.testing.assert_close(whole[one], predict(network, z[one], t[one], rows(signals, one)))


@pytest.mark.parametrize("planes", [OBLONG, SQUARE, CUBE])
def test_planes_that_go_as_one_batch_are_not_mixed(planes):
    layer, there = SelfAttention(3, 1, GroupNorm(3, 3), "space"), extent(planes)
    z, _ = drawn(2, planes)
    together = on_planes(layer, z.transpose(1, 2), there).transpose(1, 2)
    alone = [layer(p.permute(0, 2, 3, 1)[:, None])[:, 0] for p in there.split(z)]
    torch.testing.assert_close(together, there.join(*(p.permute(0, 3, 1, 2) for p in alone)))


def test_the_motion_planes_of_square_frames_may_change_places_in_the_released_network():
    out, again = with_motion_planes_exchanged(unet())
    torch.testing.assert_close(out, again)


def test_a_plane_embedding_tells_the_motion_planes_apart():
    out, again = with_motion_planes_exchanged(unet(plane_embed=True))
    assert not torch.isclose(out, again).any()


def with_motion_planes_exchanged(network: TriplaneUNet) -> tuple[Tensor, Tensor]:
    """What a network makes, and what it makes where two planes are exchanged, exchanged back."""
    z, t = drawn()
    return predict(network, z, t), exchanged(predict(network, exchanged(z), t))


def exchanged(z: Tensor) -> Tensor:
    planes = extent(SQUARE)
    content, motion_h, motion_w = planes.split(z)
    return planes.join(content, motion_w, motion_h)


def test_every_plane_sees_every_other():
    network, planes = unet(), extent(SQUARE)
    z, t = drawn(1)
    before = planes.split(predict(network, z, t))
    for changed in range(3):
        parts = [part.clone() for part in planes.split(z)]
        parts[changed] += 1
        after = planes.split(predict(network, planes.join(*parts), t))
        assert not any(torch.allclose(a, b) for a, b in zip(before, after, strict=True))


def test_no_clip_before_is_a_clip_before_of_zeros():
    network = unet()
    z, t = drawn()
    previous = previous_signal(torch.randn_like(z))
    none = predict(network, z, t)
    assert torch.equal(predict(network, z, t, null(previous)), none)
    assert not torch.allclose(predict(network, z, t, previous), none)


def test_an_absent_label_adds_nothing():
    network = unet(num_classes=3)
    z, t = drawn()
    labels = label_signal([ABSENT, 2])
    with_label, without = predict(network, z, t, labels), predict(network, z, t)
    torch.testing.assert_close(with_label[0], without[0])
    assert not torch.allclose(with_label[1], without[1])
    torch.testing.assert_close(predict(network, z, t, null(labels)), without)


def test_a_network_says_what_it_reads_and_refuses_the_rest():
    assert unet().reads == {"previous"}
    assert unet(num_classes=3).reads == {"previous", "label"}
    network = unet(previous=False)
    assert network.reads == frozenset()
    z, t = drawn()
    with pytest.raises(ValueError, match="does not read the signal 'previous'"):
        Diffusion().losses(network, z, torch.randn_like(z), t, previous_signal(z))


def test_a_latent_has_bounds_and_no_axis_of_time():
    spec = unet().spec
    assert spec.shape == (3, 16 + 8 + 8)
    assert spec.frame_axis is None
    assert spec.bounds == (-1, 1)
    assert unet(bounds=None).spec.bounds is None


def test_a_fresh_network_predicts_zero():
    z, t = drawn()
    assert not predict(unet(zero_init=True), z, t).any()


def test_recomputed_activations_give_the_same_gradients():
    stored, recomputed = (unet(checkpoint=checkpoint) for checkpoint in (False, True))
    recomputed.load_state_dict(stored.state_dict())
    z, t = drawn()
    for network in (stored, recomputed):
        predict(network, z, t).square().mean().backward()
    for one, other in zip(stored.parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    "options",
    [{}, {"plane_embed": True}, {"scale_shift_norm": False, "resblock_updown": False}],
)
def test_every_weight_of_a_network_in_use_learns(options):
    network = unet(num_classes=3, **options)
    z, t = drawn()
    signals = {**previous_signal(torch.randn_like(z)), **label_signal([0, 1])}
    diffusion = Diffusion(loss="l2")
    noise = SampleNoise([0, 1]).normal(z.shape[1:])
    diffusion.losses(network, z, noise, t, signals).mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_weights_serve_planes_of_any_extent():
    small, large = unet(), unet(latent=(3, 4, 6, 8))
    large.load_state_dict(small.state_dict())
    z, t = drawn(1, (4, 6, 8))
    assert predict(large, z, t).shape == z.shape


def test_a_latent_of_another_extent_is_refused():
    network = unet()
    z, t = drawn()
    with pytest.raises(ValueError, match=r"a latent of shape \(3, 64\) must be \(3, 32\)"):
        predict(network, torch.cat([z, z], 2), t)
    short = previous_signal(z[:, :, :8])
    with pytest.raises(ValueError, match=r"clip before of shape \(3, 8\) must be \(3, 32\)"):
        predict(network, z, t, short)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 3}, "groups=3 must divide"),
        ({"channel_mult": ()}, "channel_mult is empty"),
        ({"latent": (3, 3, 4, 4)}, "3 frames of 4x4 positions must be divisible by 2"),
        ({"bounds": (1.0, -1.0)}, "must rise"),
        ({"channels": 8}, "channels"),
    ],
)
def test_configs_that_cannot_be_built_say_why(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(TriplaneUNetConfig, to_dict(config()) | changes)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        unet(num_heads=3)


def test_a_config_comes_back_from_plain_data():
    there = config(num_classes=3, head_channels=4)
    assert parse(TriplaneUNetConfig, to_dict(there)) == there


def test_a_network_in_bfloat16_samples_in_single_precision():
    network = unet(num_classes=3).to(torch.bfloat16)
    clips = ClipSampler(
        denoiser=network, diffusion=Diffusion(prediction="v"), sampler=DDIM(steps=2, eta=1)
    )
    previous = torch.randn(2, *network.spec.shape)
    z = clips({**label_signal([0, ABSENT]), **previous_signal(previous)}, (1, 2)).z
    assert z.dtype == torch.float32
    assert z.isfinite().all()


@torch.no_grad()
def test_any_text_is_without_effect_at_first_and_has_one_later():
    plain, reads = unet(), unet(text_width=6, zero_init=True)
    own = reads.load_state_dict(plain.state_dict(), strict=False)
    assert not own.unexpected_keys
    z, t = drawn()
    texts = torch.randn(2, 5, 6)
    for text in (texts, torch.zeros_like(texts)):
        signals = text_signal(text)
        assert torch.equal(predict(reads, z, t, signals), predict(plain, z, t, {}))
    assert reads.needs == {"text"}
    mixed = unet(text_width=6)
    found = predict(mixed, z, t, text_signal(texts))
    swapped = predict(mixed, z, t, text_signal(texts.flip(0)))
    assert not torch.allclose(found, swapped)


def test_pooled_and_token_states_both_get_a_gradient():
    network = unet(text_width=6, checkpoint=True)
    z, t = drawn()
    text = torch.randn(2, 5, 6, requires_grad=True)
    predict(network, z, t, text_signal(text)).square().sum().backward()
    assert text.grad is not None
    assert (text.grad != 0).all()
    assert network.text_embed is not None
    assert network.middle.to_text is not None
    for layer in (network.text_embed.first, network.middle.to_text.to_k):
        assert layer.weight.grad is not None
        assert layer.weight.grad.abs().max() > 0


@torch.no_grad()
def test_padding_of_zeros_does_not_change_the_pooled_text():
    network = unet(text_width=6)
    assert network.text_embed is not None
    text = torch.randn(2, 5, 6)
    padded = torch.cat([text, torch.zeros(2, 3, 6)], 1)
    torch.testing.assert_close(network.text_embed(padded), network.text_embed(text))
