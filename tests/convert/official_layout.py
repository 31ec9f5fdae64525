"""Our weights in the official layout: the inverse of the maps in ``longtake.convert``."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from longtake.convert import (
    lvdm_autoencoder_keys,
    lvdm_framewise_keys,
    lvdm_unet_keys,
    pvdm_autoencoder_keys,
    pvdm_unet_keys,
)
from longtake.nn.attention import head_count

State = Mapping[str, Tensor]
BY_CONFIG = (lvdm_framewise_keys, lvdm_unet_keys, pvdm_unet_keys)


def official_names(keys: Any, config: Any) -> dict[str, str]:
    """Official name by ours; two of the maps read a network instead of its config."""
    return keys.official_names(config if keys in BY_CONFIG else config.build())


def rename(keys: Any, key: str, config: Any) -> str:
    """Our name of an official one, or of the second one that some weights have."""
    ours = {theirs: ours for ours, theirs in official_names(keys, config).items()}
    return ours[key] if key in ours else ours[f"{key.removesuffix('weight')}conv.weight"]


def to_official(keys: Any, state: State, config: Any) -> dict[str, Tensor]:
    """A state dict as the official code loads it, with its buffers and second names."""
    official = {theirs: state[ours] for ours, theirs in official_names(keys, config).items()}
    if keys is lvdm_autoencoder_keys:
        second = {name: w for name, w in official.items() if name.endswith(".conv.weight")}
        return official | {f"{k.removesuffix('.conv.weight')}.weight": w for k, w in second.items()}
    if keys is pvdm_autoencoder_keys:
        return {
            name: w[:, :, None, None]
            if name.startswith(("pre_", "post_")) and name.endswith(".weight")
            else w
            for name, w in official.items()
        } | pvdm_autoencoder_keys.constants(config)
    shapes = keys.official_shapes(config)
    if keys is pvdm_unet_keys:
        for name, w in official.items():
            if ".qkv." in name:  # heads outside, query, key and value within
                heads = head_count(len(w) // 3, config.num_heads, config.head_channels)
                official[name] = w.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
        if config.previous:
            zeros = next(iter(state.values())).new_zeros(shapes[pvdm_unet_keys.ZEROS])
            official = {pvdm_unet_keys.ZEROS: zeros} | official
    return {name: w.reshape(shapes[name]) for name, w in official.items()}
