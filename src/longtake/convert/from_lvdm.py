"""Converts official LVDM checkpoints (Lightning ``.ckpt`` with its YAML) to model folders."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.checkpoint import CheckpointError
from longtake.config import ConfigError, parse, plural
from longtake.convert.autoencoder_keys import FRAMEWISE, VOLUME
from longtake.convert.official_config import OfficialModel, read_official
from longtake.convert.torch_file import read_state_dict
from longtake.convert.unet_keys import LVDM
from longtake.denoisers.volume_unet import VolumeUNetConfig
from longtake.diffusion.process import Diffusion
from longtake.diffusion.schedule import ScaledLinear
from longtake.latents import LatentScaling
from longtake.model import ModelIndex, VideoModel
from longtake.rollout import Autoregressive, Hierarchical, Role
from longtake.text import PretrainedText

LOGGER = logging.getLogger("longtake")

UNET, EMA, FIRST_STAGE = "model.diffusion_model.", "model_ema.", "first_stage_model."
TEXT_ENCODER = "cond_stage_model."

LAYOUTS = {
    VolumeAutoencoderConfig: ("autoencoder", VOLUME),
    FramewiseAutoencoderConfig: ("autoencoder", FRAMEWISE),
    VolumeUNetConfig: ("UNet", LVDM),
}

# Buffers of a checkpoint beside its networks; all but the scale follow from the config.
BUFFERS = (
    "alphas_cumprod alphas_cumprod_prev betas log_one_minus_alphas_cumprod logvar lvlb_weights "
    "posterior_log_variance_clipped posterior_mean_coef1 posterior_mean_coef2 posterior_variance "
    "scale_factor sqrt_alphas_cumprod sqrt_one_minus_alphas_cumprod sqrt_recip_alphas_cumprod "
    "sqrt_recipm1_alphas_cumprod"
)

FPS = 8.0  # frame rate of the videos that the official scripts write

OTHER_YAML = "pass the .yaml that the model was trained with"
TAKE_RAW = "set raw=True to convert the raw weights"


WITHOUT_TEXT_ENCODER = (
    "%s: its text encoder, the %d weights %s*, is left out: it is openai/clip-vit-large-patch14, "
    "unchanged, which prompts need; `hf download openai/clip-vit-large-patch14`, or give its folder"
)

KEYFRAMES = (
    "%s: samples every %d-th latent frame, so its videos have %g frames a second; convert it "
    "with an interpolation model for those between"
)


def convert_lvdm_folder(
    ckpt: Path,
    config: Path,
    out: Path,
    *,
    raw: bool = False,
    interpolator: tuple[Path, Path] | None = None,
    overwrite: bool = False,
) -> None:
    """Convert an official LVDM checkpoint to a folder that ``VideoModel.from_pretrained`` opens.

    Args:
        ckpt: official checkpoint of an autoencoder or of a denoiser: for single clips without
            context frames, for prediction, for interpolation, or for text. No code in it is run. A
            text encoder in it is left out: it is the public CLIP ViT-L/14, unchanged.
        config: official YAML config of ``ckpt``.
        out: model folder to write.
        raw: take the weights themselves, not their EMA.
        interpolator: checkpoint and YAML config of an interpolation model that fills in the frames
            between keyframes; ``ckpt`` is then a prediction model for keyframes.
        overwrite: replace ``out`` if it exists.

    Raises:
        CheckpointError: a file is not a checkpoint, is damaged, contains an object that
            checkpoints do not need, or does not fit its config.
        ConfigError: a config cannot be converted.
        ExistsError: ``out`` exists, and ``overwrite`` is false.
        ValueError: ``ckpt`` and ``interpolator`` are not such models, or do not fit each other.
    """
    model = read_lvdm(ckpt, config, raw=raw)
    if interpolator is not None:
        model = _merged(model, read_lvdm(*interpolator, raw=raw))
    model.save_pretrained(out, overwrite=overwrite)


def read_lvdm(ckpt: Path, config: Path, *, raw: bool = False) -> VideoModel:
    """Load an official LVDM checkpoint as a ``VideoModel``; weights are memory-mapped.

    Args:
        ckpt: official checkpoint.
        config: its official YAML config.
        raw: take the weights themselves, not their EMA.

    Raises:
        CheckpointError: the file is not a checkpoint, is damaged, contains an object that
            checkpoints do not need, or does not fit its config.
        ConfigError: the config cannot be converted.
    """
    official = read_official(config)
    state = read_state_dict(ckpt)
    try:
        return _model(official, state, ckpt.name, raw)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{ckpt}: {error}") from error


def _model(
    official: OfficialModel, state: Mapping[str, Tensor], name: str, raw: bool
) -> VideoModel:
    """Build the model of an official config and load the weights ``state`` of the file ``name``.

    ``raw``: the weights themselves, not their EMA. Errors are those of the conversion.
    """
    if official.denoiser is None:
        index = ModelIndex(fps=FPS, ema=False, made_by=name)
        return VideoModel(index=index, autoencoder=_network(official.autoencoder, state))
    assert official.diffusion is not None
    networks, text_encoder = (UNET, EMA, FIRST_STAGE), None
    if official.denoiser.attention.text_width is not None:
        networks += (TEXT_ENCODER,)
        found = sum(key.startswith(TEXT_ENCODER) for key in state)
        LOGGER.warning(WITHOUT_TEXT_ENCODER, name, found, TEXT_ENCODER)
        text_encoder = PretrainedText()
    for key in state:
        if key not in BUFFERS.split() and not key.startswith(networks):
            raise CheckpointError(
                f"{key!r} is not a weight of an official LVDM model; {OTHER_YAML}"
            )
    _check_schedule(official.diffusion, state)
    has_ema = any(key.startswith(EMA) for key in state)
    if official.ema and not (raw or has_ema):
        raise CheckpointError(
            f"the checkpoint has no EMA of the weights, though the config does not have "
            f"use_ema: false; {TAKE_RAW}"
        )
    raw = raw or not has_ema
    scaling = official.latent_scaling
    if official.measured_scale:
        if "scale_factor" not in state:
            raise CheckpointError(
                f"the checkpoint lacks scale_factor, which the config requires; {OTHER_YAML}"
            )
        scale = state["scale_factor"].flatten().tolist()
        data = {"shift": scaling.shift, "scale": scale[0] if len(scale) == 1 else scale}
        scaling = parse(LatentScaling, data)
    fps = FPS / official.frame_stride
    if official.frame_stride > 1:
        LOGGER.warning(KEYFRAMES, name, official.frame_stride, fps)
    weights = _below(UNET, state)
    unet = _network(official.denoiser, weights if raw else _ema(weights, state))
    index = ModelIndex(
        fps=fps,
        latent_scaling=scaling,
        diffusion=official.diffusion,
        sampling=official.sampling,
        classes=tuple(map(str, range(int(official.denoiser.num_classes or 0)))),
        ema=not raw,
        text_encoder=text_encoder,
        made_by=name,
    )
    autoencoder = _network(official.autoencoder, _below(FIRST_STAGE, state))
    role: Role = "interpolator" if official.interpolates else "first"
    return VideoModel(index=index, autoencoder=autoencoder, denoisers={role: unet})


def _merged(keyframes: VideoModel, interpolation: VideoModel) -> VideoModel:
    """Merge a model that predicts keyframes and one that interpolates between keyframes."""
    rollout, first, second = keyframes.index.sampling.rollout, keyframes.index, interpolation.index
    if "first" not in keyframes.denoisers or not isinstance(rollout, Autoregressive):
        raise ValueError(
            f"{first.made_by}: is not a prediction model, whose config has p_pred > 0, so it makes "
            "no keyframes; convert a prediction model with the interpolation model"
        )
    if "interpolator" not in interpolation.denoisers:
        raise ValueError(
            f"{second.made_by}: is not an interpolation model, whose config has p_interp > 0 and "
            "p_pred = 0, so it makes no frames between keyframes; give an interpolation model"
        )
    sampling = first.sampling.model_copy(update={"rollout": Hierarchical(keyframes=rollout)})
    made_by = f"{first.made_by} + {second.made_by}"
    index = first.model_copy(update={"sampling": sampling, "made_by": made_by, "fps": FPS})
    return replace(keyframes.merge(interpolation), index=index)


def _network(config: Any, state: Mapping[str, Tensor]) -> Any:
    part, layout = LAYOUTS[type(config)]
    try:
        return layout.network(state, config)
    except ValueError as error:
        raise CheckpointError(f"{part}: {error}") from error


def _ema(weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """EMA of the UNet's ``weights``, found in ``state`` by their official names without dots."""
    averages = {EMA + f"diffusion_model.{key}".replace(".", ""): key for key in weights}
    counters = {f"{EMA}decay", f"{EMA}num_updates"}
    for key in state:
        if key.startswith(EMA) and key not in averages and key not in counters:
            raise CheckpointError(f"{key!r} is not the EMA of a weight; {TAKE_RAW}")
    if missing := [key for key in averages if key not in state]:
        raise CheckpointError(
            f"the checkpoint lacks {plural(len(missing), 'EMA weight')}, first {missing[0]!r}; "
            f"{TAKE_RAW}"
        )
    return {key: state[average] for average, key in averages.items()}


def _check_schedule(diffusion: Diffusion, state: Mapping[str, Tensor]) -> None:
    schedule = diffusion.schedule
    assert isinstance(schedule, ScaledLinear)
    if "betas" not in state:
        return
    found, expected = state["betas"].double().flatten(), schedule.betas()
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-4):
        first, last = found[:1].sum(), found[-1:].sum()
        raise CheckpointError(
            f"the checkpoint's {len(found)} betas range from {first:.6g} to {last:.6g}, "
            f"those of the config from {schedule.beta_start:.6g} to {schedule.beta_end:.6g}; "
            f"{OTHER_YAML}"
        )


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): state[k] for k in state if k.startswith(prefix)}
