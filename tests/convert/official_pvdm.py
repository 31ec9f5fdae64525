"""Official PVDM files at tiny size, with random weights, as the official code saves them."""

from functools import cache

import torch
from convert.official_layout import pvdm_shapes, to_official
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.convert.autoencoder_keys import TRIPLANE
from longtake.convert.unet_keys import ZEROS
from longtake.denoisers.triplane_unet import TriplaneUNetConfig

AUTOENCODER = TriplaneAutoencoderConfig(
    clip=(4, 16, 32),
    patch=4,
    width=16,
    depth=2,
    heads=2,
    head_channels=8,
    embed_dim=3,
    pool_depth=1,
    pool_heads=4,
    pool_head_channels=2,
    pool_hidden=8,
)

UNET = TriplaneUNetConfig(
    latent=(3, 4, 4, 8),
    clip=(4, 16, 32),
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(2,),
)


def autoencoder() -> dict[str, Tensor]:
    """State dict of ``model_last.pth``."""
    return dict(_autoencoder())


def unet(config: TriplaneUNetConfig = UNET) -> dict[str, Tensor]:
    """State dict of ``model_*.pth`` and ``ema_model_*.pth``."""
    return dict(_unet(config.model_dump_json()))


@cache
def _autoencoder() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return to_official(TRIPLANE, AUTOENCODER.build().state_dict(), AUTOENCODER)


@cache
def _unet(settings: str) -> dict[str, Tensor]:
    config = TriplaneUNetConfig.model_validate_json(settings)
    random = torch.Generator().manual_seed(0)
    return {
        f"diffusion_model.{key}": torch.zeros(shape)
        if key == ZEROS
        else 0.1 * torch.randn(shape, generator=random)
        for key, shape in pvdm_shapes(config).items()
    }
