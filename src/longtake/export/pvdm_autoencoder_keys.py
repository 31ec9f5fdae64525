"""Names of the official PVDM autoencoder's weights, and ours."""

from collections.abc import Mapping

import torch
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoder, TriplaneAutoencoderConfig
from longtake.config import nearest
from longtake.nn.space_time import space_scales, time_frequencies

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
    return _rename(key, _inverse(official_names(_meta(config))))


def from_official(
    state: Mapping[str, Tensor], config: TriplaneAutoencoderConfig
) -> dict[str, Tensor]:
    """An official autoencoder's state dict as ``TriplaneAutoencoder`` loads it.

    Frequencies that the official code keeps beside its weights are constants here and not read.

    Raises:
        ValueError: a weight is unknown or missing, or has another shape than the config says.
    """
    model = _meta(config)
    names = official_names(model)
    inverse, fixed = _inverse(names), constants(config)
    bare = {key.removeprefix(WRAPPER): value for key, value in state.items()}
    ours = {_rename(key, inverse): value for key, value in bare.items() if key not in fixed}
    missing = [official for name, official in names.items() if name not in ours]
    if missing:
        raise ValueError(
            f"{len(missing)} of the official PVDM autoencoder's {len(names)} weights are missing, "
            f"{', '.join(missing[:3])} among them; give its whole state dict"
        )
    for name, wanted in model.state_dict().items():
        shape = _official_view(names[name], wanted).shape
        if ours[name].shape != shape:
            raise ValueError(
                f"{names[name]} has shape {tuple(ours[name].shape)}, the config asks for "
                f"{tuple(shape)}; give the config that the weights were trained with"
            )
        ours[name] = ours[name].view(wanted.shape)
    return ours


def to_official(
    state: Mapping[str, Tensor], config: TriplaneAutoencoderConfig
) -> dict[str, Tensor]:
    """``TriplaneAutoencoder``'s state dict as the official code loads it, constants included."""
    names = official_names(_meta(config))
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


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    return {official: ours for ours, official in names.items()}


def _rename(key: str, inverse: Mapping[str, str]) -> str:
    if key not in inverse:
        near = nearest(key, [*inverse])
        advice = near if near.startswith("did") else "give the weights of this config alone"
        raise ValueError(f"{key!r} is no weight of the official PVDM autoencoder; {advice}")
    return inverse[key]


def _meta(config: TriplaneAutoencoderConfig) -> TriplaneAutoencoder:
    with torch.device("meta"):
        return config.build()
