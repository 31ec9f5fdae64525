"""Names of the official LVDM 3D autoencoder's weights, and ours."""

from collections.abc import Container, Mapping

from torch import Tensor

from longtake.autoencoders.volume import VolumeAutoencoder, VolumeAutoencoderConfig
from longtake.convert.weights import check_weights, empty, shapes_of
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
    names = {official: ours for ours, official in official_names(empty(config)).items()}
    ours = names.get(_first_name(key, names))
    if ours is None:
        raise ValueError(f"{key!r} is no weight of the official LVDM autoencoder of this config")
    return ours


def from_official(
    state: Mapping[str, Tensor], config: VolumeAutoencoderConfig
) -> dict[str, Tensor]:
    """An official autoencoder's state dict as ``VolumeAutoencoder`` loads it.

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


def to_official(state: Mapping[str, Tensor], config: VolumeAutoencoderConfig) -> dict[str, Tensor]:
    """``VolumeAutoencoder``'s state dict as the official code loads it, second names included."""
    names = official_names(empty(config))
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


def _first_name(key: str, names: Container[str]) -> str:
    """The name under which a weight stands among all, given either of the names it may have."""
    first = f"{key.removesuffix('weight')}conv.weight"
    return first if key not in names and first in names else key
