"""The initial weights of a denoiser that another one gives, which may read other signals."""

import re
from collections.abc import Mapping

from torch import Size, Tensor, nn

from longtake.checkpoint import fill
from longtake.config import ConfigError

_READS_TEXT = re.compile(r"text_embed\.|.*\.(cross|to_text)\.")
"""Matches the names of a denoiser's weights that read text."""

_READS_LABELS = re.compile(r"label_embeds?\.")
"""Matches the names of a denoiser's weights that read a class or named labels."""


def start_from(
    denoiser: nn.Module,
    trained: nn.Module,
    origin: str,
    *,
    freeze: bool = False,
    with_text: bool = True,
) -> None:
    """Give a denoiser the weights of a trained network, where the two read the same signals.

    The denoiser keeps its own embeddings of classes and labels, and its own layers that read text,
    if the trained network lacks them or their shapes differ.

    Args:
        denoiser: the denoiser, which is changed.
        trained: the trained network.
        origin: where the trained network comes from, for error messages.
        freeze: train the weights that the denoiser keeps, and those that read text, alone; the
            others get no gradients.
        with_text: give it the trained network's layers that read text too; False: it keeps its own.

    Raises:
        CheckpointError: the networks differ in other weights.
        ConfigError: ``freeze`` leaves nothing to train.
    """
    own, given = denoiser.state_dict(), trained.state_dict()
    text, labels = (
        {name for name in {**own, **given} if pattern.match(name)}
        for pattern in (_READS_TEXT, _READS_LABELS)
    )
    left_out = {name for name in text | labels if _shape(own, name) != _shape(given, name)}
    if not with_text:
        left_out |= text
    kept = {name: own[name] for name in left_out & own.keys()}
    taken = {name: value for name, value in given.items() if name not in left_out}
    fill(denoiser, taken | kept, origin)
    if not freeze:
        return
    if not (learnt := kept.keys() | (text & own.keys())):
        raise ConfigError(
            f"freeze_initial=true leaves nothing to train: {origin} gives all weights, and none of "
            "them reads text; let the denoiser read text or other labels than that network, or set "
            "freeze_initial to false"
        )
    for name, parameter in denoiser.named_parameters():
        parameter.requires_grad_(name in learnt)


def _shape(weights: Mapping[str, Tensor], name: str) -> Size | None:
    return weights[name].shape if name in weights else None
