"""Maps weight names of the official LVDM 3D autoencoder to ours."""

from collections.abc import Container, Mapping

from torch import Tensor

from longtake.autoencoders.volume import (
    SameConv,
    SameConvTranspose,
    VolumeAutoencoder,
    VolumeAutoencoderConfig,
)
from longtake.convert.weights import check_weights, empty, shapes_of

TRAINING = "loss."  # prefix of the discriminator and perceptual network, which are not read

_MODULES = {
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


def from_official(
    state: Mapping[str, Tensor], config: VolumeAutoencoderConfig
) -> dict[str, Tensor]:
    """Convert an official state dict to one of ``VolumeAutoencoder``.

    The official padded convolution stores its weight twice, as ``X.weight`` and as
    ``X.conv.weight``; either is read.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    names, shapes = official_names(empty(config)), shapes_of(config)
    expected = {official: shapes[ours] for ours, official in names.items()}
    given = {
        _first_name(key, expected): value
        for key, value in state.items()
        if not key.startswith(TRAINING)
    }
    check_weights(given, expected)
    return {ours: given[official] for ours, official in names.items()}


def official_names(model: VolumeAutoencoder) -> dict[str, str]:
    """Official name by our name, in our order."""
    names = {}
    for name in model.state_dict():
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        inner = ""
        if isinstance(module, SameConv):
            inner = ".conv"
        elif isinstance(module, SameConvTranspose):
            inner = ".convt"
        names[name] = f"{_module(path)}{inner}.{leaf}"
    return names


def _module(ours: str) -> str:
    """Official path of one of our modules."""
    if ours in _MODULES:
        return _MODULES[ours]
    if ".levels." not in ours:
        return ours
    return ".".join(_STEPS.get(step, step) for step in ours.split("."))


def _first_name(key: str, names: Container[str]) -> str:
    """The one of a weight's two possible names that is among ``names``."""
    first = f"{key.removesuffix('weight')}conv.weight"
    return first if key not in names and first in names else key
