"""Our weights in the official layout: the inverse of the layouts in ``longtake.convert``."""

from collections.abc import Mapping

import torch
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.config import Config
from longtake.convert.autoencoder_keys import TRIPLANE, VOLUME
from longtake.convert.layout import OfficialLayout
from longtake.convert.unet_keys import PVDM, ZEROS
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.nn.attention import head_count
from longtake.nn.embedding import space_scales, time_frequencies

State = Mapping[str, Tensor]


def rename(layout: OfficialLayout, key: str, config: Config) -> str:
    """Our name of an official one, or of the second one that some weights have."""
    ours = {theirs: ours for ours, theirs in layout.names(config).items()}
    return ours[key] if key in ours else ours[f"{key.removesuffix('weight')}conv.weight"]


def to_official(layout: OfficialLayout, state: State, config: Config) -> dict[str, Tensor]:
    """A state dict as the official code loads it, with its buffers and second names."""
    shapes = layout.shapes(config)
    official = {theirs: state[ours] for ours, theirs in layout.names(config).items()}
    if layout is PVDM:
        assert isinstance(config, TriplaneUNetConfig)
        for name, w in official.items():
            if ".qkv." in name:  # heads outside, query, key and value within
                heads = head_count(len(w) // 3, config.num_heads, config.head_channels)
                official[name] = w.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
    official = {name: w.reshape(shapes[name]) for name, w in official.items()}
    if layout is VOLUME:
        second = {name: w for name, w in official.items() if name.endswith(".conv.weight")}
        return official | {f"{k.removesuffix('.conv.weight')}.weight": w for k, w in second.items()}
    if layout is TRIPLANE:
        assert isinstance(config, TriplaneAutoencoderConfig)
        return official | constants(config)
    if isinstance(config, TriplaneUNetConfig) and config.previous:
        zeros = next(iter(state.values())).new_zeros(pvdm_shapes(config)[ZEROS])
        return {ZEROS: zeros} | official
    return official


def constants(config: TriplaneAutoencoderConfig) -> dict[str, Tensor]:
    """Tensors of PVDM's autoencoder that are not trained; official code never reads ``coords``."""
    width = config.head_channels
    fixed = {"coords": torch.linspace(-1, 1, config.clip[0])[:, None]}
    for half in ("encoder", "decoder"):
        fixed[f"{half}.frame_rot_emb.inv_freqs"] = time_frequencies(width)
        fixed[f"{half}.image_rot_emb.scales"] = space_scales(width)
    return fixed


def pvdm_shapes(config: TriplaneUNetConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of PVDM's UNet, the buffer of zeros included."""
    zeros = {ZEROS: (1, config.latent[0], sum(config.planes(0).sizes))} if config.previous else {}
    return {**zeros, **PVDM.shapes(config)}
