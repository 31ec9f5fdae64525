"""PVDM's UNet computes what the official code computes, and has its weights."""

import json
import math
from functools import partial
from typing import Any

import pytest
import torch
from conditions import predict, table_time
from convert import official_layout
from golden_case import FOLDERS, Golden
from torch import Tensor, nn

from longtake.convert.layout import OfficialLayout
from longtake.convert.unet_keys import PVDM, PVDM_NEW_ATTENTION_ORDER
from longtake.denoisers import TriplaneUNet, TriplaneUNetConfig
from longtake.diffusion.signals import previous_signal
from longtake.nn.embedding import sinusoids

to_official = partial(official_layout.to_official, PVDM)

WRAPPER = "diffusion_model."


def config_of(official: dict[str, Any]) -> TriplaneUNetConfig:
    """Our config of an official one."""
    size, heads = official["image_size"], official["num_heads"]
    return TriplaneUNetConfig(
        latent=(official["in_channels"], 16, size, size),
        model_channels=official["model_channels"],
        channel_mult=tuple(official["channel_mult"]),
        num_res_blocks=official["num_res_blocks"],
        attention_resolutions=tuple(official["attention_resolutions"]),
        num_heads=max(heads, 1),
        head_channels=official.get("num_head_channels"),
        previous=official["cond_model"],
        scale_shift_norm=official["use_scale_shift_norm"],
        resblock_updown=official["resblock_updown"],
    )


def network(golden, case: str, layout: OfficialLayout = PVDM) -> tuple[Golden, TriplaneUNet]:
    found = golden(f"pvdm/{case}")
    config = config_of(found.info["constructor"])
    unet = config.build()
    unet.load_state_dict(layout.from_official(found.weights(), config))
    return found, unet.eval()


def activations(unet: TriplaneUNet) -> dict[str, Tensor]:
    """Cells after attention across the planes, by the cases' names; filled in by a forward pass."""
    found: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module) -> None:
        module.register_forward_hook(
            lambda _module, _inputs, output: found.update({name: output.transpose(1, 2)})
        )

    keep("after_mid", unet.middle)
    keep("after_output_0", unet.up[0])
    for number, block in enumerate(unet.down, 1):
        keep(f"after_input_{number}", block)
    return found


def activations_match(case: Golden, found: dict[str, Tensor]) -> None:
    names = [k.removeprefix("out.") for k in case.tensors if k.startswith("out.after_")]
    assert len(names) == 5
    for name in names:
        case.close(name, found[name])


@torch.no_grad()
def test_conditional_unet_and_its_activations(golden):
    case, unet = network(golden, "unet_cond_tiny")
    x, t, found = case["in.x"], table_time(case["in.t"]), activations(unet)
    case.close("time_emb", unet.time_embed(case["in.t"].float()))
    case.close("eps_cond", predict(unet, x, t, previous_signal(case["in.cond"])))
    activations_match(case, found)
    case.close("eps_uncond", predict(unet, x, t))


def test_gradients_of_the_unet(golden):
    case, unet = network(golden, "unet_cond_tiny")
    x = case["in.x"][:1].requires_grad_()
    out = predict(unet, x, table_time(case["in.t"][:1]), previous_signal(case["in.cond"][:1]))
    (out * case["in.grad_cotangent"]).sum().backward()
    assert x.grad is not None
    case.close("grad.x", x.grad)
    grads = {k: p.grad for k, p in unet.named_parameters() if p.grad is not None}
    ours = to_official(grads, unet.config)
    names = {k.removeprefix("out.grad.") for k in case.tensors if k.startswith("out.grad.")}
    for name in names - {"x"}:
        case.close(f"grad.{name}", ours[name])


@torch.no_grad()
def test_unconditional_unet_with_options_that_no_released_model_uses(golden):
    case, unet = network(golden, "unet_uncond_alt")
    found = activations(unet)
    case.close("time_emb", unet.time_embed(case["in.t"].float()))
    case.close("eps", predict(unet, case["in.x"], table_time(case["in.t"])))
    activations_match(case, found)


@torch.no_grad()
def test_heads_of_a_width_and_the_new_order_of_attention(golden):
    case, unet = network(golden, "unet_headch_neworder", PVDM_NEW_ATTENTION_ORDER)
    signals = previous_signal(case["in.cond"])
    case.close("eps", predict(unet, case["in.x"], table_time(case["in.t"]), signals))


def test_sinusoids(golden):
    case = golden("pvdm/schedule")
    for width in (256, 33):
        case.close(f"timestep_embedding_{width}", sinusoids(case["in.t"].float(), width))


def procedural(case: Golden) -> dict[str, Tensor]:
    """Weights of a case that stores none, by the rule that its description states."""
    config = config_of(case.info["constructor"])
    random = torch.Generator().manual_seed(case.info["seed"])
    weights: dict[str, Tensor] = {}
    for name, shape in sorted(official_layout.pvdm_shapes(config).items()):
        if name == "zeros":
            continue
        drawn = torch.randn(shape, generator=random)
        if len(shape) > 1:
            drawn = drawn / math.prod(shape[1:]) ** 0.5
        else:
            drawn = 0.1 * drawn if name.endswith("bias") else 1 + 0.2 * drawn
        weights[name] = drawn
    return PVDM.from_official(weights, config)


@pytest.mark.slow
@torch.no_grad()
def test_the_paper_s_small_model_at_its_size(golden):
    case = golden("pvdm/full_unet_S")
    with torch.device("meta"):
        unet = config_of(case.info["constructor"]).build()
    unet.load_state_dict(procedural(case), assign=True)
    x, previous = case["in.x"].expand(2, -1, -1), torch.zeros(2, 4, 2048)
    previous[0] = case["in.cond"]
    out = predict(unet, x, table_time(case["in.t"]).expand(2), previous_signal(previous))
    case.close("eps_cond", out[:1])
    case.close("eps_uncond", out[1:])


@pytest.mark.parametrize(
    ("size", "config", "parameters"),
    [
        ("S", TriplaneUNetConfig(model_channels=128), 132_163_588),
        ("L", TriplaneUNetConfig(), 528_273_412),
    ],
)
def test_released_models_have_exactly_our_weights(size, config, parameters):
    paths = [folder / "pvdm" / f"keys_unet_{size}.json" for folder in FOLDERS]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip(f"key list keys_unet_{size} is missing")
    listed = json.loads(path.read_text()).items()
    released = {key.removeprefix(WRAPPER): tuple(shape) for key, shape in listed}
    assert official_layout.pvdm_shapes(config) == released
    assert sum(math.prod(s) for key, s in released.items() if key != "zeros") == parameters


TINY = TriplaneUNetConfig(
    latent=(4, 4, 4, 4),
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(2,),
)


@pytest.mark.parametrize("changes", [{}, {"previous": False, "resblock_updown": False}])
def test_weights_come_back_from_the_official_names(changes):
    config = TINY.model_copy(update=changes)
    state = config.build().state_dict()
    again = PVDM.from_official(to_official(state, config), config)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


@pytest.mark.parametrize("changes", [{"num_classes": 3}, {"plane_embed": True}, {"groups": 16}])
def test_options_that_the_official_network_lacks_are_refused(changes):
    with pytest.raises(ValueError, match="is not in the official UNet"):
        PVDM.names(TINY.model_copy(update=changes))
