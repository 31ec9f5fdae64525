"""Official LVDM checkpoints, converted, sample what the official code samples."""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conditions import NOTHING, predict, table_time, walk
from golden_case import FOLDERS, Golden
from torch import Tensor

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.convert.from_lvdm import convert_lvdm_folder
from longtake.convert.official_config import read_official
from longtake.convert.unet_keys import LVDM
from longtake.diffusion.guidance import ClassifierFree, Guidance, Unguided
from longtake.diffusion.samplers import DDIM, DDPM
from longtake.diffusion.signals import Signals, context_signals, impose, text_signal
from longtake.latents import LatentScaling
from longtake.model import VideoModel
from longtake.noise import SampleNoise
from longtake.rollout import Autoregressive, Hierarchical, OneClip

SHORT = "lvdm.models.ddpm3d.LatentDiffusion"
FRAMES = "lvdm.models.ddpm3d.FrameInterpPredLatentDiffusion"


def write(folder: Path, state: dict[str, Tensor], target: str, params: dict[str, Any]):
    """A checkpoint as Lightning writes it, and its YAML."""
    folder.mkdir()
    content = {
        "epoch": 3,
        "state_dict": state,
        "hyper_parameters": argparse.Namespace(lr=6e-5),
        "callbacks": {argparse.Namespace: {"best_model_score": torch.tensor(0.1)}},
    }
    torch.save(content, folder / "model.ckpt")
    model = {"base_learning_rate": 6e-5, "target": target, "params": params}
    (folder / "model.yaml").write_text(yaml.safe_dump({"model": model}))
    return folder / "model.ckpt", folder / "model.yaml"


def converted(files: tuple[Path, Path], out: Path, **options: Any) -> VideoModel:
    convert_lvdm_folder(*files, out, **options)
    return VideoModel.from_pretrained(out)


def frames_model(
    golden, folder: Path, unet: str, **changes: Any
) -> tuple[tuple[Path, Path], dict[str, Any]]:
    """Prediction or interpolation model: a golden UNet and the first stage of the short model."""
    short, case = golden("lvdm/ldm_short_tiny"), golden(f"lvdm/{unet}")
    params = copy.deepcopy(golden("lvdm/ldm_pred_tiny").info["config"]) | changes
    params["unet_config"]["params"] = case.info["config"]
    state = {f"model.diffusion_model.{k}": v for k, v in case.weights().items()}
    state |= {k: v for k, v in short.weights().items() if "model." not in k or "stage" in k}
    state = {k: v for k, v in state.items() if not k.startswith("model_ema")}
    return write(folder, state, FRAMES, params), params


def trajectory(
    model: VideoModel, case: Golden, guidance: Guidance, signals: Signals
) -> tuple[Tensor, Tensor]:
    """DDIM in 10 steps from the recorded noise: the latent, and the estimate of every step."""
    denoiser, diffusion = model.denoisers["first"], model.index.diffusion
    assert denoiser is not None
    assert diffusion is not None
    estimates: list[Tensor] = []

    guided = guidance(lambda signals, guide=None: diffusion.estimator(denoiser, signals), signals)

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        x0 = guided(impose(denoiser.spec, signals, z), t)
        estimates.append(x0)
        return x0

    sampler = DDIM(steps=10, eta=0.0, grid="leading")
    z = walk(sampler, denoise, case["in.xT"], diffusion.schedule, SampleNoise((0,)))
    return z, torch.cat(estimates)


@pytest.mark.parametrize(("raw", "name"), [(False, "ddim10_ema"), (True, "ddim10")])
def test_a_short_model_samples_the_official_trajectory(golden, tmp_path, raw, name):
    case = golden("lvdm/ldm_short_tiny")
    files = write(tmp_path / "official", case.weights(), SHORT, case.info["config"])
    model = converted(files, tmp_path / "ours", raw=raw)
    z, estimates = trajectory(model, case, Unguided(), NOTHING)
    case.close(name, z)
    if raw:
        case.close("ddim10.pred_x0", estimates)
    assert model.index.ema is not raw
    assert model.index.sampling.sampler == DDPM()
    assert model.index.sampling.rollout == OneClip()
    assert model.index.made_by == "model.ckpt"


def test_a_short_model_encodes_and_decodes_as_the_official_one(golden, tmp_path):
    case = golden("lvdm/ldm_short_tiny")
    files = write(tmp_path / "official", case.weights(), SHORT, case.info["config"])
    model = converted(files, tmp_path / "ours")
    standard = model.index.latent_scaling
    assert standard == LatentScaling(scale=0.33422927, shift=1.4606637)
    with torch.no_grad():
        posterior = model.autoencoder.encode(case["in.video"])
        z = standard.forward(posterior.sample(case["in.posterior_noise"]))
        case.close("z", z)
        case.close("video_rec", model.autoencoder.decode(standard.inverse(z)))


@pytest.mark.parametrize(
    ("name", "guidance"),
    [
        ("nocfg", Unguided()),
        ("cfg_default_1.5", ClassifierFree(scale=1.5, condition_on_noise_level=False)),
        ("cfg_original_0.5", ClassifierFree(scale=1.5, condition_on_noise_level=False)),
        ("cfg_original_0.1", None),
    ],
)
def test_a_prediction_model_samples_the_official_trajectory(golden, tmp_path, name, guidance):
    case = golden("lvdm/ldm_pred_tiny")
    files, _ = frames_model(golden, tmp_path / "official", "unet_pred")
    model = converted(files, tmp_path / "ours")
    sampling = model.index.sampling
    mask = case["in.sample_mask"][:, 0, :, 0, 0].bool()
    given = case["in.noisy_cond"].expand(-1, -1, mask.shape[1], -1, -1)
    signals = context_signals(given, mask, table_time(case["in.sample_s"]))
    z, estimates = trajectory(model, case, guidance or sampling.guidance, signals)
    case.close(f"ddim10.{name}.pred_x0", estimates)
    torch.testing.assert_close(
        z[:, :, 1:], case[f"out.ddim10.{name}"][:, :, 1:], atol=1.7e-3, rtol=1e-3
    )
    assert sampling.rollout == Autoregressive(overlap_latent_frames=1)
    assert sampling.context_noise == 0.101
    assert not model.index.ema


def test_a_prediction_and_an_interpolation_model_become_one(golden, tmp_path):
    keys, _ = frames_model(golden, tmp_path / "keys", "unet_pred")
    between, _ = frames_model(
        golden, tmp_path / "between", "unet_interp", p_interp=0.9, p_pred=0.0, n_prevs=None
    )
    model = converted(keys, tmp_path / "ours", interpolator=between)
    case = golden("lvdm/unet_interp")
    mask = case["in.mask"][:, 0, :, 0, 0].bool()
    signals = context_signals(case["in.x"], mask, table_time(case["in.s"]))
    with torch.no_grad():
        eps = predict(
            model.denoisers["interpolator"], case["in.x"], table_time(case["in.t"]), signals
        )
    case.close("eps", eps)
    assert model.index.sampling.rollout == Hierarchical(
        keyframes=Autoregressive(overlap_latent_frames=1)
    )
    assert model.autoencoder.spec.clip == (8, 16, 16)
    assert model.denoisers["interpolator"].spec.clip == (10, 16, 16)


def test_an_interpolation_model_alone_goes_between(golden, tmp_path):
    between, _ = frames_model(
        golden, tmp_path / "between", "unet_interp", p_interp=0.9, p_pred=0.0, n_prevs=None
    )
    model = converted(between, tmp_path / "ours")
    assert "first" not in model.denoisers
    assert model.autoencoder.spec.clip == (8, 16, 16)


def test_the_released_autoencoder_s_config_and_names_are_understood(golden, tmp_path):
    case = golden("lvdm/ldm_short_tiny")
    state = case.weights("first_stage_model.") | {
        "loss.logvar": torch.zeros(()),
        "loss.discriminator.main.0.bias": torch.zeros(64),
    }
    params = case.info["config"]["first_stage_config"]["params"]
    params["lossconfig"] = {"target": "lvdm.models.losses.LPIPSWithDiscriminator"}
    ckpt, config = write(
        tmp_path / "official", state, "lvdm.models.autoencoder3d.AutoencoderKL", params
    )
    model = converted((ckpt, config), tmp_path / "ours")
    assert "first" not in model.denoisers
    with torch.no_grad():
        posterior = model.autoencoder.encode(case["in.video"])
    z = posterior.sample(case["in.posterior_noise"])
    case.close("z", LatentScaling(scale=0.33422927, shift=1.4606637).forward(z))


def text_params(golden) -> dict[str, Any]:
    """The config of the released text-to-video model but for the sizes of its networks."""
    return {
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "num_timesteps_cond": 1,
        "log_every_t": 200,
        "timesteps": 1000,
        "first_stage_key": "video",
        "cond_stage_key": "caption",
        "image_size": [8, 8],
        "video_length": 4,
        "channels": 4,
        "cond_stage_trainable": False,
        "conditioning_key": "crossattn",
        "scale_by_std": False,
        "scale_factor": 0.18215,
        "use_ema": False,
        "unet_config": {
            "target": "lvdm.models.modules.openaimodel3d.UNetModel",
            "params": copy.deepcopy(golden("lvdm/unet_text").info["config"]),
        },
        "first_stage_config": {
            "target": "lvdm.models.autoencoder.AutoencoderKL",
            "params": copy.deepcopy(golden("lvdm/ae2d_small").info["config"]),
        },
        "cond_stage_config": {"target": "lvdm.models.modules.condition_modules.FrozenCLIPEmbedder"},
    }


def test_a_text_to_video_model_is_the_official_one(golden, tmp_path):
    unet, coder = golden("lvdm/unet_text"), golden("lvdm/ae2d_small")
    state = {f"model.diffusion_model.{k}": v for k, v in unet.weights().items()}
    state |= {f"first_stage_model.{k}": v for k, v in coder.weights().items()}
    state["cond_stage_model.transformer.text_model.final_layer_norm.bias"] = torch.zeros(768)
    model = converted(
        write(tmp_path / "official", state, SHORT, text_params(golden)), tmp_path / "a"
    )
    with torch.no_grad():
        t, signals = table_time(unet["in.t"]), text_signal(unet["in.context"])
        unet.close("eps", predict(model.denoisers["first"], unet["in.x"], t, signals))
        video = model.autoencoder.decode(coder["in.z"].movedim(0, 1)[None])
    coder.close("dec", video[0].movedim(1, 0))
    assert model.autoencoder.spec.clip == model.denoisers["first"].spec.clip == (4, 32, 32)
    assert model.index.sampling.guidance == ClassifierFree(scale=15.0)


def test_the_released_text_config_describes_the_released_weights(golden, tmp_path):
    params = text_params(golden) | {"image_size": [32, 32], "video_length": 16}
    params["unet_config"]["params"] |= {
        "image_size": 32,
        "model_channels": 320,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 4, 4],
        "num_heads": 8,
        "context_dim": 768,
        "temporal_length": 16,
    }
    coders = params["first_stage_config"]["params"]["ddconfig"]
    coders |= {"resolution": 256, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"model": {"target": SHORT, "params": params}}))
    official = read_official(path)
    assert official.denoiser is not None
    assert official.autoencoder == FramewiseAutoencoderConfig()
    keys = next(f for at in FOLDERS if (f := at / "lvdm" / "keys" / "unet_t2v.json").exists())
    assert LVDM.shapes(official.denoiser) == {
        key: tuple(shape) for key, shape in json.loads(keys.read_text()).items()
    }


FULL = {
    "image_size": 32,
    "model_channels": 256,
    "attention_resolutions": [8, 4, 2],
    "num_res_blocks": 3,
    "channel_mult": [1, 2, 3, 4],
}


@pytest.mark.parametrize(
    ("name", "case", "changes", "unet"),
    [
        ("unet_short_sky", "ldm_short_tiny", {}, {}),
        ("unet_pred_sky", "ldm_pred_tiny", {}, {}),
        (
            "unet_interp_sky",
            "ldm_pred_tiny",
            {"p_interp": 0.9, "p_pred": 0},
            {"temporal_length": 5},
        ),
    ],
)
def test_the_released_configs_describe_the_released_weights(
    golden, tmp_path, name, case, changes, unet
):
    params = copy.deepcopy(golden(f"lvdm/{case}").info["config"]) | changes | {"image_size": 32}
    params["unet_config"]["params"] |= FULL | unet
    coders = params["first_stage_config"]["params"]["ddconfig"]
    coders["encoder"]["params"] |= {"n_hiddens": 32, "downsample": [4, 8, 8]}
    coders["decoder"]["params"] |= {"n_hiddens": 32, "upsample": [4, 8, 8]}
    path = tmp_path / "a.yaml"
    target = SHORT if case == "ldm_short_tiny" else FRAMES
    path.write_text(yaml.safe_dump({"model": {"target": target, "params": params}}))
    official = read_official(path)
    assert official.denoiser is not None
    assert official.autoencoder == VolumeAutoencoderConfig()
    keys = next(f for at in FOLDERS if (f := at / "lvdm" / "keys" / f"{name}.json").exists())
    assert LVDM.shapes(official.denoiser) == {
        key: tuple(shape) for key, shape in json.loads(keys.read_text()).items()
    }
