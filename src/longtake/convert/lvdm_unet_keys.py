"""Maps weight names and shapes of the official LVDM UNet to ours."""

from collections.abc import Mapping

from torch import Tensor

from longtake.convert.weights import check_weights, shapes_of
from longtake.denoisers.volume_unet import VolumeUNetConfig
from longtake.nn.attention import JointAttentionConfig

_HEAD = {
    "time_embed.": "time_embed.",
    "known_time_embed.": "time_embed_cond.",
    # one table serves labels and noise levels in the official code
    "label_embed.": "label_emb.",
    "noise_embed.": "label_emb.",
    "conv_in.": "input_blocks.0.0.",
    "norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "middle.first.residual.": "middle_block.0.",
    "middle.first.attention.": "middle_block.1.",
    "middle.second.residual.": "middle_block.2.",
}

_RESIDUAL = {
    "norm_in.": "in_layers.0.",
    "conv_in.": "in_layers.2.",
    "embed.": "emb_layers.1.",
    "norm_out.": "out_layers.0.",
    "conv_out.": "out_layers.3.",
    "skip.": "skip_connection.",
}

_ATTENTION = {
    "spatial.norm.": "norm_s.",
    "spatial.qkv.": "qkv_s.",
    "spatial.proj.": "proj_out_s.",
    "temporal.norm.": "norm_t.",
    "temporal.qkv.": "qkv_t.",
    "temporal.proj.": "proj_out_t.",
    "temporal.position.key": "relative_position_k.embeddings_table",
    "temporal.position.value": "relative_position_v.embeddings_table",
}

_TRANSFORMER = {
    "spatial.norm.": "norm1.",
    "spatial.": "attn1.",
    "temporal.norm.": "norm4.",
    "temporal.": "attn1_tmp.",
    "cross.norm.": "norm2.",
    "cross.": "attn2.",
    "temporal_again.norm.": "norm5.",
    "temporal_again.": "attn2_tmp.",
    "feed_forward.norm.": "norm3.",
    "feed_forward.gated.": "ff.net.0.proj.",
    "feed_forward.out.": "ff.net.2.",
}

_TOKENS = {
    "to_out.": "to_out.0.",
    "position.key": "relative_position_k.embeddings_table",
    "position.value": "relative_position_v.embeddings_table",
}

# Axes of length 1 that an official kernel has where ours is a matrix.
_CELL_AXES = {"skip_connection.": 3, "proj_in.": 3, "proj_out.": 3, "qkv_": 1, "proj_out_": 1}


def official_names(config: VolumeUNetConfig) -> dict[str, str]:
    """Official name, without ``model.diffusion_model.``, by our name.

    Raises:
        ValueError: the config has an option that the official network lacks.
    """
    if isinstance(config.attention, JointAttentionConfig):
        raise ValueError("attention.kind=joint is not in the official UNet; use st_attention")
    if config.num_classes and config.noise_classes:
        raise ValueError(
            f"num_classes={config.num_classes} and noise_classes={config.noise_classes} would "
            "share one table in the official UNet; leave one out"
        )
    return {name: _official(name, config) for name in shapes_of(config)}


def official_shapes(config: VolumeUNetConfig) -> dict[str, tuple[int, ...]]:
    """Official shape by official name."""
    shapes = shapes_of(config)
    return {
        theirs: _official_shape(theirs, shapes[ours])
        for ours, theirs in official_names(config).items()
    }


def from_official(state: Mapping[str, Tensor], config: VolumeUNetConfig) -> dict[str, Tensor]:
    """Convert an official state dict to one of ``VolumeUNet``.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    names, shapes = official_names(config), shapes_of(config)
    check_weights(state, official_shapes(config))
    return {ours: state[theirs].reshape(shapes[ours]) for ours, theirs in names.items()}


def _official_shape(name: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    if len(ours) == 4:
        return (*ours[:2], 1, *ours[2:])
    axes = next((n for part, n in _CELL_AXES.items() if f".{part}" in name), 0)
    return ours + (1,) * axes if len(ours) == 2 else ours


def _official(name: str, config: VolumeUNetConfig) -> str:
    side, _, rest = name.partition(".")
    if side not in ("down", "up"):
        ours = next(prefix for prefix in _HEAD if name.startswith(prefix))
        return _HEAD[ours] + _inner(name.removeprefix(ours))
    level, kind, rest = rest.split(".", 2)
    block = int(level) * (config.num_res_blocks + (side == "up"))
    if side == "down":
        block += 1 + int(level)
    blocks = "input_blocks" if side == "down" else "output_blocks"
    if kind == "resample":
        return _resample(side, blocks, block, rest, config)
    step, part, rest = rest.split(".", 2)
    return f"{blocks}.{block + int(step)}.{int(part == 'attention')}.{_inner(rest)}"


def _resample(side: str, blocks: str, block: int, rest: str, config: VolumeUNetConfig) -> str:
    inner = _inner(rest)
    if side == "down":
        return f"{blocks}.{block + config.num_res_blocks}.0.{inner.replace('conv.', 'op.')}"
    level = len(config.channel_mult) - 1 - block // (config.num_res_blocks + 1)
    layer = 1 + (2**level in config.attention_resolutions)
    return f"{blocks}.{block + config.num_res_blocks}.{layer}.{inner}"


def _inner(rest: str) -> str:
    """Official name within a block."""
    if rest.startswith("blocks."):
        _, index, rest = rest.split(".", 2)
        return f"transformer_blocks.{index}.{_replace(rest, _TRANSFORMER)}"
    return _replace(rest, _RESIDUAL | _ATTENTION)


def _replace(rest: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        if rest.startswith(ours):
            return theirs + _replace(rest.removeprefix(ours), _TOKENS)
    return rest
