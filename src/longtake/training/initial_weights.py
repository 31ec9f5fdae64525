"""The initial weights of a denoiser that another one gives, which may read other signals."""

import re
from collections.abc import Mapping

from torch import Size, Tensor, nn

_READS_SIGNALS = re.compile(r"(label_embeds?|text_embed)\.|.*\.(cross|to_text)\.")
"""Matches the names of a denoiser's weights that read classes, labels or text."""


def initial_weights(denoiser: nn.Module, trained: nn.Module) -> dict[str, Tensor]:
    """Weights of a trained network, but the denoiser's own ones for its ``new_weights``."""
    own, given = denoiser.state_dict(), trained.state_dict()
    new = _differing(own, given)
    kept = {name: value for name, value in given.items() if name not in new}
    return kept | {name: own[name] for name in new & own.keys()}


def new_weights(denoiser: nn.Module, trained: nn.Module) -> frozenset[str]:
    """Names of the denoiser's weights that a trained network does not give it.

    Those are the embeddings of classes and labels, and the layers that read text, if the trained
    network lacks them or their shapes differ.
    """
    own = denoiser.state_dict()
    return frozenset(_differing(own, trained.state_dict()) & own.keys())


def _differing(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> set[str]:
    reading = {name for name in {**own, **given} if _READS_SIGNALS.match(name)}
    return {name for name in reading if _shape(own, name) != _shape(given, name)}


def _shape(weights: Mapping[str, Tensor], name: str) -> Size | None:
    return weights[name].shape if name in weights else None
