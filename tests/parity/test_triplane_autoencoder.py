"""The triplane autoencoder computes what the official PVDM code computes."""

import json
from functools import partial

import pytest
import torch
from convert import official_layout
from einops import rearrange
from golden_case import FOLDERS, Golden
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoder, TriplaneAutoencoderConfig
from longtake.convert.autoencoder_keys import TRIPLANE

rename = partial(official_layout.rename, TRIPLANE)
to_official = partial(official_layout.to_official, TRIPLANE)

RELEASED = TriplaneAutoencoderConfig()


def config_of(case: Golden) -> TriplaneAutoencoderConfig:
    official = case.info["constructor"]["ddconfig"]
    side, width = official["resolution"], official["channels"]
    return TriplaneAutoencoderConfig(
        clip=(official["timesteps"] // official["splits"], side, side),
        width=width,
        embed_dim=case.info["constructor"]["embed_dim"],
        pool_head_channels=width // 8,
    )


def loaded(case: Golden) -> TriplaneAutoencoder:
    model = config_of(case).build()
    model.load_state_dict(TRIPLANE.from_official(case.weights(), model.config))
    return model


def close(case: Golden, tolerance: str, **got: Tensor) -> None:
    """Compare with what the case holds, at an absolute tolerance that it states."""
    for name, value in got.items():
        want = case[f"out.{name}"]
        torch.testing.assert_close(
            value, want, atol=case.info["tolerance"][tolerance], rtol=0, msg=lambda m, n=name: n + m
        )


def planes(model: TriplaneAutoencoder, z: Tensor) -> dict[str, Tensor]:
    """Planes by their official names, and the latent in the official order of planes."""
    content, motion_h, motion_w = model.config.planes.split(z)
    parts = {"plane_xy": content, "plane_yt": motion_w, "plane_xt": motion_h}
    return {"packed": torch.cat([part.flatten(2) for part in parts.values()], 2), **parts}


def frames(video: Tensor) -> Tensor:
    return rearrange(video, "b c t h w -> (b t) c h w")


def activations(model: TriplaneAutoencoder) -> dict[str, Tensor]:
    """What the case calls its intermediates, filled in as the network runs."""
    found: dict[str, Tensor] = {}
    first = model.encoder.transformer.layers[0]
    watched = {
        "patch_tokens": model.encoder.embed,
        "enc0_time_attn": first.time,
        "enc0_space_attn": first.space,
        "enc0_ff": first.feed_forward,
        "enc_tokens": model.encoder.transformer,
        "dec_tokens": model.decoder.transformer,
    }

    def keep(name):
        def hook(_module, inputs, output):
            # The official attention returns what ours adds to its input.
            alone = output - inputs[0] if name.endswith("_attn") else output
            found[name] = rearrange(alone, "b t h w c -> b (t h w) c")

        return hook

    for name, module in watched.items():
        module.register_forward_hook(keep(name))

    def keep_sum(_module, inputs):
        found["z3d"] = rearrange(inputs[0], "b t h w c -> b c t h w")

    model.decoder.transformer.register_forward_pre_hook(keep_sum)
    return found


@torch.no_grad()
@pytest.mark.parametrize("name", ["ae_t16_r32", "ae_s8_r48_splits2"])
def test_latent_reconstruction_and_activations(golden, name):
    case = golden(f"pvdm/{name}")
    model = loaded(case)
    found = activations(model)
    z = model.encode(case["in.video"]).mean
    close(case, "packed", **planes(model, z))
    recon = frames(model.decode(z))
    assert len(found) == 7
    close(case, "recon", recon=recon, **found)
    if "out.recon_from_packed" in case.tensors:
        close(case, "recon", recon_from_packed=recon)


@torch.no_grad()
def test_official_splits_are_clips_of_their_own(golden):
    case = golden("pvdm/ae_s8_r48_splits2")
    model = loaded(case)
    groups = rearrange(case["in.video16"], "b c (n t) h w -> (b n) c t h w", n=2)
    close(case, "recon", forward16=frames(model.decode(model.encode(groups).mean)))


def test_gradients(golden):
    case = golden("pvdm/ae_t16_r32")
    model = loaded(case)
    video = case["in.video"][:1].requires_grad_()
    recon = frames(model.decode(model.encode(video).mean))
    (recon * case["in.grad_cotangent"]).sum().backward()
    parameters = dict(model.named_parameters())
    wanted = {k.removeprefix("out.grad."): v for k, v in case.tensors.items() if ".grad." in k}
    assert len(wanted) == 14
    for name, want in wanted.items():
        ours = video if name == "video" else parameters[rename(name, model.config)]
        assert ours.grad is not None
        got = ours.grad.view(want.shape)
        scale = want.abs().max().item()
        atol = case.info["tolerance"]["grads_rel"] * scale
        torch.testing.assert_close(got, want, atol=atol, rtol=0, msg=lambda m, n=name: n + m)


def formula() -> Tensor:
    """The clip that the cases of true size describe."""
    c, t, h, w = (
        torch.arange(count, dtype=torch.float64).view(shape)
        for count, shape in (
            (3, (3, 1, 1, 1)),
            (16, (16, 1, 1)),
            (256, (256, 1)),
            (256, (256,)),
        )
    )
    waves = 0.6 * torch.sin(0.05 * h + 0.03 * (c + 1) * w + 0.4 * t)
    waves = waves + 0.3 * torch.cos(0.11 * w - 0.2 * t + c)
    return (waves + 0.1 * torch.sin(1.3 * h * (1 + 0.01 * t)))[None].float()


def at_true_size(case: Golden, model: TriplaneAutoencoder) -> Tensor:
    """Compare latent and reconstruction; the latter's frames."""
    z = model.encode(formula()).mean
    close(case, "packed", packed=planes(model, z)["packed"])
    recon = frames(model.decode(z))
    close(case, "recon", recon_stride9=recon[:, :, ::9, ::9])
    close(case, "recon", recon_mean=recon.mean(), recon_std=recon.std())
    return recon


@torch.no_grad()
@pytest.mark.slow
def test_the_true_geometry(golden):
    case = golden("pvdm/ae_geom256")
    close(case, "recon", recon_frame7=at_true_size(case, loaded(case))[7])


def recipe(state: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The weights that the description of the released size gives to official names."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name in sorted(state):
        shape = state[name].shape
        draw = torch.randn(shape, generator=generator)
        if name.endswith(("_token", "pos_embedding")):
            drawn[name] = 0.5 * draw
        elif len(shape) == 1:
            drawn[name] = 0.1 * draw if name.endswith("bias") else 1 + 0.2 * draw
        elif name == "to_pixel.1.weight":
            drawn[name] = 0.3 * draw / shape[0] ** 0.5
        else:
            scale = 0.25 if name.startswith("pre_") else 1.0
            drawn[name] = scale * draw / shape[1:].numel() ** 0.5
    return drawn


@torch.no_grad()
@pytest.mark.slow
def test_the_released_configuration(golden):
    case = golden("pvdm/full_ae")
    with torch.device("meta"):
        model = config_of(case).build()
    assert model.config == RELEASED
    official = to_official(model.state_dict(), RELEASED)
    fixed = official_layout.constants(RELEASED)
    weights = {name: value for name, value in official.items() if name not in fixed}
    drawn = recipe(weights, case.info["seed"])
    model.load_state_dict(TRIPLANE.from_official(drawn, RELEASED), assign=True)
    at_true_size(case, model)


def keys() -> dict[str, list[int]]:
    paths = [folder / "pvdm" / "keys_ae_base.json" for folder in FOLDERS]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip("key list keys_ae_base is missing")
    return json.loads(path.read_text())


def test_the_released_model_has_exactly_our_weights():
    official = keys()
    with torch.device("meta"):
        state = RELEASED.build().state_dict()
        there = {key: torch.empty(shape) for key, shape in official.items()}
    again = to_official(TRIPLANE.from_official(there, RELEASED), RELEASED)
    assert {key: list(value.shape) for key, value in again.items()} == official
    assert sum(value.numel() for value in state.values()) == 62_064_399


def test_official_constants_are_computed_again(golden):
    case = golden("pvdm/ae_t16_r32")
    for name, value in official_layout.constants(config_of(case)).items():
        torch.testing.assert_close(value, case[f"sd.{name}"], atol=0, rtol=1e-6)


TINY = TriplaneAutoencoderConfig(
    clip=(2, 4, 8), patch=4, width=4, depth=1, heads=1, head_channels=4, pool_depth=1, pool_hidden=4
)


def test_names_survive_the_way_there_and_back():
    state = TINY.build().state_dict()
    back = TRIPLANE.from_official(to_official(state, TINY), TINY)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
    assert len(set(TRIPLANE.names(TINY).values())) == len(state)


def test_weights_saved_under_the_parallel_wrapper_are_read():
    state = TINY.build().state_dict()
    wrapped = {f"module.{key}": value for key, value in to_official(state, TINY).items()}
    assert TRIPLANE.from_official(wrapped, TINY).keys() == state.keys()


def test_weights_that_do_not_fit_are_named():
    state = to_official(TINY.build().state_dict(), TINY)
    with pytest.raises(ValueError, match=r"has the unknown weights pre_xx.weight;"):
        TRIPLANE.from_official(state | {"pre_xx.weight": torch.zeros(1)}, TINY)
    with pytest.raises(ValueError, match=r"lacks weights to_pixel.1.bias;"):
        TRIPLANE.from_official({k: v for k, v in state.items() if k != "to_pixel.1.bias"}, TINY)
    with pytest.raises(ValueError, match=r"does not fit in weights .*, expected"):
        TRIPLANE.from_official(state, TINY.model_copy(update={"width": 8}))
