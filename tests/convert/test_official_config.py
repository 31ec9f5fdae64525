import copy
from pathlib import Path
from typing import Any

import official_lvdm
import pytest
import yaml

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.config import ConfigError
from longtake.convert.official_config import OfficialModel, read_official, resolve
from longtake.diffusion.guidance import ClassifierFree
from longtake.diffusion.samplers import DDIM, DDPM
from longtake.diffusion.schedule import ScaledLinear
from longtake.latents import LatentScaling
from longtake.nn.transformer import TransformerConfig
from longtake.rollout import Autoregressive, OneClip


def read(folder: Path, config: Any) -> OfficialModel:
    path = folder / "a.yaml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return read_official(path)


def changed(role: str, place: str, value: Any) -> Any:
    config = copy.deepcopy(official_lvdm.config(role))
    node = config
    *parents, leaf = place.split(".")
    for key in parents:
        node = node[key]
    node[leaf] = value
    return config


def test_a_short_model_is_read(tmp_path: Path):
    found = read(tmp_path, official_lvdm.config("short"))
    assert found.autoencoder.clip == (4, 16, 16)
    assert isinstance(found.autoencoder, VolumeAutoencoderConfig)
    assert found.autoencoder.factors == (2, 4, 4)
    assert found.denoiser is not None
    assert found.denoiser.latent == (4, 2, 4, 4)
    assert found.denoiser.clip == (4, 16, 16)
    assert found.diffusion is not None
    assert found.diffusion.schedule == ScaledLinear()
    assert found.diffusion.loss == "l1"
    assert (found.sampling.sampler, found.sampling.rollout) == (DDPM(), OneClip())
    assert (found.ema, found.interpolates) == (True, False)


def test_a_prediction_model_is_sampled_as_the_official_script_does(tmp_path: Path):
    found = read(tmp_path, official_lvdm.config("keys"))
    assert found.denoiser is not None
    assert found.denoiser.mask_channel
    assert found.denoiser.noise_classes == 251
    assert found.denoiser.num_classes is None
    sampling = found.sampling
    assert sampling.sampler == DDIM(steps=50, eta=1.0, grid="leading")
    assert sampling.guidance == ClassifierFree(scale=1.1, condition_on_noise_level=False)
    assert sampling.rollout == Autoregressive(overlap_latent_frames=1)
    assert sampling.context_noise == 0.101


def test_a_text_to_video_model_is_sampled_as_the_official_script_does(tmp_path: Path):
    found = read(tmp_path, official_lvdm.config("text"))
    assert isinstance(found.autoencoder, FramewiseAutoencoderConfig)
    assert (found.autoencoder.clip, found.autoencoder.factor) == ((2, 16, 16), 4)
    assert found.denoiser is not None
    attention = TransformerConfig(num_heads=4, context_dim=16, max_distance=2)
    assert found.denoiser.attention == attention
    assert not found.denoiser.scale_shift_norm
    assert found.diffusion is not None
    assert found.diffusion.schedule == ScaledLinear(beta_start=0.00085, beta_end=0.012)
    assert found.diffusion.loss == "l2"
    assert found.latent_scaling == LatentScaling(scale=0.18215)
    assert not found.ema
    sampling = found.sampling
    assert sampling.sampler == DDIM(steps=50, eta=1.0, grid="leading")
    assert sampling.guidance == ClassifierFree(scale=15.0)
    assert sampling.rollout == OneClip()


def test_a_frame_wise_autoencoder_is_read(tmp_path: Path):
    stage = official_lvdm.config("text")["model"]["params"]["first_stage_config"]
    found = read(tmp_path, {"model": stage})
    assert found.denoiser is None
    assert found.autoencoder.clip == (16, 256, 256)
    stage["params"]["embed_dim"] = 3
    with pytest.raises(
        ConfigError, match=r"embed_dim=3 and ddconfig\.z_channels=4, expected the sa"
    ):
        read(tmp_path, {"model": stage})


def test_an_interpolation_model_s_autoencoder_keeps_its_own_clip(tmp_path: Path):
    found = read(tmp_path, official_lvdm.config("between"))
    assert found.interpolates
    assert found.denoiser is not None
    assert found.denoiser.clip == (6, 16, 16)
    assert found.autoencoder.clip == (4, 16, 16)


def test_an_autoencoder_is_read(tmp_path: Path):
    found = read(tmp_path, official_lvdm.config("autoencoder"))
    assert found.denoiser is None
    assert found.autoencoder.clip == (4, 16, 16)
    del (without_data := official_lvdm.config("autoencoder"))["data"]
    assert read(tmp_path, without_data).autoencoder.clip == (16, 256, 256)


def test_references_are_resolved_where_they_lead_somewhere():
    root = {
        "size": 4,
        "name": "sky",
        "a": {"b": "${size}", "c": ["${a.b}", "${nowhere}"], "d": "runs/${name}/${nowhere}"},
    }
    a = resolve(root)["a"]
    assert a == {"b": 4, "c": [4, "${nowhere}"], "d": "runs/sky/${nowhere}"}


def test_a_reference_in_a_circle_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"a\.yaml: the reference \$\{.*\} leads back to itself"):
        read(tmp_path, "a: ${b}\nb: ${a}\nmodel: {}")


def test_a_reference_replaces_a_setting(tmp_path: Path):
    config = changed("short", "model.params.image_size", "${latent_size}") | {"latent_size": 8}
    found = read(tmp_path, config)
    assert found.denoiser is not None
    assert found.denoiser.latent == (4, 2, 8, 8)


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path):
    found = read(tmp_path, changed("short", "model.params.linear_start", "1e-3"))
    assert found.diffusion is not None
    assert found.diffusion.schedule == ScaledLinear(beta_start=1e-3)


PARAMS = "model.params"
UNET = f"{PARAMS}.unet_config.params"
STAGE = f"{PARAMS}.first_stage_config"
CODERS = f"{STAGE}.params.ddconfig"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("model", None, "has no section model.params"),
        ("model.target", "lvdm.models.vae.VAE", "'lvdm.models.vae.VAE' is not a model of LVDM"),
        (f"{PARAMS}.timesteps", 500, "model.params.timesteps: input should be 1000"),
        (f"{PARAMS}.image_siz", 8, "there is no field 'image_siz'; did you mean 'image_size'"),
        (f"{PARAMS}.encoder_type", "2d", "encoder_type: is '2d', expected '3d' with this first"),
        (f"{PARAMS}.cond_stage_config", None, "conditioning_key: is missing; expected adm"),
        (f"{PARAMS}.linear_end", 2.0, "schedule"),
        (f"{PARAMS}.image_size", "${size}", "image_size"),
        (f"{UNET}.in_channels", 5, "in_channels=5 and out_channels=4, expected 4 and 4"),
        (f"{UNET}.padding_t", 1, "padding_t: input should be 0, got 1"),
        (f"{UNET}.model_channels", 20, "groups=32 must divide a level's 20 channels"),
        (
            f"{UNET}.context_dim",
            16,
            "context_dim=16 is read only with use_temporal_transformer: true",
        ),
        (f"{PARAMS}.conditioning_key", "crossattn", "conditioning_key=crossattn and context_dim=N"),
        (
            f"{STAGE}.target",
            "ldm.models.autoencoder.VQModel",
            "VQModel' cannot be converted; vali",
        ),
        (f"{STAGE}.target", ["a"], "cannot be converted; valid are lvdm"),
        (f"{CODERS}.encoder.params.downsample", [4, 4, 4], "encoder and decoder differ"),
        (f"{CODERS}.encoder.params.n_hiddens", 20, "encoder and decoder differ in n_hiddens"),
        (f"{CODERS}.z_channels", 7, "z_channels=7 must be the encoder's and decoder's, 4"),
        (f"{CODERS}.encoder.params.norm_type", "batch", "norm_type: input should be 'group'"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_sentence(
    tmp_path: Path, place: str, value: Any, message: str
):
    with pytest.raises(ConfigError) as error:
        read(tmp_path, changed("short", place, value))
    assert str(error.value).startswith(f"{tmp_path / 'a.yaml'}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_setting_is_named(tmp_path: Path):
    config = copy.deepcopy(official_lvdm.config("short"))
    del config["model"]["params"]["unet_config"]["params"]["model_channels"]
    with pytest.raises(ConfigError, match=r"unet_config\.params\.model_channels: is missing"):
        read(tmp_path, config)
