"""Stable Diffusion's image autoencoder as the official LVDM code holds it, frame by frame."""

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from convert import official_layout
from golden_case import FOLDERS, Golden

from longtake.autoencoders.framewise import FramewiseAutoencoder, FramewiseAutoencoderConfig
from longtake.convert.autoencoder_keys import FRAMEWISE

rename = partial(official_layout.rename, FRAMEWISE)
to_official = partial(official_layout.to_official, FRAMEWISE)


def network(golden) -> tuple[Golden, FramewiseAutoencoder]:
    case = golden("lvdm/ae2d_small")
    official = case.info["config"]["ddconfig"]
    config = FramewiseAutoencoderConfig(
        clip=(2, 32, 32),
        channels=case.info["config"]["embed_dim"],
        width=official["ch"],
        channel_mult=official["ch_mult"],
        num_res_blocks=official["num_res_blocks"],
    )
    model = config.build()
    model.load_state_dict(FRAMEWISE.from_official(case.weights(), config))
    return case, model.eval()


@torch.no_grad()
def test_the_posterior_of_every_frame_is_official(golden):
    case, model = network(golden)
    video = case["in.image"].movedim(0, 1)[None]
    posterior = model.encode(video)
    moments = torch.cat([posterior.mean, posterior.log_variance], 1)
    case.close("moments", moments[0].movedim(1, 0))


@torch.no_grad()
def test_every_frame_is_decoded_as_officially(golden):
    case, model = network(golden)
    video = model.decode(case["in.z"].movedim(0, 1)[None])
    case.close("dec", video[0].movedim(1, 0))


def test_official_weights_come_back_as_they_were(golden):
    case, model = network(golden)
    official = to_official(model.state_dict(), model.config)
    weights = case.weights()
    assert official.keys() == weights.keys()
    assert all(torch.equal(official[key], weights[key]) for key in weights)


def test_the_default_config_is_the_released_one():
    path = next(
        (f for at in FOLDERS if (f := Path(at) / "lvdm" / "keys" / "ae2d_t2v.json").exists()), None
    )
    if path is None:
        pytest.skip("the released key list is missing")
    released = {key: tuple(shape) for key, shape in json.loads(path.read_text()).items()}
    assert FRAMEWISE.shapes(FramewiseAutoencoderConfig()) == released
    assert sum(math.prod(shape) for shape in released.values()) == 83_653_863


TINY = FramewiseAutoencoderConfig(
    clip=(2, 8, 8), width=8, channel_mult=(1, 2), num_res_blocks=1, groups=4
)


def test_names_go_both_ways():
    state = TINY.build().state_dict()
    official = to_official(state, TINY)
    assert [rename(key, TINY) for key in official] == [*state]
    back = FRAMEWISE.from_official(official | {"loss.logvar": torch.zeros(())}, TINY)
    assert all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("decoder.up.0.block.1.nin_shortcut.bias", None),
        ("decoder.up.0.block.0.nin_shortcut.bias", "up_blocks.1.resnets.0.conv_shortcut.bias"),
        ("decoder.up.1.upsample.conv.bias", "up_blocks.0.upsamplers.0.conv.bias"),
        ("encoder.mid.attn_1.proj_out.weight", "encoder.mid_block.attentions.0.to_out.0.weight"),
    ],
)
def test_levels_of_the_way_up_are_counted_from_the_other_end(official: str, ours: str | None):
    if ours is None:
        assert official not in FRAMEWISE.names(TINY).values()
    else:
        assert rename(official, TINY).endswith(ours)


def test_weights_that_do_not_fit_are_named():
    official = to_official(TINY.build().state_dict(), TINY)
    less = {key: value for key, value in official.items() if key != "quant_conv.bias"}
    with pytest.raises(ValueError, match=r"lacks weights quant_conv\.bias;"):
        FRAMEWISE.from_official(less, TINY)
    with pytest.raises(ValueError, match=r"has the unknown weights quant_conv\.scale;"):
        FRAMEWISE.from_official(official | {"quant_conv.scale": torch.ones(1)}, TINY)
    with pytest.raises(ValueError, match=r"does not fit in weights quant_conv\.bias \(3,\), exp"):
        FRAMEWISE.from_official(official | {"quant_conv.bias": torch.ones(3)}, TINY)
