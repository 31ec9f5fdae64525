"""Labels of a model as a user writes them: a class, or named labels such as ``time=dusk``."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from longtake.diffusion.signals import (
    ABSENT,
    Signals,
    join_class,
    label_signal,
    named_label,
    named_label_signals,
    split_class,
)
from longtake.model.arguments import label_text
from longtake.model.index import ModelIndex
from longtake.noise import derive
from longtake.vocabulary import NO_LABEL, LabelNames


@dataclass(frozen=True)
class Labels:
    """Classes and named labels of a model, and the conditions (signals) that they are to a network.

    Attributes:
        index: settings of the model, with the names of classes and labels.
        reads: names of the signals that the network reads, such as ``label``.
    """

    index: ModelIndex
    reads: Collection[str]

    def signals(self, seeds: Sequence[int], label: str | None) -> Signals:
        """Conditions (signals) of the labels of videos; empty for a model without labels.

        Args:
            seeds: one per video.
            label: the class of all videos, as ``class_of`` takes it; ``none`` for no class; or some
                named labels, as ``time=dusk, wind=left``, which leave the others unset or, in a
                video that is being made, as they are. None: each seed draws all labels.

        Raises:
            ValueError: the model has no such class, label or value.
        """
        names = self.names
        if label is not None:
            names.check(label := label_text(label))
        if names.unlabelled:
            return {}
        if label is not None and "=" in label:
            given = {k: ABSENT if v is None else v for k, v in names.values_of(label).items()}
            return named_label_signals({k: [v] * len(seeds) for k, v in given.items()})
        if label is None:
            parts = math.prod(self._sizes.values())
            number = len(self.index.classes) if self._reads_class else parts
            found = [derive(seed, "label") % number for seed in seeds]
        elif label == NO_LABEL:
            found = [ABSENT] * len(seeds)
        else:
            found = [names.class_for_network(label)] * len(seeds)
        rows = [split_class(index, self._sizes) for index in found]
        named = self.named if names.whole or not self._reads_class else {}
        values = {name: [row[name] for row in rows] for name in named}
        of_class = label_signal(found) if self._reads_class else {}
        return {**of_class, **named_label_signals(values)}

    def class_of(self, name: str) -> int:
        """Index of the class with this name or number.

        ``name`` may also be words, separated by commas, that only one class's name contains. Raises
        a ValueError if no class, or more than one, fits.
        """
        return self.names.class_of(label_text(name))

    def classes_of(self, signals: Signals, videos: int) -> list[int]:
        """Index of the class of each of ``videos`` videos, read from their ``signals``.

        It is ``ABSENT``, -1, if the class, or a named label of it, is missing.
        """
        if "label" in signals:
            return signals["label"].value.tolist()
        values = {
            name: signals[named_label(name)].value.tolist()
            for name in self.named
            if named_label(name) in signals
        }
        if not self.names.whole or not values:
            return [ABSENT] * videos
        rows = [{name: rows[i] for name, rows in values.items()} for i in range(videos)]
        return [join_class(row, self._sizes) for row in rows]

    def words(self, signals: Signals, row: int) -> list[str]:
        """Labels of video ``row`` of ``signals`` in words: its class, or, say, ``time=dusk``."""
        found = []
        if "label" in signals and (index := int(signals["label"].value[row])) != ABSENT:
            found = [self.index.classes[index]]
        for name, values in self.named.items():
            signal = signals.get(named_label(name))
            if signal is not None and (value := int(signal.value[row])) != ABSENT:
                found.append(f"{name}={values[value]}")
        return found

    @property
    def names(self) -> LabelNames:
        """Names of the classes and of the named labels that the network reads."""
        return LabelNames(
            classes=self.index.classes, named=self.named, reads_class=self._reads_class
        )

    @property
    def _reads_class(self) -> bool:
        return "label" in self.reads

    @property
    def named(self) -> Mapping[str, tuple[str, ...]]:
        """Values of the named labels that the network reads."""
        return {k: v for k, v in self.index.labels.items() if named_label(k) in self.reads}

    @property
    def _sizes(self) -> Mapping[str, int]:
        return {name: len(values) for name, values in self.named.items()}
