"""Names and shapes of the official PVDM UNet's weights, and ours."""

from collections.abc import Mapping

from torch import Tensor

from longtake.convert.weights import check_weights, shapes_of
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.nn.attention import head_count

ZEROS = "zeros"
"""An official buffer, the latent of no clip; it holds nothing but zeros."""

_PLACES = {
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

_CELL_AXES = {"skip_connection": 2, "qkv": 1, "proj_out": 1}
"""Axes of one cell that an official kernel has where ours is a matrix."""


def official_names(config: TriplaneUNetConfig) -> dict[str, str]:
    """The official name of each of our weights, below ``diffusion_model.``.

    Raises:
        ValueError: the official network has no such option.
    """
    if config.num_classes is not None:
        raise ValueError(
            f"num_classes={config.num_classes} is not in the official UNet, which reads no label; "
            "leave it out"
        )
    if config.plane_embed:
        raise ValueError(
            "plane_embed=True is not in the official UNet, which does not tell its planes apart; "
            "leave it out"
        )
    if config.groups != 32:
        raise ValueError(
            f"groups={config.groups} is not in the official UNet, which always has 32 of them"
        )
    return {name: _official(name) for name in shapes_of(config)}


def official_shapes(config: TriplaneUNetConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the official weights and buffer by official name."""
    shapes = shapes_of(config)
    official = {
        theirs: _official_shape(theirs, shapes[ours])
        for ours, theirs in official_names(config).items()
    }
    return {ZEROS: _zeros(config), **official} if config.previous else official


def from_official(
    state: Mapping[str, Tensor], config: TriplaneUNetConfig, *, new_attention_order: bool = False
) -> dict[str, Tensor]:
    """An official UNet's state dict as ``TriplaneUNet`` loads it.

    Args:
        state: by official name.
        config: of the network.
        new_attention_order: the official option of this name, which no released model has.

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


def to_official(state: Mapping[str, Tensor], config: TriplaneUNetConfig) -> dict[str, Tensor]:
    """A ``TriplaneUNet``'s state dict, or anything of its shapes, as the official UNet has it."""
    shapes = official_shapes(config)
    official: dict[str, Tensor] = {}
    if config.previous:
        official[ZEROS] = next(iter(state.values())).new_zeros(shapes[ZEROS])
    for ours, theirs in official_names(config).items():
        value = state[ours]
        if ".qkv." in ours:
            value = _reorder(value, (3, _heads(value, config)))
        official[theirs] = value.reshape(shapes[theirs])
    return official


def _heads(qkv: Tensor, config: TriplaneUNetConfig) -> int:
    return head_count(len(qkv) // 3, config.num_heads, config.head_channels)


def _reorder(qkv: Tensor, split: tuple[int, int]) -> Tensor:
    """Query, key and value of each head, or each of the three with all its heads: the other way."""
    return qkv.unflatten(0, (*split, -1)).transpose(0, 1).flatten(0, 2)


def _zeros(config: TriplaneUNetConfig) -> tuple[int, ...]:
    return (1, config.latent[0], sum(config.planes(0).cells))


def _official_shape(name: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    axes = _CELL_AXES.get(name.split(".")[-2], 0)
    return ours + (1,) * axes if len(ours) == 2 else ours


def _official(name: str) -> str:
    side, _, rest = name.partition(".")
    if side not in ("down", "up"):
        place = next(prefix for prefix in _PLACES if name.startswith(prefix))
        return _PLACES[place] + _within(name.removeprefix(place), _STEPS)
    index, part, rest = rest.split(".", 2)
    kind = "blocks" if part == "layers" else "attns"
    if side == "up":
        return f"output_{kind}.{index}.{_within(rest, _STEPS)}"
    # the official code counts its first convolution among the blocks
    return f"input_{kind}.{int(index) + 1}.{_within(rest, {**_STEPS, 'conv': 'op'})}"


def _within(name: str, steps: Mapping[str, str]) -> str:
    """The official name within a block."""
    return ".".join(steps.get(step, step) for step in name.split("."))
