"""Maps weight names of the official PVDM autoencoder to ours."""

from collections.abc import Mapping

import torch
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoder, TriplaneAutoencoderConfig
from longtake.convert.weights import check_weights, empty
from longtake.nn.embedding import space_scales, time_frequencies

WRAPPER = "module."  # prefix of names that the official code saves from a DataParallel network

_PLANES = {"content": "xy", "motion_h": "xt", "motion_w": "yt"}

_MODULES = {
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


def from_official(
    state: Mapping[str, Tensor], config: TriplaneAutoencoderConfig
) -> dict[str, Tensor]:
    """Convert an official state dict to one of ``TriplaneAutoencoder``.

    Frequencies that the official code saves with its weights are constants here and not read.

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


def constants(config: TriplaneAutoencoderConfig) -> dict[str, Tensor]:
    """Untrained tensors of the official state dict; the official code never reads ``coords``."""
    width = config.head_channels
    fixed = {"coords": torch.linspace(-1, 1, config.clip[0])[:, None]}
    for half in ("encoder", "decoder"):
        fixed[f"{half}.frame_rot_emb.inv_freqs"] = time_frequencies(width)
        fixed[f"{half}.image_rot_emb.scales"] = space_scales(width)
    return fixed


def official_names(model: TriplaneAutoencoder) -> dict[str, str]:
    """Official name by our name, in our order."""
    names = {}
    for name in model.state_dict():
        path, _, leaf = name.rpartition(".")
        names[name] = _table(path, leaf) if leaf in _TABLES else f"{_module(path)}.{leaf}"
    return names


def _table(path: str, leaf: str) -> str:
    """Official name of a plane's token or position table."""
    return f"{_PLANES[path.removeprefix('encoder.')]}_{_TABLES[leaf]}"


def _module(ours: str) -> str:
    """Official path of one of our modules."""
    if ours in _MODULES:
        return _MODULES[ours]
    half, group, *rest = ours.split(".")
    start = half if group == "transformer" else f"{_PLANES[group]}_quant_attn"
    return ".".join([start, *(_STEPS.get(step, step) for step in rest)])


def _official_view(official: str, value: Tensor) -> Tensor:
    """Add two axes of length 1 to a matrix that is a 1x1 convolution in the official network."""
    is_convolution = official.startswith(("pre_", "post_")) and official.endswith(".weight")
    return value[:, :, None, None] if is_convolution else value
