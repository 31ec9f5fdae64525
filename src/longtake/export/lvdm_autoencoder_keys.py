"""Names of the official LVDM 3D autoencoder's weights, and ours."""

from collections.abc import Mapping

import torch
from torch import Tensor

from longtake.autoencoders.volume import VolumeAutoencoder, VolumeAutoencoderConfig
from longtake.config import nearest
from longtake.nn.same_conv import SameConv, SameConvTranspose

TRAINING = "loss."
"""Below this a checkpoint holds discriminator and perceptual network, which are not read."""

_PLACES = {
    "encoder.conv_in": "encoder.conv_first",
    "encoder.norm_out": "encoder.final_block.0",
    "encoder.conv_out": "encoder.final_block.2",
    "to_moments": "quant_conv",
    "from_latent": "post_quant_conv",
}

_STEPS = {
    "levels": "conv_blocks",
    "residual": "res",
    "first": "res1",
    "second": "res2",
    "norm_in": "norm1",
    "conv_in": "conv1",
    "norm_out": "norm2",
    "conv_out": "conv2",
}


def rename(key: str, config: VolumeAutoencoderConfig) -> str:
    """Our name of an official one.

    The official padded convolution stores its weight twice, as ``X.weight`` and as
    ``X.conv.weight``; both have the same name here.

    Raises:
        ValueError: the official autoencoder has no such weight.
    """
    return _rename(key, _inverse(official_names(_meta(config))))


def from_official(
    state: Mapping[str, Tensor], config: VolumeAutoencoderConfig
) -> dict[str, Tensor]:
    """An official autoencoder's state dict as ``VolumeAutoencoder`` loads it.

    Raises:
        ValueError: a weight is unknown or missing, or has another shape than the config says.
    """
    model = _meta(config)
    names = official_names(model)
    inverse = _inverse(names)
    ours = {
        _rename(key, inverse): value for key, value in state.items() if not key.startswith(TRAINING)
    }
    missing = [official for name, official in names.items() if name not in ours]
    if missing:
        raise ValueError(
            f"{len(missing)} of the official LVDM autoencoder's {len(names)} weights are missing, "
            f"{', '.join(missing[:3])} among them; give its whole state dict"
        )
    for name, wanted in model.state_dict().items():
        if ours[name].shape != wanted.shape:
            raise ValueError(
                f"{names[name]} has shape {tuple(ours[name].shape)}, the config asks for "
                f"{tuple(wanted.shape)}; give the config that the weights were trained with"
            )
    return ours


def to_official(state: Mapping[str, Tensor], config: VolumeAutoencoderConfig) -> dict[str, Tensor]:
    """``VolumeAutoencoder``'s state dict as the official code loads it, second names included."""
    names = official_names(_meta(config))
    official = {names[name]: value for name, value in state.items()}
    second = {_alias(key): value for key, value in official.items() if _alias(key)}
    return official | second


def official_names(model: VolumeAutoencoder) -> dict[str, str]:
    """The official name of every weight of ours, in our order."""
    names = {}
    for name in model.state_dict():
        place, _, leaf = name.rpartition(".")
        module = model.get_submodule(place)
        inner = ""
        if isinstance(module, SameConv):
            inner = ".conv"
        elif isinstance(module, SameConvTranspose):
            inner = ".convt"
        names[name] = f"{_place(place)}{inner}.{leaf}"
    return names


def _place(ours: str) -> str:
    """Official path of a module of ours."""
    if ours in _PLACES:
        return _PLACES[ours]
    if ".levels." not in ours:
        return ours
    return ".".join(_STEPS.get(step, step) for step in ours.split("."))


def _alias(official: str) -> str:
    """The second name of a weight, empty where it has none."""
    stem = official.removesuffix(".conv.weight")
    return "" if stem == official else f"{stem}.weight"


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    """Our name of every official one, second names included."""
    inverse = {official: ours for ours, official in names.items()}
    second = {_alias(official): ours for official, ours in inverse.items() if _alias(official)}
    return inverse | second


def _rename(key: str, inverse: Mapping[str, str]) -> str:
    if key not in inverse:
        raise ValueError(
            f"{key!r} is no weight of the official LVDM autoencoder; {_near(key, inverse)}"
        )
    return inverse[key]


def _near(key: str, inverse: Mapping[str, str]) -> str:
    near = nearest(key, [*inverse])
    return near if near.startswith("did") else "give the weights of this config alone"


def _meta(config: VolumeAutoencoderConfig) -> VolumeAutoencoder:
    with torch.device("meta"):
        return config.build()
