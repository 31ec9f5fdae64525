"""A whole official LVDM checkpoint and config at tiny size, with random weights."""

import copy
from functools import cache
from typing import Any

import torch
from convert.official_layout import to_official
from torch import Tensor

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.convert.autoencoder_keys import FRAMEWISE as FRAMEWISE_LAYOUT
from longtake.convert.autoencoder_keys import VOLUME
from longtake.convert.unet_keys import LVDM
from longtake.denoisers.volume_unet import VolumeUNetConfig
from longtake.diffusion.schedule import ScaledLinear
from longtake.nn.attention import RelativePositionConfig, SpaceTimeAttentionConfig
from longtake.nn.transformer import TransformerConfig

FRAMEWISE = FramewiseAutoencoderConfig(
    clip=(2, 16, 16), width=32, channel_mult=(1, 1, 1), num_res_blocks=1
)
AUTOENCODER = VolumeAutoencoderConfig(clip=(4, 16, 16), factors=(2, 4, 4), hidden=16)


def _unet(frames: int, **reads: Any) -> VolumeUNetConfig:
    return VolumeUNetConfig(
        latent=(4, frames, 4, 4),
        clip=(2 * frames, 16, 16),
        model_channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        attention=SpaceTimeAttentionConfig(
            relative_position=RelativePositionConfig(max_distance=frames)
        ),
        **reads,
    )


UNETS = {
    "short": _unet(2),
    "keys": _unet(2, mask_channel=True, noise_classes=251),
    "between": _unet(3, mask_channel=True, noise_classes=251),
    "text": _unet(2).model_copy(
        update={
            "clip": (2, 16, 16),
            "attention": TransformerConfig(num_heads=4, context_dim=16, max_distance=2),
            "scale_shift_norm": False,
        }
    ),
}

_CODER = {"n_hiddens": 16, "z_channels": 4, "image_channel": 3, "norm_type": "group"}

_FIRST_STAGE = {
    "target": "lvdm.models.autoencoder3d.AutoencoderKL",
    "params": {
        "ckpt_path": "${ckpt_path}",
        "embed_dim": 4,
        "lossconfig": "__is_first_stage__",
        "ddconfig": {
            "double_z": True,
            "z_channels": 4,
            "encoder": {
                "target": "lvdm.models.modules.aemodules3d.Encoder",
                "params": {**_CODER, "double_z": True, "downsample": [2, 4, 4]},
            },
            "decoder": {
                "target": "lvdm.models.modules.aemodules3d.Decoder",
                "params": {**_CODER, "upsample": [2, 4, 4]},
            },
        },
    },
}

_FRAMEWISE_STAGE = {
    "target": "lvdm.models.autoencoder.AutoencoderKL",
    "params": {
        "embed_dim": 4,
        "monitor": "val/rec_loss",
        "lossconfig": {"target": "torch.nn.Identity"},
        "ddconfig": {
            "double_z": True,
            "z_channels": 4,
            "resolution": 16,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 32,
            "ch_mult": [1, 1, 1],
            "num_res_blocks": 1,
            "attn_resolutions": [],
            "dropout": 0.0,
        },
    },
}

_UNET = {
    "image_size": 4,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "attention_resolutions": [2],
    "num_res_blocks": 1,
    "channel_mult": [1, 2],
    "num_heads": 4,
    "use_temporal_transformer": False,
    "use_checkpoint": True,
    "legacy": False,
    "kernel_size_t": 1,
    "padding_t": 0,
    "temporal_length": 2,
    "use_relative_position": True,
    "use_scale_shift_norm": True,
}


def config(role: str = "short") -> dict[str, Any]:
    """The official YAML of a role: ``autoencoder``, ``short``, ``keys``, ``between``, ``text``."""
    stage = copy.deepcopy(_FIRST_STAGE)
    if role == "autoencoder":
        data = {"video_length": 4, "resolution": 16, "data_root": "${data_root}"}
        return {"model": stage, "data": {"params": {"train": {"params": data}}}}
    unet = {"target": "lvdm.models.modules.openaimodel3d.UNetModel", "params": dict(_UNET)}
    params: dict[str, Any] = {
        "linear_start": 0.0015,
        "linear_end": 0.0155,
        "timesteps": 1000,
        "loss_type": "l1",
        "image_size": 4,
        "channels": 4,
        "scale_factor": 0.5,
        "shift_factor": 1.25,
        "encoder_type": "3d",
        "cond_stage_config": "__is_unconditional__",
        "unet_config": unet,
        "first_stage_config": stage,
    }
    if role == "short":
        target = "lvdm.models.ddpm3d.LatentDiffusion"
        return {"model": {"target": target, "params": params}}
    if role == "text":
        return _of_text(params)
    params |= {
        "conditioning_key": "concat-adm-mask",
        "cond_stage_config": None,
        "noisy_cond": True,
        "max_noise_level": 250,
        "p_pred": 0.5 if role == "keys" else 0.0,
        "p_interp": 0.9 if role == "between" else 0.0,
        "n_prevs": [1] if role == "keys" else None,
    }
    unet["params"] |= {
        "in_channels": 5,
        "num_classes": 251,
        "temporal_length": 2 if role == "keys" else 3,
    }
    target = "lvdm.models.ddpm3d.FrameInterpPredLatentDiffusion"
    return {"model": {"target": target, "params": params}}


def _of_text(params: dict[str, Any]) -> dict[str, Any]:
    for key in ("loss_type", "encoder_type", "shift_factor"):
        del params[key]
    text = {"use_temporal_transformer": True, "transformer_depth": 1, "context_dim": 16}
    params["unet_config"]["params"] |= text
    del params["unet_config"]["params"]["use_scale_shift_norm"]
    params |= {
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "scale_factor": 0.18215,
        "scale_by_std": False,
        "use_ema": False,
        "video_length": 2,
        "conditioning_key": "crossattn",
        "cond_stage_key": "caption",
        "cond_stage_trainable": False,
        "cond_stage_config": {"target": "lvdm.models.modules.condition_modules.FrozenCLIPEmbedder"},
        "first_stage_config": copy.deepcopy(_FRAMEWISE_STAGE),
    }
    return {"model": {"target": "lvdm.models.ddpm3d.LatentDiffusion", "params": params}}


def state(role: str = "short") -> dict[str, Tensor]:
    """The official state dict of a role. Averages are the weights plus one."""
    return dict(_state(role))


@cache
def _state(role: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    coder = to_official(VOLUME, AUTOENCODER.build().state_dict(), AUTOENCODER)
    if role == "autoencoder":
        return coder | {"loss.logvar": torch.zeros(())}
    random = torch.Generator().manual_seed(0)
    weights = {
        f"model.diffusion_model.{key}": 0.1 * torch.randn(shape, generator=random)
        for key, shape in LVDM.shapes(UNETS[role]).items()
    }
    if role == "text":
        return {
            "betas": ScaledLinear(beta_start=0.00085, beta_end=0.012).betas().float(),
            **weights,
            **{f"first_stage_model.{key}": value for key, value in _framewise().items()},
            "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.zeros(1, 77),
            "cond_stage_model.transformer.text_model.final_layer_norm.bias": torch.zeros(16),
        }
    averages = {
        "model_ema." + key.removeprefix("model.").replace(".", ""): value + 1
        for key, value in weights.items()
    }
    return {
        "betas": ScaledLinear().betas().float(),
        **weights,
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(7),
        **averages,
        **{f"first_stage_model.{key}": value for key, value in coder.items()},
    }


def _framewise() -> dict[str, Tensor]:
    return to_official(FRAMEWISE_LAYOUT, FRAMEWISE.build().state_dict(), FRAMEWISE)
