"""Official names and shapes of a network's weights, and networks filled with official weights."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from torch import Tensor

from longtake.checkpoint import check_finite
from longtake.config import Config
from longtake.meta_device import build_empty

Rules = Mapping[str, str | Callable[[re.Match[str]], str]]
"""Replacements of parts of a name by regular expression, in the order of their application."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class OfficialLayout:
    """How an official network's state dict differs from that of the same network in longtake.

    Attributes:
        names: takes longtake's config and returns the official name of each weight by longtake's
            name; raises a ValueError for an option that the official code lacks.
        axes: official kernels that have axes of length 1 where longtake's weight is a matrix:
            number of such last axes, by a regular expression of the official name.
        frame_axis: whether official 2D kernels have an axis of length 1 for frames.
        spelling: replacements by which names in a file become the names of ``names``.
        unread: regular expression that matches the beginning of names whose weights are ignored.
        rearrange: takes the official name, the official weight and longtake's config, and returns
            longtake's weight.
    """

    names: Callable[[Any], dict[str, str]]
    axes: Mapping[str, int] = field(default_factory=dict)
    frame_axis: bool = False
    spelling: Rules = field(default_factory=dict)
    unread: str = r"\Z"
    rearrange: Callable[[str, Tensor, Any], Tensor] = lambda _name, weight, _config: weight

    def shapes(self, config: Any) -> dict[str, tuple[int, ...]]:
        """Shape of each official weight by its official name; ``config`` is longtake's.

        Raises:
            ValueError: the sizes in the config do not fit each other.
        """
        ours = shapes_of(config)
        return {
            theirs: self._shape(theirs, ours[name]) for name, theirs in self.names(config).items()
        }

    def from_official(self, state: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
        """Convert an official state dict to a state dict of longtake's network with this config.

        Raises:
            ValueError: a weight is missing, unknown or of another shape; the message names it.
        """
        spelled = {replaced(name, self.spelling): weight for name, weight in state.items()}
        given = {name: w for name, w in spelled.items() if not re.match(self.unread, name)}
        check_weights(given, self.shapes(config))
        shapes = shapes_of(config)
        return {
            ours: self.rearrange(theirs, given[theirs].reshape(shapes[ours]), config)
            for ours, theirs in self.names(config).items()
        }

    def network(self, state: Mapping[str, Tensor], config: Any) -> Any:
        """Build longtake's network with official weights in float32.

        ``state`` is the official state dict, ``config`` longtake's config. Weights that are float32
        already are not copied.

        Raises:
            ValueError: a weight is missing, unknown, of another shape or not finite.
        """
        weights = self.from_official(state, config)
        check_finite(weights, "the checkpoint")
        network = build_empty(config)
        network.load_state_dict({name: w.float() for name, w in weights.items()}, assign=True)
        return network.eval()

    def _shape(self, theirs: str, ours: tuple[int, ...]) -> tuple[int, ...]:
        if len(ours) == 4 and self.frame_axis:
            return (*ours[:2], 1, *ours[2:])
        axes = sum(number for part, number in self.axes.items() if re.search(part, theirs))
        return ours + (1,) * axes if len(ours) == 2 else ours


def renamed(config: Any, rules: Rules) -> dict[str, str]:
    """Official name of each weight of a network, by longtake's name, from which it is made.

    ``rules`` are replacements by regular expression, as ``replaced`` takes them; ``config`` is
    longtake's config of the network.

    Raises:
        ValueError: the sizes in the config do not fit each other.
    """
    return {name: replaced(name, rules) for name in shapes_of(config)}


def replaced(name: str, rules: Rules) -> str:
    """Apply ``re.sub`` to ``name`` for each regular expression and replacement in ``rules``."""
    for part, replacement in rules.items():
        name = re.sub(part, replacement, name)
    return name


def shapes_of(config: Any) -> Shapes:
    """Shape of each weight, by name, of the network that a config of longtake builds.

    Allocates no memory.

    Raises:
        ValueError: the sizes in the config do not fit each other.
    """
    return _shapes(type(config), config.model_dump_json())


@lru_cache(maxsize=8)
def _shapes(kind: type[Config], settings: str) -> Shapes:
    """Shapes for a config of class ``kind``, given as JSON, since not all configs have a hash."""
    network = build_empty(kind.model_validate_json(settings))
    return {name: tuple(weight.shape) for name, weight in network.state_dict().items()}


def check_weights(state: Mapping[str, Tensor], expected: Shapes) -> None:
    """Check that a state dict has exactly the weights of ``expected``: shapes by name.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    wrong = {
        f"{name} {tuple(state[name].shape)}, expected {expected[name]}"
        for name in expected.keys() & state.keys()
        if tuple(state[name].shape) != expected[name]
    }
    lacking, unknown = expected.keys() - state.keys(), state.keys() - expected.keys()
    faults = {"lacks": lacking, "has the unknown": unknown, "does not fit in": wrong}
    for fault, names in faults.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(
                f"the checkpoint {fault} weights {', '.join(sorted(names)[:3])}{more}; check that "
                "the network is complete and has the sizes of its config"
            )
