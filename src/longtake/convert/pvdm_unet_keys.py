"""Maps weight names and shapes of the official PVDM UNet to ours."""

from collections.abc import Mapping

from torch import Tensor

from longtake.convert.weights import check_weights, shapes_of
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.nn.attention import head_count

ZEROS = "zeros"  # an official buffer of zeros, the latent of a missing previous clip

_PREFIXES = {
    "time_embed.": "time_embed.",
    "conv_in.": "input_blocks.0.0.",
    "middle.layers.": "middle_block.",
    "middle.across.": "mid_attn.",
    "norm_out.": "out.0.",
    "conv_out.": "out.2.",
}

_STEPS = {
    "norm_in": "in_layers.0",
    "conv_in": "in_layers.2",
    "embed": "emb_layers.1",
    "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
    "skip": "skip_connection",
    "proj": "proj_out",
}

# Axes of length 1 that an official kernel has where ours is a matrix.
_CELL_AXES = {"skip_connection": 2, "qkv": 1, "proj_out": 1}


def official_names(config: TriplaneUNetConfig) -> dict[str, str]:
    """Official name, without ``diffusion_model.``, by our name.

    Raises:
        ValueError: the config has an option that the official network lacks.
    """
    if config.num_classes is not None:
        raise ValueError(
            f"num_classes={config.num_classes} is not in the official UNet, which reads no label; "
            "leave it out"
        )
    if config.plane_embed:
        raise ValueError(
            "plane_embed=True is not in the official UNet, which has no embedding of planes; "
            "leave it out"
        )
    if config.groups != 32:
        raise ValueError(
            f"groups={config.groups} is not in the official UNet, which always has 32 groups"
        )
    return {name: _official(name) for name in shapes_of(config)}


def official_shapes(config: TriplaneUNetConfig) -> dict[str, tuple[int, ...]]:
    """Official shape by official name, the buffer included."""
    shapes = shapes_of(config)
    official = {
        theirs: _official_shape(theirs, shapes[ours])
        for ours, theirs in official_names(config).items()
    }
    return {ZEROS: _zeros(config), **official} if config.previous else official


def from_official(
    state: Mapping[str, Tensor], config: TriplaneUNetConfig, *, new_attention_order: bool = False
) -> dict[str, Tensor]:
    """Convert an official state dict to one of ``TriplaneUNet``.

    Args:
        state: weights by official name.
        config: config of the network.
        new_attention_order: the official option of this name; no released model has it.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    state = {name: value for name, value in state.items() if name != ZEROS}
    names, shapes = official_names(config), shapes_of(config)
    official = official_shapes(config)
    check_weights(state, {name: official[name] for name in names.values()})
    ours = {name: state[theirs].reshape(shapes[name]) for name, theirs in names.items()}
    if new_attention_order:
        return ours
    return {
        name: _reorder(value, (_heads(value, config), 3)) if ".qkv." in name else value
        for name, value in ours.items()
    }


def _heads(qkv: Tensor, config: TriplaneUNetConfig) -> int:
    return head_count(len(qkv) // 3, config.num_heads, config.head_channels)


def _reorder(qkv: Tensor, split: tuple[int, int]) -> Tensor:
    """Swap the nesting of heads and of query, key and value, given as the axes ``split``."""
    return qkv.unflatten(0, (*split, -1)).transpose(0, 1).flatten(0, 2)


def _zeros(config: TriplaneUNetConfig) -> tuple[int, ...]:
    return (1, config.latent[0], sum(config.planes(0).cells))


def _official_shape(name: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    axes = _CELL_AXES.get(name.split(".")[-2], 0)
    return ours + (1,) * axes if len(ours) == 2 else ours


def _official(name: str) -> str:
    side, _, rest = name.partition(".")
    if side not in ("down", "up"):
        ours = next(prefix for prefix in _PREFIXES if name.startswith(prefix))
        return _PREFIXES[ours] + _within(name.removeprefix(ours), _STEPS)
    index, part, rest = rest.split(".", 2)
    kind = "blocks" if part == "layers" else "attns"
    if side == "up":
        return f"output_{kind}.{index}.{_within(rest, _STEPS)}"
    # the official code counts its first convolution among the blocks
    return f"input_{kind}.{int(index) + 1}.{_within(rest, {**_STEPS, 'conv': 'op'})}"


def _within(name: str, steps: Mapping[str, str]) -> str:
    """Official name within a block."""
    return ".".join(steps.get(step, step) for step in name.split("."))
