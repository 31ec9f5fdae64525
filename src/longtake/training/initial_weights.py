"""The initial weights of a denoiser that another one gives, which may read other signals."""

import re
from collections.abc import Mapping

from torch import Size, Tensor, nn

from longtake.checkpoint import fill
from longtake.config import ConfigError

_READS_SIGNALS = re.compile(r"(label_embeds?|text_embed)\.|.*\.(cross|to_text)\.")
"""Matches the names of a denoiser's weights that read classes, labels or text."""


def start_from(
    denoiser: nn.Module, trained: nn.Module, origin: str, *, freeze: bool = False
) -> None:
    """Give a denoiser the weights of a trained network, where the two read the same signals.

    It keeps its own embeddings of classes and labels, and its own layers that read text, if the
    trained network lacks them or their shapes differ.

    Args:
        denoiser: the denoiser, which is changed.
        trained: the trained network.
        origin: where the trained network comes from, for error messages.
        freeze: train the denoiser's own weights alone; the others get no gradients.

    Raises:
        CheckpointError: other weights do not fit.
        ConfigError: ``freeze`` leaves nothing to train.
    """
    own, given = denoiser.state_dict(), trained.state_dict()
    reading = {name for name in {**own, **given} if _READS_SIGNALS.match(name)}
    differing = {name for name in reading if _shape(own, name) != _shape(given, name)}
    kept = {name: own[name] for name in differing & own.keys()}
    taken = {name: value for name, value in given.items() if name not in differing}
    fill(denoiser, taken | kept, origin)
    if not freeze:
        return
    if not kept:
        raise ConfigError(
            f"freeze_initial=true leaves nothing to train: {origin} gives all weights; let the "
            "denoiser read text or labels that it does not, or set it to false"
        )
    for name, parameter in denoiser.named_parameters():
        parameter.requires_grad_(name in kept)


def _shape(weights: Mapping[str, Tensor], name: str) -> Size | None:
    return weights[name].shape if name in weights else None
