"""Sizes of official PVDM networks, read off the names and shapes of their weights."""

import re
from collections.abc import Mapping

from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.config import parse
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.latents import LatentSpec, Triplane

HEADS = 8
"""Of every attention in the released UNets; the only size that no weight tells."""


def autoencoder_config(state: Mapping[str, Tensor]) -> TriplaneAutoencoderConfig:
    """The config of an official autoencoder, clip included: a table of positions has its extent.

    A model that officially cuts its clips in ``splits`` groups has clips of one group here.

    Raises:
        ValueError: a weight that tells a size is missing or odd, or the sizes do not fit.
    """
    width, _, patch, _ = _shape(state, "to_pixel.1.weight", 4)
    frames, columns, rows = (
        _shape(state, f"{plane}_pos_embedding", 3)[1] - 1 for plane in ("xy", "xt", "yt")
    )
    head_channels = 2 * _shape(state, "encoder.frame_rot_emb.inv_freqs", 1)[0]
    inner = _shape(state, "encoder.layers.0.0.fn.to_qkv.weight", 2)[0] // 3
    pooled = _shape(state, "xy_quant_attn.layers.0.0.fn.to_qkv.weight", 2)[0] // 3
    pool_head_channels = max(width // 8, 1)
    sizes = {
        "clip": (frames, patch * rows, patch * columns),
        "patch": patch,
        "width": width,
        "depth": _count(state, r"encoder\.layers\.(\d+)\."),
        "heads": inner // head_channels,
        "head_channels": head_channels,
        "embed_dim": _shape(state, "pre_xy.weight", 4)[0],
        "pool_depth": _count(state, r"xy_quant_attn\.layers\.(\d+)\."),
        "pool_heads": pooled // pool_head_channels,
        "pool_head_channels": pool_head_channels,
        "pool_hidden": _shape(state, "xy_quant_attn.layers.0.1.fn.net.0.weight", 2)[0],
    }
    return parse(TriplaneAutoencoderConfig, sizes)


def unet_config(
    state: Mapping[str, Tensor], spec: LatentSpec, planes: Triplane, heads: int = HEADS
) -> TriplaneUNetConfig:
    """The config of an official UNet.

    Args:
        state: its weights by official name, below ``diffusion_model.``.
        spec: of the latents it works on; its weights do not tell their extent.
        planes: their planes.
        heads: of every attention.

    Raises:
        ValueError: a weight that tells a size is missing or odd, or the sizes do not fit.
    """
    embedding, model_channels = _shape(state, "time_embed.0.weight", 2)
    channels = _shape(state, "out.2.weight", 4)[0]
    steps = _steps(state)
    levels = range(0, _count(state, r"input_blocks\.(\d+)\."), steps + 1)
    first = [f"input_blocks.{1 + start}" for start in levels]
    widths = [_shape(state, f"{block}.0.out_layers.3.weight", 4)[0] for block in first]
    told = _shape(state, "input_blocks.1.0.emb_layers.1.weight", 2)
    sizes = {
        "latent": (channels, planes.frames, planes.height, planes.width),
        "clip": spec.clip,
        "bounds": spec.bounds,
        "model_channels": model_channels,
        "channel_mult": tuple(width // model_channels for width in widths),
        "num_res_blocks": steps,
        "attention_resolutions": tuple(
            2**level for level, block in enumerate(first) if f"{block}.1.qkv.weight" in state
        ),
        "num_heads": heads,
        "previous": _shape(state, "input_blocks.0.0.weight", 4)[1] == 2 * channels,
        "scale_shift_norm": told == (2 * widths[0], embedding),
        "resblock_updown": f"input_blocks.{1 + steps}.0.op.weight" not in state,
    }
    return parse(TriplaneUNetConfig, sizes)


def _steps(state: Mapping[str, Tensor]) -> int:
    """Residual blocks of a level on the way down.

    Up, a level has one block more, of which the last one doubles the planes: it alone ends in a
    second residual block or, where the planes are doubled by a convolution, in that.
    """
    doubling = re.compile(r"output_blocks\.(\d+)\.[12]\.(?:in_layers|conv)\.")
    found = [int(match[1]) for name in state if (match := doubling.match(name))]
    return min(found, default=_count(state, r"output_blocks\.(\d+)\.") - 1)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Parts of a name that are numbered from 0 on."""
    numbers = [int(match[1]) for name in state if (match := re.match(pattern, name))]
    return max(numbers, default=-1) + 1


def _shape(state: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(f"lacks {name}; give the official file whole")
    shape = tuple(state[name].shape)
    if len(shape) != axes:
        raise ValueError(f"{name} has shape {shape}, expected {axes} axes; give the official file")
    return shape
