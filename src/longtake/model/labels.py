"""Labels of a model as a user writes them: a class, or named labels such as ``time=dusk``."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from longtake.config import nearest
from longtake.diffusion.signals import (
    ABSENT,
    Signals,
    join_class,
    label_signal,
    named_label,
    named_label_signals,
    split_class,
)
from longtake.model.index import ModelIndex
from longtake.noise import derive


@dataclass(frozen=True)
class Labels:
    """Classes and named labels of a model, and their signals."""

    index: ModelIndex
    reads: Collection[str]

    def signals(self, seeds: Sequence[int], label: str | None) -> Signals:
        """Signals of the labels of videos; empty for a model without labels.

        Args:
            seeds: one per video.
            label: the class of all videos, as ``class_of`` takes it; ``none`` for no class; or some
                named labels, as ``time=dusk, wind=left``, which leave the others as they are.
                None: each seed draws all labels.

        Raises:
            ValueError: the model has no such class, label or value.
        """
        if not self.index.classes or not (self._reads_class or self.named):
            if label is not None:
                raise ValueError(f"label {label!r}: this model has no classes; give no label")
            return {}
        if label is not None and "=" in label:
            values = self._given(label)
            return named_label_signals({k: [v] * len(seeds) for k, v in values.items()})
        if label is None:
            parts = math.prod(self._sizes.values())
            number = len(self.index.classes) if self._reads_class else parts
            found = [derive(seed, "label") % number for seed in seeds]
        elif label == "none":
            found = [ABSENT] * len(seeds)
        else:
            found = [self._class(label)] * len(seeds)
        rows = [split_class(index, self._sizes) for index in found]
        named = self.named if self._whole or not self._reads_class else {}
        values = {name: [row[name] for row in rows] for name in named}
        of_class = label_signal(found) if self._reads_class else {}
        return {**of_class, **named_label_signals(values)}

    def class_of(self, name: str) -> int:
        """Index of the class with this name or number.

        ``name`` may also be words, separated by commas, that only one class's name contains. Raises
        a ValueError if no class, or more than one, fits.
        """
        classes = self.index.classes
        if not classes:
            raise ValueError(f"label {name!r}: this model has no classes; give no label")
        if name.isdecimal() and int(name) < len(classes):
            return int(name)
        wanted = [word.strip().lower() for word in name.split(",")]
        fits = [i for i, c in enumerate(classes) if all(word in c.lower() for word in wanted)]
        if len(fits) == 1:
            return fits[0]
        reason = f"fits {len(fits)} classes" if fits else "is not a class"
        alone = [f"{k}={v}" for k, values in self.named.items() for v in values if v == name]
        if alone:
            raise ValueError(
                f"label {name!r} {reason} of this model; to set it alone give {alone[0]}"
            )
        if fits:
            some = "; ".join(classes[i] for i in fits[:4])
            raise ValueError(f"label {name!r} {reason} of this model ({some}); add a word")
        raise ValueError(f"label {name!r} {reason} of this model; {nearest(name, classes)}")

    def classes_of(self, signals: Signals, videos: int) -> list[int]:
        """Class of each of ``videos`` videos; ``ABSENT`` if a label of it is missing."""
        if "label" in signals:
            return signals["label"].value.tolist()
        values = {
            name: signals[named_label(name)].value.tolist()
            for name in self.named
            if named_label(name) in signals
        }
        if not self._whole or not values:
            return [ABSENT] * videos
        rows = [{name: rows[i] for name, rows in values.items()} for i in range(videos)]
        return [join_class(row, self._sizes) for row in rows]

    def words(self, signals: Signals, row: int) -> list[str]:
        """Labels of video ``row`` in words: its class, or ``time=dusk`` for each named label."""
        found = []
        if "label" in signals and (index := int(signals["label"].value[row])) != ABSENT:
            found = [self.index.classes[index]]
        for name, values in self.named.items():
            signal = signals.get(named_label(name))
            if signal is not None and (value := int(signal.value[row])) != ABSENT:
                found.append(f"{name}={values[value]}")
        return found

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

    @property
    def _whole(self) -> bool:
        """Whether the named labels together make up the classes."""
        return math.prod(self._sizes.values()) == len(self.index.classes)

    def _class(self, label: str) -> int:
        """A class that the network can be given, by its name."""
        index = self.class_of(label)
        if not self._reads_class and not self._whole:
            names = ", ".join(f"{name}=..." for name in self.named)
            raise ValueError(
                f"label {label!r}: classes have parts that this model's network does not read; "
                f"give {names}"
            )
        return index

    def _given(self, label: str) -> dict[str, int]:
        """Values of named labels from ``time=dusk, wind=left``."""
        found: dict[str, int] = {}
        for part in label.split(","):
            name, _, value = (text.strip() for text in part.partition("="))
            if name not in self.named:
                known = list(self.named)
                how = nearest(name, known) if known else "give the name of a class"
                raise ValueError(f"label {part.strip()!r}: this model has no label {name!r}; {how}")
            values = self.named[name]
            if value != "none" and value not in values:
                raise ValueError(
                    f"label {part.strip()!r}: {value!r} is not a value of {name}; "
                    f"{nearest(value, [*values, 'none'])}"
                )
            found[name] = ABSENT if value == "none" else values.index(value)
        return found
