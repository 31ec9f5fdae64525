"""Maps weight names of the official frame-wise autoencoder (LVDM, text to video) to ours.

The official names are Stable Diffusion's, as in its checkpoints; ours are diffusers'.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.convert.weights import check_weights, shapes_of

TRAINING = "loss."  # prefix of weights of the training's loss, which are not read

_PARTS = (
    (re.compile(r"^coder\."), ""),
    (re.compile(r"\.(down|up)_blocks\."), r".\1."),
    (re.compile(r"\.(down|up)samplers\.0\."), r".\1sample."),
    (re.compile(r"\.mid_block\.resnets\.0\."), ".mid.block_1."),
    (re.compile(r"\.mid_block\.resnets\.1\."), ".mid.block_2."),
    (re.compile(r"\.mid_block\.attentions\.0\."), ".mid.attn_1."),
    (re.compile(r"\.resnets\."), ".block."),
    (re.compile(r"\.conv_shortcut\."), ".nin_shortcut."),
    (re.compile(r"\.group_norm\."), ".norm."),
    (re.compile(r"\.to_([qkv])\."), r".\1."),
    (re.compile(r"\.to_out\.0\."), ".proj_out."),
    (re.compile(r"\.conv_norm_out\."), ".norm_out."),
)
"""Parts of our names, and what replaces them in official names."""

# The official decoder counts its levels from the finest, ours from the coarsest.
_UP = re.compile(r"^decoder\.up\.(\d+)\.")

# Matrices of ours that are 1x1 convolutions in the official network.
_MATRIX = re.compile(r"\.attn_1\.(q|k|v|proj_out)\.weight$")


def official_names(config: FramewiseAutoencoderConfig) -> dict[str, str]:
    """Official name by our name, in our order."""
    return {name: _official(name, len(config.channel_mult)) for name in shapes_of(config)}


def official_shapes(config: FramewiseAutoencoderConfig) -> dict[str, tuple[int, ...]]:
    """Official shape by official name."""
    shapes = shapes_of(config)
    return {
        official: (*shapes[ours], 1, 1) if _MATRIX.search(official) else shapes[ours]
        for ours, official in official_names(config).items()
    }


def from_official(
    state: Mapping[str, Tensor], config: FramewiseAutoencoderConfig
) -> dict[str, Tensor]:
    """Convert an official state dict to one of ``FramewiseAutoencoder``.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    names, shapes = official_names(config), shapes_of(config)
    given = {key: value for key, value in state.items() if not key.startswith(TRAINING)}
    check_weights(given, official_shapes(config))
    return {ours: given[official].reshape(shapes[ours]) for ours, official in names.items()}


def _official(name: str, levels: int) -> str:
    for ours, theirs in _PARTS:
        name = ours.sub(theirs, name)
    return _UP.sub(lambda level: f"decoder.up.{levels - 1 - int(level[1])}.", name)
