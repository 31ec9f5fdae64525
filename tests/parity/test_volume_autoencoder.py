"""The volume autoencoder computes what the official LVDM code computes."""

import json
import zlib
from functools import partial

import numpy as np
import pytest
import torch
from convert import official_layout
from golden_case import FOLDERS, Golden
from torch import Tensor

from longtake.autoencoders import VolumeAutoencoder, VolumeAutoencoderConfig
from longtake.autoencoders.volume import SameConv, SameConvTranspose
from longtake.convert.autoencoder_keys import VOLUME

rename = partial(official_layout.rename, VOLUME)
to_official = partial(official_layout.to_official, VOLUME)

RELEASED = VolumeAutoencoderConfig()


def config_of(case: Golden) -> VolumeAutoencoderConfig:
    official = case.info["config"]["ddconfig"]["encoder"]["params"]
    return VolumeAutoencoderConfig(
        clip=(16, 32, 32),
        factors=official["downsample"],
        hidden=official["n_hiddens"],
        z_channels=official["z_channels"],
        embed_dim=case.info["config"]["embed_dim"],
    )


def half(model: VolumeAutoencoder, case: Golden, modules: tuple[str, ...]) -> None:
    """Load a file that holds some of the official modules' weights."""
    weights = {rename(key, model.config): value for key, value in case.weights().items()}
    expected = {key for key in model.state_dict() if key.startswith(modules)}
    assert weights.keys() == expected
    model.load_state_dict(weights, strict=False)


def activations(model: VolumeAutoencoder, case: Golden) -> dict[str, Tensor]:
    """Outputs of the modules that correspond to official ones, filled in as the network runs."""
    names = VOLUME.names(model.config)
    found: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            found[name] = output[:1]

        return hook

    for official in (key.removeprefix("act.") for key in case.tensors if key.startswith("act.")):
        ours, key = next(pair for pair in names.items() if pair[1].startswith(f"{official}."))
        within = key.removeprefix(official).replace(".convt", "").replace(".conv.", ".")
        module = ours.rsplit(".", within.count("."))[0]
        model.get_submodule(module).register_forward_hook(keep(f"act.{official}"))
    return found


def close(case: Golden, found: dict[str, Tensor]) -> None:
    """Compare activations at the tolerance that the case states for each."""
    assert found
    for name, value in found.items():
        atol = case.info["tolerance"][name]["atol"]
        torch.testing.assert_close(value, case[name], atol=atol, rtol=case.info["rtol"])


def recipe(name: str, shape: torch.Size, volume: int) -> Tensor:
    """The weights that the recipe's description gives to a name."""
    draw = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF).randn(*shape)
    draw = draw.astype(np.float32)
    if name.endswith(".bias"):
        value = np.float32(0.1) * draw
    elif len(shape) == 1:
        value = 1 + np.float32(0.2) * draw
    else:
        value = draw / np.float32(volume**0.5)
    return torch.from_numpy(value)


def fan_in(name: str, shape: torch.Size) -> int:
    """Weights that meet in one output."""
    if ".convt." not in name:
        return shape[1:].numel()
    stride = RELEASED.strides[int(name.split(".")[2])]
    return shape[0] * shape[2:].numel() // (stride[0] * stride[1] * stride[2])


@torch.no_grad()
@pytest.mark.parametrize("name", ["c3", "c1", "c4s222", "c4s122", "t4s222", "t4s122"])
def test_same_convolutions(golden, name):
    case = golden("lvdm/samepad_conv")
    kernel, _, strides = name[1:].partition("s")
    t, h, w = (int(s) for s in strides or "111")
    make = SameConvTranspose if name.startswith("t") else SameConv
    layer = make(2, 3, int(kernel), (t, h, w))
    inner = "convt" if name.startswith("t") else "conv"
    layer.load_state_dict(case.weights(f"{name}.{inner}."))
    case.close(name, layer(case["in.x"]))


@torch.no_grad()
def test_encoder_posterior_and_activations(golden):
    case = golden("lvdm/ae_488_encoder")
    model = config_of(case).build()
    half(model, case, ("encoder.", "to_moments."))
    found = activations(model, case)
    posterior = model.encode(case["in.video"])
    case.close("mean", posterior.mean)
    case.close("logvar", posterior.log_variance)
    case.close("std", (0.5 * posterior.log_variance).exp())
    case.close("sample", posterior.sample(case["in.noise"]))
    torch.testing.assert_close(posterior.kl().sum(), case["out.kl"].sum(), rtol=2e-4, atol=6e-4)
    close(case, found)


@torch.no_grad()
def test_decoder_and_activations(golden):
    case = golden("lvdm/ae_488_decoder")
    model = config_of(case).build()
    half(model, case, ("decoder.", "from_latent."))
    found = activations(model, case)
    case.close("dec", model.decode(case["in.z"]))
    close(case, found)


@torch.no_grad()
def test_the_released_configuration(golden):
    case = golden("lvdm/ae_sky_recipe")
    with torch.device("meta"):
        model = RELEASED.build()
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    state = {}
    for name in case.info["names"]:
        shape = shapes[rename(name, RELEASED)]
        state[name] = recipe(name, shape, fan_in(name, shape))
    model.load_state_dict(VOLUME.from_official(state, RELEASED), assign=True)
    posterior = model.encode(case["in.video"])
    case.close("moments", torch.cat([posterior.mean, posterior.log_variance], 1))
    case.close("dec", model.decode(case["in.z"]))


def keys() -> dict[str, list[int]]:
    paths = [folder / "lvdm" / "keys" / "ae_sky.json" for folder in FOLDERS]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip("key list ae_sky is missing")
    return {k: v for k, v in json.loads(path.read_text()).items() if not k.startswith("loss.")}


def test_the_released_model_has_exactly_our_weights():
    official = keys()
    with torch.device("meta"):
        state = RELEASED.build().state_dict()
        there = {key: torch.empty(shape) for key, shape in official.items()}
    again = to_official(VOLUME.from_official(there, RELEASED), RELEASED)
    assert {key: list(value.shape) for key, value in again.items()} == official
    assert sum(value.numel() for value in state.values()) == 19_446_759


TINY = VolumeAutoencoderConfig(clip=(4, 4, 4), factors=(2, 2, 2), hidden=2, groups=2)


def test_names_survive_the_way_there_and_back():
    state = TINY.build().state_dict()
    back = VOLUME.from_official(to_official(state, TINY), TINY)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_weights_that_do_not_fit_are_named():
    state = to_official(TINY.build().state_dict(), TINY)
    assert VOLUME.from_official(state | {"loss.logvar": torch.zeros(())}, TINY)
    with pytest.raises(ValueError, match=r"has the unknown weights quant_conf.weight;"):
        VOLUME.from_official(state | {"quant_conf.weight": torch.zeros(1)}, TINY)
    less = {k: v for k, v in state.items() if k != "decoder.conv_out.conv.bias"}
    with pytest.raises(ValueError, match=r"lacks weights decoder.conv_out.conv.bias;"):
        VOLUME.from_official(less, TINY)
    with pytest.raises(ValueError, match=r"does not fit in weights .*, expected"):
        VOLUME.from_official(state, TINY.model_copy(update={"hidden": 4}))
