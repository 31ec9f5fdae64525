"""Names of the official frame-wise autoencoder's weights (LVDM, text to video), and ours.

The official ones are Stable Diffusion's, below ``first_stage_model.`` in its checkpoints too; ours
are diffusers'.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.convert.weights import check_weights, shapes_of

TRAINING = "loss."
"""Below this a checkpoint holds what training needed, which is not read."""

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
"""What stands in our names, and in the official ones instead."""

_UP = re.compile(r"^decoder\.up\.(\d+)\.")
"""Levels of the way up are counted from the finest officially, from the coarsest here."""

_MATRIX = re.compile(r"\.attn_1\.(q|k|v|proj_out)\.weight$")
"""A matrix of ours, which is a 1x1 convolution officially."""


def official_names(config: FramewiseAutoencoderConfig) -> dict[str, str]:
    """The official name of every weight of ours, in our order."""
    return {name: _official(name, len(config.channel_mult)) for name in shapes_of(config)}


def official_shapes(config: FramewiseAutoencoderConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the official weights by official name."""
    shapes = shapes_of(config)
    return {
        official: (*shapes[ours], 1, 1) if _MATRIX.search(official) else shapes[ours]
        for ours, official in official_names(config).items()
    }


def rename(key: str, config: FramewiseAutoencoderConfig) -> str:
    """Our name of an official one.

    Raises:
        ValueError: the official autoencoder has no such weight.
    """
    names = {official: ours for ours, official in official_names(config).items()}
    if key not in names:
        raise ValueError(
            f"{key!r} is no weight of the official frame-wise autoencoder of this config"
        )
    return names[key]


def from_official(
    state: Mapping[str, Tensor], config: FramewiseAutoencoderConfig
) -> dict[str, Tensor]:
    """An official autoencoder's state dict as ``FramewiseAutoencoder`` loads it.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    names, shapes = official_names(config), shapes_of(config)
    given = {key: value for key, value in state.items() if not key.startswith(TRAINING)}
    check_weights(given, official_shapes(config))
    return {ours: given[official].reshape(shapes[ours]) for ours, official in names.items()}


def to_official(
    state: Mapping[str, Tensor], config: FramewiseAutoencoderConfig
) -> dict[str, Tensor]:
    """``FramewiseAutoencoder``'s state dict as the official code loads it."""
    names, shapes = official_names(config), official_shapes(config)
    return {official: state[ours].reshape(shapes[official]) for ours, official in names.items()}


def _official(name: str, levels: int) -> str:
    for ours, theirs in _PARTS:
        name = ours.sub(theirs, name)
    return _UP.sub(lambda level: f"decoder.up.{levels - 1 - int(level[1])}.", name)
