"""Labels: a class, and named labels such as ``time``.

A class is one index for all that the label says, such as "dusk, cloudy, left". Named labels are its
parts, each an index of its own, so that ``time=dusk`` can be set while the others stay open.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from longtake.diffusion.signals.signal import ABSENT, Signal, Signals


def label_signal(labels: Sequence[int] | Tensor) -> Signals:
    """The signal ``label``: class indices, one per sample; ``ABSENT`` (-1) for no class."""
    value = torch.as_tensor(labels)
    return {"label": Signal(value=value, null=torch.full_like(value, ABSENT))}


def draw_label(label: int, dropout: float, generator: torch.Generator) -> Signals:
    """The signal ``label`` of one training sample, a batch of one.

    With probability ``dropout`` it is ``ABSENT`` (-1), no class.
    """
    withheld = torch.rand((), generator=generator).item() < dropout
    return label_signal([ABSENT if withheld else label])


def named_label(name: str) -> str:
    """Name of the signal of a named label: ``label_time`` for ``time``, one part of a class."""
    return f"label_{name}"


def named_label_signals(values: Mapping[str, Sequence[int] | Tensor]) -> Signals:
    """A signal ``label_NAME`` for each named label (a part of a class), such as ``time``.

    ``values`` are the index of each sample's value, or ``ABSENT`` (-1), by the label's name: if
    ``time`` is day or dusk, ``{"time": [1]}`` is one sample with ``time=dusk``.
    """
    return {named_label(name): label_signal(rows)["label"] for name, rows in values.items()}


def split_class(index: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Split a class index into the index of each named label's value, by the label's name.

    With ``sizes`` of ``{"time": 2, "wind": 3}``, class 4 has value 1 of ``time``, 1 of ``wind``.

    Args:
        index: index of a class, in whose order the last label varies fastest; for ``ABSENT`` (-1),
            all values are ``ABSENT``.
        sizes: number of values of each named label, by its name.
    """
    values: dict[str, int] = {}
    for name, size in reversed(list(sizes.items())):
        values[name] = ABSENT if index == ABSENT else index % size
        index = index if index == ABSENT else index // size
    return {name: values[name] for name in sizes}


def join_class(values: Mapping[str, int], sizes: Mapping[str, int]) -> int:
    """Index of the class whose named labels have these values; the inverse of ``split_class``.

    Args:
        values: index of each label's value, by the label's name.
        sizes: number of values of each named label, by its name.

    Returns:
        the index, in whose order the last label varies fastest; ``ABSENT`` (-1) if a value is
        missing or ``ABSENT``.
    """
    index = 0
    for name, size in sizes.items():
        if values.get(name, ABSENT) == ABSENT:
            return ABSENT
        index = index * size + values[name]
    return index


def draw_named_labels(
    values: Mapping[str, int], dropout: float, generator: torch.Generator
) -> Signals:
    """Signals of one training sample's named labels, such as ``label_time``; a batch of one.

    ``values`` are the index of each label's value, by the label's name; each is replaced by
    ``ABSENT`` (-1) with probability ``dropout``.
    """
    drawn = {name: draw_label(value, dropout, generator) for name, value in values.items()}
    return {named_label(name): signals["label"] for name, signals in drawn.items()}
