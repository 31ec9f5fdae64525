"""What name maps of weights share: a network's shapes, and a check against them."""

from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from longtake.config import Config

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(config: Config) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a config's network, by our name; nothing is allocated."""
    return _shapes_of(type(config), config.model_dump_json())


def check_weights(state: Mapping[str, Tensor], expected: Shapes) -> None:
    """Make sure that a state dict holds the expected weights and no other.

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
    with torch.device("meta"):
        state = kind.model_validate_json(settings).build().state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def _refuse(fault: str, names: Set[str]) -> None:
    if names:
        shown = sorted(names)
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        raise ValueError(
            f"the checkpoint {fault} weights {', '.join(shown[:3])}{more}; check that the "
            "network's config is the one it was trained with"
        )
