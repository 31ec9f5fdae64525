"""Laws of the volume UNet."""

from typing import Any

import pytest
import torch
from conditions import NOTHING, predict
from torch import Tensor

from longtake.config import ConfigError, parse, to_dict
from longtake.denoisers import VolumeUNet, VolumeUNetConfig
from longtake.diffusion import (
    DDIM,
    ClassifierFree,
    ClipSampler,
    Cosine,
    Diffusion,
    Linear,
    NoiseSchedule,
    RectifiedFlow,
    ScaledLinear,
    Staggered,
)
from longtake.diffusion.signals import (
    ABSENT,
    Signals,
    context_signals,
    label_signal,
    null,
    rows,
    text_signal,
)
from longtake.nn.attention import (
    JointAttentionConfig,
    RelativePositionConfig,
    SpaceTimeAttentionConfig,
)
from longtake.nn.transformer import TransformerConfig
from longtake.training.initial_weights import start_from

TEXTBOOK = SpaceTimeAttentionConfig(relative_position=RelativePositionConfig(official_key=False))
BLIND = SpaceTimeAttentionConfig(relative_position=None)
TEXT = TransformerConfig(num_heads=2, context_dim=6, max_distance=3)
LATER_TEXT = SpaceTimeAttentionConfig(context_dim=6)
READING = (TEXT, LATER_TEXT)
SCHEDULES = (ScaledLinear(), Linear(), Cosine(), Cosine(shift=0.25), RectifiedFlow())
KNOWING: dict[str, Any] = {"mask_channel": True, "noise_classes": 5}


def config(**changes: Any) -> VolumeUNetConfig:
    plain: dict[str, Any] = {
        "latent": (3, 4, 4, 4),
        "model_channels": 8,
        "channel_mult": (1, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (2,),
        "groups": 4,
        "zero_init": False,
    }
    return VolumeUNetConfig(**plain | changes)


def unet(**changes: Any) -> VolumeUNet:
    return config(**changes).build()


def drawn(batch: int = 2, shape: tuple[int, ...] = (3, 4, 4, 4)) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, *shape), torch.rand(batch)


def context(batch: int, frames: tuple[bool, ...], time: float = 0.002) -> Signals:
    mask = torch.tensor(frames).expand(batch, -1)
    return context_signals(torch.zeros(batch, 3, 4, 4, 4), mask, torch.full((batch,), time))


@pytest.mark.parametrize(
    "attention", [SpaceTimeAttentionConfig(), TEXTBOOK, BLIND, JointAttentionConfig(), *READING]
)
def test_a_sample_does_not_depend_on_its_batch(attention):
    network = unet(attention=attention)
    z, t = drawn(3)
    signals = text_signal(torch.randn(3, 2, 6)) if attention in READING else NOTHING
    one = torch.tensor([1])
    torch.testing.assert_close(
        predict(network, z, t, signals)[one], predict(network, z[one], t[one], rows(signals, one))
    )


def test_the_same_input_gives_the_same_output():
    network = unet()
    z, t = drawn()
    assert torch.equal(predict(network, z, t), predict(network, z, t))


def test_an_absent_label_adds_nothing():
    network = unet(num_classes=3)
    z, t = drawn()
    labels = label_signal([ABSENT, 2])
    with_label, without = predict(network, z, t, labels), predict(network, z, t)
    torch.testing.assert_close(with_label[0], without[0])
    assert not torch.allclose(with_label[1], without[1])
    torch.testing.assert_close(predict(network, z, t, null(labels)), without)


@pytest.mark.parametrize("options", [KNOWING, {"frame_times": True}, {"mask_channel": True}])
def test_without_context_frames_nothing_is_given(options):
    network = unet(**options)
    z, t = drawn()
    absent = null(context(2, (True,) * 4))
    torch.testing.assert_close(predict(network, z, t, absent), predict(network, z, t))


@pytest.mark.parametrize(
    "options",
    [
        {"mask_channel": True},
        {"frame_times": True},
        {"frame_times": True, "known_time_embed": True},
    ],
)
def test_which_frames_are_known_matters(options):
    network = unet(**options)
    z, t = drawn()
    first = predict(network, z, t, context(2, (True, False, False, False)))
    last = predict(network, z, t, context(2, (False, False, False, True)))
    assert not torch.allclose(first, last)
    assert "context" in network.reads


@pytest.mark.parametrize("options", [KNOWING, {"frame_times": True}])
def test_the_noise_on_context_frames_is_given(options):
    network = unet(**options)
    z, t = drawn()
    frames = (True, False, False, False)
    clean, noisy = (context(2, frames, time) for time in (0.001, 0.005))
    assert not torch.allclose(predict(network, z, t, clean), predict(network, z, t, noisy))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("time", [0.0005, 0.05, 0.3, 0.7321])
def test_a_context_frame_is_as_one_of_a_clip_at_its_time(schedule: NoiseSchedule, time: float):
    network = unet(frame_times=True)
    z, _ = drawn()
    at_time, all_given = torch.full((2,), time), context(2, (True,) * 4, time)
    want = predict(network, z, at_time, schedule=schedule)
    for got in (
        predict(network, z, torch.full((2,), 0.8), all_given, schedule),
        predict(network, z, at_time[:, None].expand(-1, 4), schedule=schedule),
    ):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


def test_a_frame_may_have_a_time_of_its_own():
    network = unet(frame_times=True)
    z, t = drawn()
    last_noisier = t[:, None].expand(-1, 4).clone()
    last_noisier[:, 3] += 0.1
    assert not torch.allclose(predict(network, z, last_noisier), predict(network, z, t))


def test_times_of_another_shape_are_refused():
    z, t = drawn()
    with pytest.raises(ValueError, match=r"shape \(2, 3\) must be of shape \(2,\) or \(2, 4\)"):
        predict(unet(frame_times=True), z, t[:, None].expand(-1, 3))
    with pytest.raises(ValueError, match=r"shape \(2, 4\) must be of shape \(2,\) for VolumeUNet"):
        predict(unet(), z, t[:, None].expand(-1, 4))


def test_attention_blind_to_position_commutes_with_the_order_of_frames():
    z, t = drawn()
    order = torch.tensor([2, 0, 3, 1])
    blind, placed, joint = (unet(attention=a) for a in (BLIND, TEXTBOOK, JointAttentionConfig()))
    torch.testing.assert_close(predict(blind, z[:, :, order], t), predict(blind, z, t)[:, :, order])
    for network in (placed, joint):
        shuffled = predict(network, z[:, :, order], t)
        assert not torch.allclose(shuffled, predict(network, z, t)[:, :, order], atol=1e-4)


def test_the_released_key_term_differs_from_the_textbook_form():
    official, textbook = unet(), unet(attention=TEXTBOOK)
    textbook.load_state_dict(official.state_dict())
    z, t = drawn()
    assert not torch.allclose(predict(official, z, t), predict(textbook, z, t))


def test_a_fresh_network_predicts_zero():
    z, t = drawn()
    assert not predict(unet(zero_init=True), z, t).any()


@pytest.mark.parametrize("attention", [SpaceTimeAttentionConfig(), *READING])
def test_recomputed_activations_give_the_same_gradients(attention):
    stored, recomputed = (unet(attention=attention, checkpoint=c) for c in (False, True))
    recomputed.load_state_dict(stored.state_dict())
    z, t = drawn()
    signals = text_signal(torch.randn(2, 2, 6)) if attention in READING else NOTHING
    losses = [predict(network, z, t, signals).square().mean() for network in (stored, recomputed)]
    torch.testing.assert_close(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    for one, other in zip(stored.parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": JointAttentionConfig()},
        {"scale_shift_norm": False, "resblock_updown": True},
    ],
)
def test_every_weight_of_a_network_in_use_learns(options):
    network = unet(num_classes=3, **KNOWING, **options)
    z, t = drawn()
    signals = {**label_signal([0, 1]), **context(2, (True, False, False, True))}
    predict(network, z, t, signals).square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("shape", [(3, 7, 4, 4), (3, 1, 6, 2), (3, 2, 8, 8)])
def test_clips_of_other_sizes_work(shape):
    z, t = drawn(1, shape)
    assert predict(unet(), z, t).shape == z.shape


def test_a_size_that_cannot_be_halved_is_refused():
    z, t = drawn(1, (3, 4, 5, 4))
    with pytest.raises(ValueError, match="5x4 positions must be divisible by 2"):
        predict(unet(), z, t)


def test_a_network_starts_without_heed_of_text_from_one_that_reads_none():
    trained = unet(num_classes=3, mask_channel=True)
    network = unet(attention=LATER_TEXT, pool_text=True, mask_channel=True, zero_init=True)
    start_from(network, trained, "trained")
    z, t = drawn()
    shown = predict(network, z, t, text_signal(torch.randn(2, 5, 6)))
    assert torch.equal(shown, predict(trained, z, t))
    back = unet(num_classes=3, mask_channel=True)
    start_from(back, network, "network")
    assert torch.equal(predict(back, z, t), shown)


def test_without_new_weights_or_text_nothing_is_left_to_train():
    reads_classes, reads_text = unet(num_classes=3), unet(attention=LATER_TEXT, pool_text=True)
    with pytest.raises(ConfigError, match="leaves nothing to train: lvdm gives all weights"):
        start_from(unet(num_classes=3), reads_classes, "lvdm", freeze=True)
    network = unet(attention=LATER_TEXT, pool_text=True)
    start_from(network, reads_text, "lvdm", freeze=True)
    learnt = {name for name, x in network.named_parameters() if x.requires_grad}
    assert learnt
    assert all("text" in name or ".cross." in name for name in learnt)


@pytest.mark.parametrize("options", [{}, {"pool_text": True}])
def test_every_weight_of_a_network_with_text_learns_and_text_matters(options: dict[str, Any]):
    network = unet(attention=LATER_TEXT, **options)
    z, t = drawn()
    one, other = (text_signal(torch.randn(2, 5, 6)) for _ in range(2))
    shown = predict(network, z, t, one)
    assert not torch.allclose(shown, predict(network, z, t, other))
    shown.square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_padding_of_a_text_is_left_out_of_its_mean():
    network = unet(attention=LATER_TEXT, pool_text=True)
    assert network.text_embed is not None
    short, padding = torch.randn(2, 3, 6), torch.zeros(2, 4, 6)
    padded = torch.cat([short, padding], 1)
    torch.testing.assert_close(network.text_embed(padded), network.text_embed(short))


@pytest.mark.parametrize("attention", READING)
def test_text_that_is_read_must_be_given(attention):
    network = unet(attention=attention)
    assert network.reads == {"text"}
    with pytest.raises(ValueError, match="VolumeUNet needs the signal 'text'"):
        Diffusion().estimator(network, NOTHING)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 3}, "groups=3 must divide"),
        ({"channel_mult": ()}, "channel_mult is empty"),
        ({"known_time_embed": True}, "needs frame_times"),
        ({"noise_classes": 5, "frame_times": True}, "choose one"),
        ({"pool_text": True}, "set attention.context_dim"),
        ({"needs_text": False}, "needs_text=false is for a network that reads text"),
        ({"channels": 8}, "channels"),
    ],
)
def test_configs_that_cannot_be_built_say_why(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(VolumeUNetConfig, to_dict(config()) | changes)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        unet(attention=SpaceTimeAttentionConfig(num_heads=3))


def test_a_config_comes_back_from_plain_data():
    there = config(attention=LATER_TEXT, pool_text=True)
    assert parse(VolumeUNetConfig, to_dict(there)) == there


def test_a_network_in_bfloat16_samples_in_single_precision():
    network = unet(frame_times=True, num_classes=3).to(torch.bfloat16)
    clips = ClipSampler(
        denoiser=network,
        diffusion=Diffusion(schedule=RectifiedFlow(), prediction="flow"),
        sampler=DDIM(steps=3),
        guidance=ClassifierFree(scale=2),
        pattern=Staggered(),
    )
    z = clips({**label_signal([0, 2]), **context(2, (True, False, False, False))}, (1, 2)).z
    assert z.dtype == torch.float32
    assert z.isfinite().all()
