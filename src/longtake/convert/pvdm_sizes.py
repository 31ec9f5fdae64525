"""Infers configs of official PVDM networks from the names and shapes of their weights."""

import re
from collections.abc import Mapping

from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.config import parse
from longtake.convert.unet_keys import ZEROS
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.latents import LatentSpec, Triplane

HEADS = 8  # of every attention in the released UNets; the weights do not determine it


def autoencoder_config(state: Mapping[str, Tensor]) -> TriplaneAutoencoderConfig:
    """Derive longtake's config of an official PVDM autoencoder from its weights' shapes.

    The clip's size follows from the position embeddings. An official model whose clips consist of
    several groups of frames (``splits``) gets clips of one group.

    Raises:
        ValueError: a weight that determines a size is missing or has other axes, or sizes do not
            fit each other.
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
    state: Mapping[str, Tensor],
    spec: LatentSpec,
    planes: Triplane,
    heads: int = HEADS,
    head_channels: int | None = None,
) -> TriplaneUNetConfig:
    """Derive longtake's config of an official PVDM UNet from its weights' shapes.

    Args:
        state: weights by official name without the prefix ``diffusion_model.``.
        spec: shape and bounds of the autoencoder's latents, which the weights do not determine.
        planes: sizes of the latents' three planes.
        heads: number of heads of every attention layer; 8 in the released models, and by default.
        head_channels: width of a head, which is used instead of ``heads``; None: it follows from
            ``heads``.

    Raises:
        ValueError: a weight that determines a size is missing or has other axes, sizes do not fit
            each other, or the weights are for latents of another shape.
    """
    embedding, model_channels = _shape(state, "time_embed.0.weight", 2)
    channels = _shape(state, "out.2.weight", 4)[0]
    trained = (channels, state[ZEROS].shape[-1] if ZEROS in state else spec.shape[1])
    if trained != spec.shape:
        raise ValueError(
            f"the denoiser works on latents of shape {trained}, the autoencoder's have "
            f"{spec.shape}; give the autoencoder that the denoiser was trained with"
        )
    steps = _steps(state)
    levels = range(0, _count(state, r"input_blocks\.(\d+)\."), steps + 1)
    first = [f"input_blocks.{1 + start}" for start in levels]
    widths = [_shape(state, f"{block}.0.out_layers.3.weight", 4)[0] for block in first]
    embed = _shape(state, "input_blocks.1.0.emb_layers.1.weight", 2)
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
        "head_channels": head_channels,
        "previous": _shape(state, "input_blocks.0.0.weight", 4)[1] == 2 * channels,
        "scale_shift_norm": embed == (2 * widths[0], embedding),
        "resblock_updown": f"input_blocks.{1 + steps}.0.op.weight" not in state,
    }
    return parse(TriplaneUNetConfig, sizes)


def _steps(state: Mapping[str, Tensor]) -> int:
    """Number of residual blocks of a level of the encoder.

    A level of the decoder has one block more; only its last block, which upsamples, ends in a
    second residual block or in a convolution.
    """
    doubling = re.compile(r"output_blocks\.(\d+)\.[12]\.(?:in_layers|conv)\.")
    found = [int(match[1]) for name in state if (match := doubling.match(name))]
    return min(found, default=_count(state, r"output_blocks\.(\d+)\.") - 1)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Number of parts of a network whose index, from 0, is the group of ``pattern`` in names.

    A ValueError if an index below the highest is missing.
    """
    numbers = {int(match[1]) for name in state if (match := re.match(pattern, name))}
    count = max(numbers, default=-1) + 1
    if count > len(numbers):
        place = pattern.partition("(")[0].replace("\\", "")
        raise ValueError(
            f"the file lacks parts of {place} before {count - 1}; give the complete official file"
        )
    return count


def _shape(state: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(f"the file lacks {name}; give the complete official file")
    shape = tuple(state[name].shape)
    if len(shape) != axes:
        raise ValueError(f"{name} has shape {shape}, expected {axes} axes; give the official file")
    return shape
