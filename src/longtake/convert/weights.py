"""Shapes of a network's weights, a check of a state dict against them, and loading."""

from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from longtake.config import Config

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(config: Config) -> dict[str, tuple[int, ...]]:
    """Shape by our name of the weights of a config's network; allocates no memory."""
    return _shapes_of(type(config), config.model_dump_json())


def empty(config: Any) -> Any:
    """The network of a config on the meta device."""
    with torch.device("meta"):
        return config.build()


def filled(config: Any, weights: Mapping[str, Tensor]) -> Any:
    """The network with these weights in float32; float32 weights are not copied."""
    network = empty(config)
    network.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    return network.eval()


def check_weights(state: Mapping[str, Tensor], expected: Shapes) -> None:
    """Check that a state dict has exactly the expected weights.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    _refuse("lacks", expected.keys() - state.keys())
    _refuse("has the unknown", state.keys() - expected.keys())
    wrong = {
        f"{name} {tuple(state[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if tuple(state[name].shape) != shape
    }
    _refuse("does not fit in", wrong)


@lru_cache(maxsize=8)
def _shapes_of(kind: Any, settings: str) -> dict[str, tuple[int, ...]]:
    state = empty(kind.model_validate_json(settings)).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def _refuse(fault: str, names: Set[str]) -> None:
    if names:
        shown = sorted(names)
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        raise ValueError(
            f"the checkpoint {fault} weights {', '.join(shown[:3])}{more}; check that the "
            "network is complete and has the sizes of its config"
        )
