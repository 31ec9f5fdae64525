"""A Stable Diffusion model of some thousand random weights, as diffusers stores it."""

from pathlib import Path
from typing import Any

import torch


def write(folder: Path) -> Path:
    """Write the model's folder, and return it."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    torch.manual_seed(0)
    sizes = {"norm_num_groups": 4, "layers_per_block": 1}
    unet: Any = UNet2DConditionModel
    unet(
        **sizes,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=6,
        attention_head_dim=2,
    ).save_pretrained(folder / "unet")
    vae: Any = AutoencoderKL
    vae(
        **sizes,
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(folder / "vae")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        steps_offset=1,
        clip_sample=False,
    ).save_pretrained(folder / "scheduler")
    return folder
