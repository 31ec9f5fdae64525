"""Names of the official PVDM autoencoder's weights, and ours."""

from collections.abc import Mapping

import torch
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoder, TriplaneAutoencoderConfig
from longtake.convert.weights import check_weights, empty
from longtake.nn.rotary import space_scales, time_frequencies

WRAPPER = "module."
"""Before every name in files that the official code saves from under its parallel wrapper."""

_PLANES = {"content": "xy", "motion_h": "xt", "motion_w": "yt"}

_PLACES = {
    "encoder.embed": "encoder.to_patch_embedding",
    "decoder.to_pixel": "to_pixel.1",
    **{f"encoder.{ours}.project": f"pre_{official}" for ours, official in _PLANES.items()},
    **{f"decoder.{ours}": f"post_{official}" for ours, official in _PLANES.items()},
}

_TABLES = {"token": "token", "position": "pos_embedding"}

_STEPS = {
    "time": "0",
    "space": "1",
    "feed_forward": "2",
    "attention": "0",
    "mlp": "1",
    "qkv": "fn.to_qkv",
    "proj": "fn.to_out.0",
    "gated": "fn.net.0",
    "hidden": "fn.net.0",
    "out": "fn.net.3",
}


def rename(key: str, config: TriplaneAutoencoderConfig) -> str:
    """Our name of an official one.

    Raises:
        ValueError: the official autoencoder has no such weight.
    """
    names = {official: ours for ours, official in official_names(empty(config)).items()}
    if key not in names:
        raise ValueError(f"{key!r} is no weight of the official PVDM autoencoder of this config")
    return names[key]


def from_official(
    state: Mapping[str, Tensor], config: TriplaneAutoencoderConfig
) -> dict[str, Tensor]:
    """An official autoencoder's state dict as ``TriplaneAutoencoder`` loads it.

    Frequencies that the official code keeps beside its weights are constants here and not read.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    model, fixed = empty(config), constants(config)
    names, ours = official_names(model), model.state_dict()
    bare = {key.removeprefix(WRAPPER): value for key, value in state.items()}
    given = {key: value for key, value in bare.items() if key not in fixed}
    check_weights(
        given,
        {
            official: tuple(_official_view(official, ours[name]).shape)
            for name, official in names.items()
        },
    )
    return {name: given[official].view(ours[name].shape) for name, official in names.items()}


def to_official(
    state: Mapping[str, Tensor], config: TriplaneAutoencoderConfig
) -> dict[str, Tensor]:
    """``TriplaneAutoencoder``'s state dict as the official code loads it, constants included."""
    names = official_names(empty(config))
    weights = {names[name]: _official_view(names[name], value) for name, value in state.items()}
    return weights | constants(config)


def constants(config: TriplaneAutoencoderConfig) -> dict[str, Tensor]:
    """What the official state dict holds that is never trained; ``coords`` is not even read."""
    width = config.head_channels
    fixed = {"coords": torch.linspace(-1, 1, config.clip[0])[:, None]}
    for half in ("encoder", "decoder"):
        fixed[f"{half}.frame_rot_emb.inv_freqs"] = time_frequencies(width)
        fixed[f"{half}.image_rot_emb.scales"] = space_scales(width)
    return fixed


def official_names(model: TriplaneAutoencoder) -> dict[str, str]:
    """The official name of every weight of ours, in our order."""
    names = {}
    for name in model.state_dict():
        place, _, leaf = name.rpartition(".")
        names[name] = _table(place, leaf) if leaf in _TABLES else f"{_place(place)}.{leaf}"
    return names


def _table(place: str, leaf: str) -> str:
    """Official name of what a plane's transformer adds to its cells."""
    return f"{_PLANES[place.removeprefix('encoder.')]}_{_TABLES[leaf]}"


def _place(ours: str) -> str:
    """Official path of a module of ours."""
    if ours in _PLACES:
        return _PLACES[ours]
    half, group, *rest = ours.split(".")
    start = half if group == "transformer" else f"{_PLANES[group]}_quant_attn"
    return ".".join([start, *(_STEPS.get(step, step) for step in rest)])


def _official_view(official: str, value: Tensor) -> Tensor:
    """Give a matrix that is a 1x1 convolution officially its two axes of length 1."""
    is_convolution = official.startswith(("pre_", "post_")) and official.endswith(".weight")
    return value[:, :, None, None] if is_convolution else value
