"""The volume UNet computes what the official LVDM code computes."""

import json
import math
from functools import partial
from itertools import takewhile

import pytest
import torch
from conditions import predict, table_time
from convert import official_layout
from golden_case import FOLDERS, Golden
from torch import Tensor, nn

from longtake.convert.unet_keys import LVDM
from longtake.denoisers import VolumeUNet, VolumeUNetConfig
from longtake.diffusion.signals import Signals, context_signals, null, text_signal
from longtake.nn.attention import (
    JointAttentionConfig,
    RelativePositionConfig,
    SpaceTimeAttentionConfig,
)
from longtake.nn.embedding import sinusoids
from longtake.nn.transformer import TransformerConfig

rename = partial(official_layout.rename, LVDM)
to_official = partial(official_layout.to_official, LVDM)


def st_attention(official: dict) -> SpaceTimeAttentionConfig:
    reach = official["temporal_length"] if official["use_relative_position"] else None
    return SpaceTimeAttentionConfig(
        num_heads=official["num_heads"],
        relative_position=reach and RelativePositionConfig(max_distance=reach),
    )


def st_transformer(official: dict) -> TransformerConfig:
    return TransformerConfig(
        num_heads=official["num_heads"],
        context_dim=official["context_dim"],
        max_distance=official["temporal_length"],
    )


def config_of(official: dict, **ours) -> VolumeUNetConfig:
    """Our config of an official one."""
    attention = st_transformer if official["use_temporal_transformer"] else st_attention
    size = official["image_size"]
    return VolumeUNetConfig(
        latent=(4, official["temporal_length"], size, size),
        model_channels=official["model_channels"],
        channel_mult=official["channel_mult"],
        num_res_blocks=official["num_res_blocks"],
        attention_resolutions=official["attention_resolutions"],
        attention=attention(official),
        scale_shift_norm=official.get("use_scale_shift_norm", False),
        resblock_updown=official.get("resblock_updown", False),
        noise_classes=official.get("num_classes"),
        mask_channel=official["in_channels"] == 5,
        **ours,
    )


def network(golden, case: str, **ours) -> tuple[Golden, VolumeUNet]:
    found = golden(f"lvdm/{case}")
    config = config_of(found.info["config"], **ours)
    unet = config.build()
    unet.load_state_dict(LVDM.from_official(found.weights(), config))
    return found, unet.eval()


def context(case: Golden) -> Signals:
    mask = case["in.mask"][:, 0, :, 0, 0].bool()
    return context_signals(case["in.x"], mask, table_time(case["in.s"]))


def activations(unet: VolumeUNet, official: set[str]) -> dict[str, Tensor]:
    """Outputs of the modules that correspond to official ones, filled in as the network runs."""
    found: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            out = output[:1]
            found[name] = out.permute(0, 4, 1, 2, 3) if out.ndim == 5 else out

        return hook

    for name in official:
        module = unet.get_submodule(module_name(name, unet.config))
        while type(module).forward is nn.Module.forward:  # its parts are called
            *_, module = module.children()
        module.register_forward_hook(keep(name))
    return found


def module_name(official: str, config: VolumeUNetConfig) -> str:
    """Our module whose output is that of an official one: the least that holds its weights."""
    names = LVDM.names(config).items()
    ours = [our.split(".")[:-1] for our, their in names if their.startswith(f"{official}.")]
    alike = zip(*ours, strict=False)
    return ".".join(steps[0] for steps in takewhile(lambda steps: len(set(steps)) == 1, alike))


@torch.no_grad()
def test_unconditional_unet_and_its_activations(golden):
    case, unet = network(golden, "unet_short")
    names = {k.removeprefix("act.") for k in case.tensors if k.startswith("act.")}
    found = activations(unet, names)
    case.close("eps", predict(unet, case["in.x"], table_time(case["in.t"])))
    for name in names:
        case.close(name, found[name])


@torch.no_grad()
def test_more_frames_than_relative_position_reaches(golden):
    case, unet = network(golden, "unet_short")
    case.close("eps_T7", predict(unet, case["in.x7"], table_time(case["in.t7"])))


def test_sinusoids(golden):
    case = golden("lvdm/unet_short")
    case.close("t_emb", sinusoids(case["in.t"].float(), 32))
    case.close("t_emb_odd", sinusoids(case["in.t"].float(), 33))


@torch.no_grad()
def test_options_that_no_released_model_uses(golden):
    case, unet = network(golden, "unet_options")
    case.close("eps", predict(unet, case["in.x"], table_time(case["in.t"])))


@torch.no_grad()
@pytest.mark.parametrize("name", ["unet_pred", "unet_interp"])
def test_given_frames_and_the_noise_on_them(golden, name):
    case, unet = network(golden, name)
    signals, t = context(case), table_time(case["in.t"])
    case.close("eps", predict(unet, case["in.x"], t, signals))
    case.close("eps_uncond", predict(unet, case["in.x"], t, null(signals)))
    case.close("eps_uncond", predict(unet, case["in.x"], t))


@torch.no_grad()
def test_given_frames_with_a_time_embedding_of_their_own(golden):
    case, unet = network(golden, "unet_time_embed_mix", frame_times=True, known_time_embed=True)
    case.close("eps", predict(unet, case["in.x"], table_time(case["in.t"]), context(case)))


@torch.no_grad()
def test_text_to_video_unet_and_its_activations(golden):
    case, unet = network(golden, "unet_text")
    names = {k.removeprefix("act.") for k in case.tensors if k.startswith("act.")}
    found = activations(unet, names)
    t, text = table_time(case["in.t"]), case["in.context"]
    case.close("eps", predict(unet, case["in.x"], t, text_signal(text)))
    for name in names:
        case.close(name, found[name])
    case.close("eps_T6", predict(unet, case["in.x6"], t[:1], text_signal(text[:1])))


SHORT = VolumeUNetConfig()
PREDICTION = VolumeUNetConfig(mask_channel=True, noise_classes=251)
INTERPOLATION = VolumeUNetConfig(
    latent=(4, 5, 32, 32),
    mask_channel=True,
    noise_classes=251,
    attention=SpaceTimeAttentionConfig(relative_position=RelativePositionConfig(max_distance=5)),
)
TEXT_TO_VIDEO = VolumeUNetConfig(
    latent=(4, 16, 32, 32),
    model_channels=320,
    channel_mult=(1, 2, 4, 4),
    num_res_blocks=2,
    attention_resolutions=(1, 2, 4),
    attention=TransformerConfig(),
    scale_shift_norm=False,
)


@pytest.mark.parametrize(
    ("keys", "config", "parameters"),
    [
        ("unet_short_sky", SHORT, 548_904_580),
        ("unet_short_taichi", SHORT, 548_904_580),
        ("unet_short_ucf", SHORT, 548_904_580),
        ("unet_pred_sky", PREDICTION, 549_163_908),
        ("unet_interp_sky", INTERPOLATION, 549_181_060),
        ("unet_t2v", TEXT_TO_VIDEO, 958_924_964),
    ],
)
def test_released_models_have_exactly_our_weights(keys, config, parameters):
    paths = [folder / "lvdm" / "keys" / f"{keys}.json" for folder in FOLDERS]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip(f"key list {keys} is missing")
    released = {key: tuple(shape) for key, shape in json.loads(path.read_text()).items()}
    assert LVDM.shapes(config) == released
    assert sum(math.prod(shape) for shape in released.values()) == parameters
    with torch.device("meta"):
        unet = config.build()
        official = {key: torch.empty(shape) for key, shape in released.items()}
    unet.load_state_dict(LVDM.from_official(official, config), assign=True)


TINY = VolumeUNetConfig(
    latent=(4, 4, 4, 4),
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(2,),
    num_classes=3,
)


def test_weights_come_back_from_the_official_names():
    state = TINY.build().state_dict()
    again = LVDM.from_official(to_official(state, TINY), TINY)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    assert {rename(key, TINY) for key in LVDM.names(TINY).values()} == set(state)


def test_options_that_the_official_network_lacks_are_refused():
    with pytest.raises(ValueError, match=r"attention\.kind=joint"):
        LVDM.names(TINY.model_copy(update={"attention": JointAttentionConfig()}))
    with pytest.raises(ValueError, match="one table"):
        LVDM.names(TINY.model_copy(update={"noise_classes": 5}))
    assert "out.9.bias" not in LVDM.names(TINY).values()
