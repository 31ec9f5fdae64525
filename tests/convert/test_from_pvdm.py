import json
import os
from pathlib import Path
from typing import Any

import official_pvdm
import pytest
import torch
from conditions import predict
from convert import official_layout
from golden_case import FOLDERS
from official_pvdm import AUTOENCODER, UNET
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.checkpoint import CheckpointError
from longtake.config import Config
from longtake.convert.autoencoder_keys import TRIPLANE
from longtake.convert.from_pvdm import DIFFUSION, SAMPLER, read_pvdm
from longtake.convert.pvdm_sizes import autoencoder_config, unet_config
from longtake.convert.unet_keys import PVDM
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.diffusion import DDIM
from longtake.latents import LatentScaling
from longtake.model import VideoModel
from longtake.rollout import NextClip, OneClip

State = dict[str, Tensor]


def saved(folder: Path, name: str, content: Any) -> Path:
    torch.save(content, folder / name)
    return folder / name


@pytest.fixture
def coder(tmp_path: Path) -> Path:
    return saved(tmp_path, "model_last.pth", official_pvdm.autoencoder())


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return saved(tmp_path, "ema_model_850000.pth", official_pvdm.unet())


def test_a_pair_becomes_a_model_with_the_released_settings(coder: Path, unet: Path):
    model = read_pvdm(autoencoder=coder, denoiser=unet)
    index = model.index
    assert index.diffusion == DIFFUSION
    assert index.sampling.sampler == SAMPLER == DDIM(steps=400, eta=1.0, grid="linspace")
    assert index.sampling.rollout == NextClip()
    assert index.latent_scaling == LatentScaling()
    assert (index.fps, index.ema) == (25.0, True)
    assert index.made_by == "model_last.pth + ema_model_850000.pth"
    networks: list[Any] = [model.autoencoder, model.denoisers["first"]]
    assert [network.config for network in networks] == [AUTOENCODER, UNET]


def test_a_converted_folder_makes_a_long_video(coder: Path, unet: Path, tmp_path: Path):
    read_pvdm(autoencoder=coder, denoiser=unet).save_pretrained(tmp_path / "ours")
    model = VideoModel.from_pretrained(tmp_path / "ours")
    sampler = SAMPLER.model_copy(update={"steps": 2})
    video = model.long_video(model.index.sampling.model_copy(update={"sampler": sampler}))
    parts = list(video(model.request([0]), 8))
    assert [part.frames.shape for part in parts] == [(1, 4, 16, 32, 3)] * 2


def test_an_autoencoder_alone_is_a_model_to_train_on(coder: Path, unet: Path):
    alone = read_pvdm(autoencoder=coder)
    assert "first" not in alone.denoisers
    assert alone.index.diffusion is None
    model = read_pvdm(denoiser=unet, model=alone)
    assert model.autoencoder is alone.autoencoder
    assert model.index.sampling.rollout == NextClip()


def test_frames_a_second_are_those_given_else_of_the_model(coder: Path, unet: Path):
    alone = read_pvdm(autoencoder=coder, fps=12.0)
    assert alone.index.fps == 12
    assert read_pvdm(denoiser=unet, model=alone).index.fps == 12
    assert read_pvdm(denoiser=unet, model=alone, fps=8.0).index.fps == 8


@pytest.mark.parametrize(
    ("name", "given", "averaged"),
    [
        ("ema_model_10.pth", None, True),
        ("model_10.pth", None, False),
        ("model_10.pth", True, True),
        ("ema_model_10.pth", False, False),
    ],
)
def test_weights_are_averaged_as_given_else_by_the_file_name(
    coder: Path, tmp_path: Path, name: str, given: bool | None, averaged: bool
):
    path = saved(tmp_path, name, official_pvdm.unet())
    model = read_pvdm(autoencoder=coder, denoiser=path, ema=given)
    assert model.index.ema is averaged


def test_the_name_of_the_parallel_wrapper_is_taken_off(unet: Path, coder: Path, tmp_path: Path):
    wrapped = [
        saved(tmp_path, f"{name}.pth", {f"module.{key}": value for key, value in state.items()})
        for name, state in (("a", official_pvdm.autoencoder()), ("b", official_pvdm.unet()))
    ]
    ours = read_pvdm(autoencoder=wrapped[0], denoiser=wrapped[1])
    theirs = read_pvdm(autoencoder=coder, denoiser=unet)
    for one, other in (
        (ours.autoencoder, theirs.autoencoder),
        (ours.denoisers["first"], theirs.denoisers["first"]),
    ):
        assert one is not None
        assert other is not None
        for name, value in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], value)


def test_a_unet_without_a_previous_clip_makes_one_clip(coder: Path, tmp_path: Path):
    config = UNET.model_copy(update={"previous": False})
    path = saved(tmp_path, "model_1.pth", official_pvdm.unet(config))
    model = read_pvdm(autoencoder=coder, denoiser=path)
    assert model.index.sampling.rollout == OneClip()


@pytest.mark.parametrize(
    "change",
    [
        {"channel_mult": (1,), "attention_resolutions": (1,)},
        {"channel_mult": (1, 2, 2), "num_res_blocks": 3},
        {"channel_mult": (1, 1), "attention_resolutions": (1, 2), "num_res_blocks": 2},
        {"resblock_updown": False, "scale_shift_norm": False, "previous": False},
        {"resblock_updown": False, "attention_resolutions": (1,), "num_res_blocks": 2},
        {"model_channels": 64},
    ],
    ids=str,
)
def test_weights_tell_the_sizes_of_a_unet(change: dict[str, Any]):
    config = UNET.model_copy(update=change)
    shapes = official_layout.pvdm_shapes(config)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    spec = AUTOENCODER.build().spec
    assert unet_config(state, spec, AUTOENCODER.planes) == config


def listed(name: str) -> State:
    """Empty weights of the released size."""
    paths = [folder / "pvdm" / f"keys_{name}.json" for folder in FOLDERS]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip(f"key list keys_{name} is not available")
    shapes = json.loads(path.read_text()).items()
    return {
        key.removeprefix("diffusion_model."): torch.empty(shape, device="meta")
        for key, shape in shapes
    }


RELEASED = TriplaneAutoencoderConfig()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ae_base", RELEASED),
        ("unet_S", TriplaneUNetConfig(model_channels=128)),
        ("unet_L", TriplaneUNetConfig()),
    ],
)
def test_weights_of_the_released_sizes_are_taken(name: str, config: Config):
    state = listed(name)
    with torch.device("meta"):
        if name == "ae_base":
            found = autoencoder_config(state)
            ours = TRIPLANE.from_official(state, found)
        else:
            spec = RELEASED.build().spec
            found = unet_config(state, spec, RELEASED.planes)
            ours = PVDM.from_official(state, found)
    assert found == config
    assert len(ours) > 400


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


OPTIMIZER = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).state_dict()
SCALER = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "_growth_tracker": 1}
LOSS = {"perceptual_loss.scaling_layer.shift": torch.zeros(1, 3, 1, 1)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OPTIMIZER, "has the state of an optimizer, expected an autoencoder; give model_"),
        (SCALER, "has the state of a gradient scaler, expected an autoencoder; give model_"),
        (LOSS, "has the networks of the training's loss, expected an autoencoder of PVDM; give"),
        (official_pvdm.unet(), "has a UNet, expected an autoencoder of PVDM; give it as the den"),
        ({"state_dict": {"first_stage_model.x": torch.zeros(1)}}, "has an LVDM model, expected"),
        ({"fc.bias": torch.zeros(1)}, "has another network, with a weight 'fc.bias', expected"),
        ({"epoch": 3}, "has no state_dict, expected one or bare weights; it has epoch"),
        (Hostile(), "names 'posix.system', which no checkpoint needs"),
    ],
)
def test_a_file_with_something_else_is_recognised(tmp_path: Path, content: Any, message: str):
    path = saved(tmp_path, "given.pth", content)
    with pytest.raises(CheckpointError) as error:
        read_pvdm(autoencoder=path)
    assert f"given.pth: {message}" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_autoencoder_given_as_the_denoiser_is_refused(coder: Path):
    with pytest.raises(CheckpointError, match=r"has an autoencoder, expected a UNet .* as the au"):
        read_pvdm(autoencoder=coder, denoiser=coder)


@pytest.mark.parametrize(
    ("part", "key", "message"),
    [
        ("autoencoder", "post_xy.bias", "the checkpoint lacks weights post_xy.bias; check that"),
        ("autoencoder", "pre_xy.weight", "lacks pre_xy.weight; give the complete official file"),
        ("denoiser", "middle_block.0.in_layers.0.bias", "lacks weights middle_block.0.in_layers"),
        ("denoiser", "out.2.weight", "lacks out.2.weight; give the complete official file"),
    ],
)
def test_a_weight_that_is_missing_or_unknown_is_named(
    coder: Path, tmp_path: Path, part: str, key: str, message: str
):
    state = official_pvdm.autoencoder() if part == "autoencoder" else official_pvdm.unet()
    name = key if part == "autoencoder" else f"diffusion_model.{key}"
    without = {k: v for k, v in state.items() if k != name}
    for content, expected in (
        (without, message),
        (state | {"extra.bias": torch.zeros(1)}, "has the unknown weights extra.bias; check that"),
    ):
        files: dict[str, Any] = {"autoencoder": coder, part: saved(tmp_path, "odd.pth", content)}
        with pytest.raises(CheckpointError) as error:
            read_pvdm(**files)
        assert "odd.pth: " in str(error.value)
        assert expected in str(error.value)


def test_networks_that_do_not_belong_together_are_refused(coder: Path, tmp_path: Path):
    wide = UNET.model_copy(update={"latent": (3, 4, 8, 8)})
    path = saved(tmp_path, "model_1.pth", official_pvdm.unet(wide))
    with pytest.raises(CheckpointError, match=r"\(3, 128\), the autoencoder's have \(3, 80\)"):
        read_pvdm(autoencoder=coder, denoiser=path)


def test_heads_that_do_not_divide_are_refused(coder: Path, unet: Path):
    with pytest.raises(CheckpointError, match=r"num_heads=7, .* choose a divisor"):
        read_pvdm(autoencoder=coder, denoiser=unet, heads=7)


def test_heads_may_be_given_by_their_width(coder: Path, tmp_path: Path):
    """At equal widths of all levels, heads of 8 of 32 channels are 4 heads; 8 is the default."""
    even = UNET.model_copy(update={"channel_mult": (1, 1)})
    path = saved(tmp_path, "model_1.pth", official_pvdm.unet(even))
    options: tuple[dict[str, Any], ...] = ({"head_channels": 8}, {"heads": 4}, {})
    by_width, by_number, usual = (
        read_pvdm(autoencoder=coder, denoiser=path, **heads).denoisers["first"] for heads in options
    )
    z, t = torch.randn(1, *usual.spec.shape), torch.full((1,), 0.5)
    found = predict(by_width, z, t)
    assert torch.equal(found, predict(by_number, z, t))
    assert not torch.allclose(found, predict(usual, z, t))
    with pytest.raises(CheckpointError, match="head_channels=24 do not divide the 32"):
        read_pvdm(autoencoder=coder, denoiser=path, head_channels=24)


def test_what_does_not_make_a_model_is_refused(coder: Path, unet: Path, tiny_model: VideoModel):
    with pytest.raises(ValueError, match="give an autoencoder, a denoiser, or both"):
        read_pvdm()
    with pytest.raises(ValueError, match="a denoiser needs an autoencoder; give its autoencoder"):
        read_pvdm(denoiser=unet)
    with pytest.raises(ValueError, match="and the model has one too; give only one"):
        read_pvdm(autoencoder=coder, denoiser=unet, model=read_pvdm(autoencoder=coder))
    with pytest.raises(ValueError, match="works on planes, which the model's VolumeAutoencoder"):
        read_pvdm(denoiser=unet, model=tiny_model)
