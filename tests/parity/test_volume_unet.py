"""The volume UNet computes what the official LVDM code computes."""

import json
import math

import pytest
import torch
from conftest import FOLDERS, Golden
from torch import Tensor

from longtake.denoisers import VolumeUNet, VolumeUNetConfig
from longtake.diffusion.condition import Condition, KnownFrames
from longtake.export.lvdm_unet_keys import fold, from_official, rename
from longtake.nn.attention import RelativePositionConfig, SpaceTimeAttentionConfig
from longtake.nn.embedding import sinusoids
from longtake.nn.transformer import TransformerConfig


def st_attention(official: dict) -> SpaceTimeAttentionConfig:
    reach = official["temporal_length"] if official["use_relative_position"] else None
    return SpaceTimeAttentionConfig(
        num_heads=official["num_heads"],
        relative_position=reach and RelativePositionConfig(reach=reach),
    )


def st_transformer(official: dict) -> TransformerConfig:
    return TransformerConfig(
        num_heads=official["num_heads"],
        context_dim=official["context_dim"],
        reach=official["temporal_length"],
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
    unet.load_state_dict(from_official(found.weights(), config))
    return found, unet.eval()


def known_frames(case: Golden) -> KnownFrames:
    mask = case["in.mask"][:, 0, :, 0, 0].bool()
    return KnownFrames(z=case["in.x"], mask=mask, t=(case["in.s"] + 1) / 1000)


def activations(unet: VolumeUNet, official: set[str]) -> dict[str, Tensor]:
    """Outputs of the modules that correspond to official ones, filled in as the network runs."""
    found: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            out = output[:1]
            found[name] = out.permute(0, 4, 1, 2, 3) if out.ndim == 5 else out

        return hook

    for name in official:
        unet.get_submodule(module_name(name, unet.config)).register_forward_hook(keep(name))
    return found


def module_name(official: str, config: VolumeUNetConfig) -> str:
    """Our module whose output is that of an official one."""
    if official == "time_embed":
        return official
    if official == "input_blocks.0":
        return "conv_in"
    if official == "middle_block":
        return "middle"
    if official.count(".") == 1 and not official.startswith("middle"):
        part, index = official.split(".")
        level, step = divmod(int(index) - (part == "input_blocks"), config.num_res_blocks + 1)
        side = "down" if part == "input_blocks" else "up"
        last = step == config.num_res_blocks
        coarsest_or_finest = level == len(config.channel_mult) - 1
        if last and not coarsest_or_finest:
            return f"{side}.{level}.resample"
        return f"{side}.{level}.steps.{step}"
    if official.endswith("transformer_blocks.0"):
        return module_name(official.removesuffix(".transformer_blocks.0"), config) + ".blocks.0"
    return rename(f"{official}.norm.weight", config).removesuffix(".norm.weight")


@torch.no_grad()
def test_unconditional_unet_and_its_activations(golden):
    case, unet = network(golden, "unet_short")
    names = {k.removeprefix("act.") for k in case.tensors if k.startswith("act.")}
    found = activations(unet, names)
    case.close("eps", unet(case["in.x"], case["in.t"].float(), Condition()))
    for name in names:
        case.close(name, found[name])


@torch.no_grad()
def test_more_frames_than_relative_position_reaches(golden):
    case, unet = network(golden, "unet_short")
    case.close("eps_T7", unet(case["in.x7"], case["in.t7"].float(), Condition()))


def test_sinusoids(golden):
    case = golden("lvdm/unet_short")
    case.close("t_emb", sinusoids(case["in.t"].float(), 32))
    case.close("t_emb_odd", sinusoids(case["in.t"].float(), 33))


@torch.no_grad()
def test_options_that_no_released_model_uses(golden):
    case, unet = network(golden, "unet_options")
    case.close("eps", unet(case["in.x"], case["in.t"].float(), Condition()))


@torch.no_grad()
@pytest.mark.parametrize("name", ["unet_pred", "unet_interp"])
def test_given_frames_and_the_noise_on_them(golden, name):
    case, unet = network(golden, name)
    known, t = known_frames(case), case["in.t"].float()
    case.close("eps", unet(case["in.x"], t, Condition(known=known)))
    null = Condition(known=known).null(tell_noise=False)
    case.close("eps_uncond", unet(case["in.x"], t, null))
    case.close("eps_uncond", unet(case["in.x"], t, Condition()))


@torch.no_grad()
def test_given_frames_with_a_time_embedding_of_their_own(golden):
    case, unet = network(golden, "unet_time_embed_mix", frame_times=True, known_time_embed=True)
    condition = Condition(known=known_frames(case))
    case.close("eps", unet(case["in.x"], case["in.t"].float(), condition))


@torch.no_grad()
def test_text_to_video_unet_and_its_activations(golden):
    case, unet = network(golden, "unet_text")
    names = {k.removeprefix("act.") for k in case.tensors if k.startswith("act.")}
    found = activations(unet, names)
    t, text = case["in.t"].float(), case["in.context"]
    case.close("eps", unet(case["in.x"], t, Condition(text=text)))
    for name in names:
        case.close(name, found[name])
    case.close("eps_T6", unet(case["in.x6"], t[:1], Condition(text=text[:1])))


SHORT = VolumeUNetConfig()
PREDICTION = VolumeUNetConfig(mask_channel=True, noise_classes=251)
INTERPOLATION = VolumeUNetConfig(
    latent=(4, 5, 32, 32),
    mask_channel=True,
    noise_classes=251,
    attention=SpaceTimeAttentionConfig(relative_position=RelativePositionConfig(reach=5)),
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
        pytest.skip(f"key list {keys} is not at hand")
    official = {rename(k, config): fold(shape) for k, shape in json.loads(path.read_text()).items()}
    with torch.device("meta"):
        unet = config.build()
    assert {k: tuple(v.shape) for k, v in unet.state_dict().items()} == official
    assert sum(math.prod(shape) for shape in official.values()) == parameters
