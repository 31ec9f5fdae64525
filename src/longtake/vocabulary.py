"""Names of labels and words of prompts, as a user writes them, checked without torch."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from longtake.config import nearest

NO_LABEL = "none"
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class LabelNames:
    """Labels that a model's network can be given, by their names.

    Attributes:
        classes: name of each class; empty for a model without classes.
        named: values of each named label that the network reads, each of which can be set alone.
        reads_class: whether the network reads the class as a whole.
    """

    classes: Sequence[str]
    named: Mapping[str, Sequence[str]]
    reads_class: bool

    @property
    def unlabelled(self) -> bool:
        """Whether the network reads neither classes nor named labels."""
        return not self.classes or not (self.reads_class or self.named)

    @property
    def whole(self) -> bool:
        """Whether the named labels together make up the classes."""
        return math.prod(len(values) for values in self.named.values()) == len(self.classes)

    def check(self, label: str) -> None:
        """Raise a ValueError if the network cannot be given this label.

        ``label`` is the name or number of a class, words that only one class's name contains,
        ``none``, or some named labels, such as ``time=dusk, wind=left``.
        """
        if self.unlabelled:
            raise ValueError(f"label {label!r}: this model has no classes; give no label")
        if "=" in label:
            self.values_of(label)
        elif label != NO_LABEL:
            self.class_for_network(label)

    def class_of(self, name: str) -> int:
        """Index of the class with this name or number.

        ``name`` may also be words, separated by commas, that only one class's name contains. Raises
        a ValueError if no class, or more than one, fits.
        """
        classes = self.classes
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
        raise ValueError(f"label {name!r} {reason} of this model; {self._advice(name, wanted)}")

    def _advice(self, name: str, wanted: Sequence[str]) -> str:
        """Advice on an unknown class: the nearest one, or the word that no class has.

        ``wanted`` are the lowercase words of ``name``.
        """
        advice = nearest(name, list(self.classes))
        parts = list(dict.fromkeys(p.strip() for c in self.classes for p in c.split(",")))
        unknown = [word for word in wanted if not any(word in c.lower() for c in self.classes)]
        if len(wanted) == 1 or not unknown or advice.startswith("did"):
            return advice
        return f"no class has {unknown[0]!r}; {nearest(unknown[0], parts)}"

    def class_for_network(self, label: str) -> int:
        """Index of the class ``label``: its name or number, or words that only its name contains.

        Raises:
            ValueError: no class or more than one fits, or the network cannot be given a whole class
                because it does not read every part of it.
        """
        index = self.class_of(label)
        if not self.reads_class and not self.whole:
            names = ", ".join(f"{name}=..." for name in self.named)
            raise ValueError(
                f"label {label!r}: classes have parts that this model's network does not read; "
                f"give {names}"
            )
        return index

    def values_of(self, label: str) -> dict[str, int | None]:
        """Parse ``time=dusk, wind=left``: index of each label's value, by the label's name.

        The index of the value ``none`` is None.

        Raises:
            ValueError: there is no label of that name, or no such value of it.
        """
        found: dict[str, int | None] = {}
        for part in label.split(","):
            name, _, value = (text.strip() for text in part.partition("="))
            if name not in self.named:
                known = list(self.named)
                how = nearest(name, known) if known else "give the name of a class"
                raise ValueError(f"label {part.strip()!r}: this model has no label {name!r}; {how}")
            values = list(self.named[name])
            if value != NO_LABEL and value not in values:
                raise ValueError(
                    f"label {part.strip()!r}: {value!r} is not a value of {name}; "
                    f"{nearest(value, [*values, NO_LABEL])}"
                )
            found[name] = None if value == NO_LABEL else values.index(value)
        return found


def split_words(text: str) -> list[str]:
    """Split a text into lowercase words without punctuation."""
    return _WORD.findall(text.lower())


def check_words(text: str, known: Collection[str], most: int) -> None:
    """Raise a ValueError if a text has unknown words, or more than ``most`` words.

    ``known`` are the words of the captions that a model was trained on; empty: any word is known.
    """
    words = split_words(text)
    if len(words) > most:
        raise ValueError(
            f"text {text!r} has {len(words)} words, this encoder takes at most {most}; shorten it"
        )
    for word in words:
        if known and word not in known:
            raise ValueError(
                f"text {text!r}: no caption that the model was trained on has the word {word!r}; "
                f"{nearest(word, list(known))}"
            )
