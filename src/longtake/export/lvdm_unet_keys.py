"""Names of the official LVDM UNet's weights, and ours."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from longtake.denoisers.volume_unet import VolumeUNetConfig

_HEAD = {
    "time_embed": "time_embed",
    "time_embed_cond": "known_time_embed",
    "input_blocks.0.0": "conv_in",
    "out.0": "norm_out",
    "out.2": "conv_out",
}

_RESIDUAL = {
    "in_layers.0": "norm_in",
    "in_layers.2": "conv_in",
    "emb_layers.1": "embed",
    "out_layers.0": "norm_out",
    "out_layers.3": "conv_out",
    "skip_connection": "skip",
}

_ATTENTION = {
    "norm_s": "spatial.norm",
    "qkv_s": "spatial.qkv",
    "proj_out_s": "spatial.proj",
    "norm_t": "temporal.norm",
    "qkv_t": "temporal.qkv",
    "proj_out_t": "temporal.proj",
    "relative_position_k.embeddings_table": "temporal.position.key",
    "relative_position_v.embeddings_table": "temporal.position.value",
}

_LAYERS = {
    "attn1": "spatial",
    "norm1": "spatial.norm",
    "attn1_tmp": "temporal",
    "norm4": "temporal.norm",
    "attn2": "cross",
    "norm2": "cross.norm",
    "attn2_tmp": "temporal_again",
    "norm5": "temporal_again.norm",
    "ff.net.0.proj": "feed_forward.gated",
    "ff.net.2": "feed_forward.out",
    "norm3": "feed_forward.norm",
}

_WITHIN_LAYER = {
    "to_out.0": "to_out",
    "relative_position_k.embeddings_table": "position.key",
    "relative_position_v.embeddings_table": "position.value",
}


def rename(key: str, config: VolumeUNetConfig) -> str:
    """Our name of an official one below ``model.diffusion_model.``.

    Raises:
        ValueError: the official UNet has no such weight.
    """
    if key == "label_emb.weight":
        # one table serves labels and noise levels in the official code
        return "noise_embed.weight" if config.noise_classes else "label_embed.weight"
    for official, ours in _HEAD.items():
        if key.startswith(f"{official}."):
            return ours + key.removeprefix(official)
    part, _, rest = key.partition(".")
    index, _, rest = rest.partition(".")
    if part not in ("input_blocks", "middle_block", "output_blocks") or not index.isdecimal():
        raise ValueError(f"{key!r} is no weight of the official LVDM UNet")
    if part == "middle_block":
        step = ("first.residual", "first.attention", "second.residual")[int(index)]
        return f"middle.{step}.{_inner(rest)}"
    layer, _, rest = rest.partition(".")
    step = _down if part == "input_blocks" else _up
    return f"{step(int(index), int(layer), rest, config)}.{_inner(rest)}"


def fold(shape: Sequence[int]) -> tuple[int, ...]:
    """Our shape of an official weight: kernels without their axes of one cell."""
    if len(shape) < 3:
        return tuple(shape)
    return (*shape[:2], *(size for size in shape[2:] if size > 1))


def from_official(state: Mapping[str, Tensor], config: VolumeUNetConfig) -> dict[str, Tensor]:
    """An official UNet's state dict as ``VolumeUNet`` loads it."""
    return {rename(key, config): value.reshape(fold(value.shape)) for key, value in state.items()}


def _down(index: int, layer: int, rest: str, config: VolumeUNetConfig) -> str:
    level, step = divmod(index - 1, config.num_res_blocks + 1)
    if step == config.num_res_blocks:
        return f"down.{level}.resample"
    return f"down.{level}.steps.{step}.{_layer(layer)}"


def _up(index: int, layer: int, rest: str, config: VolumeUNetConfig) -> str:
    level, step = divmod(index, config.num_res_blocks + 1)
    if layer > 0 and rest.startswith(("conv.", *_RESIDUAL)):
        return f"up.{level}.resample"
    return f"up.{level}.steps.{step}.{_layer(layer)}"


def _layer(index: int) -> str:
    return ("residual", "attention")[index]


def _inner(rest: str) -> str:
    """Our name within a block."""
    if rest.startswith("op."):
        return rest.replace("op.", "conv.", 1)
    if rest.startswith("transformer_blocks."):
        _, index, rest = rest.split(".", 2)
        return f"blocks.{index}.{_replace(_replace(rest, _LAYERS), _WITHIN_LAYER)}"
    return _replace(rest, _RESIDUAL | _ATTENTION)


def _replace(rest: str, names: Mapping[str, str]) -> str:
    for official, ours in names.items():
        if rest == official or rest.startswith(f"{official}."):
            return ours + rest.removeprefix(official)
        if rest.endswith(f".{official}") or f".{official}." in rest:
            return rest.replace(f".{official}", f".{ours}")
    return rest
