"""Attributes of synthetic data sets, such as the wind, read from captions and from videos.

No network is needed: captions are read by their words, and videos are measured, for each data set
in its own way.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from longtake.data.source import Frames
from longtake.data.synthetic import sky_measures
from longtake.data.synthetic.marbles import NUMBERS, SPEEDS, TINTS
from longtake.data.synthetic.marbles_measures import describe
from longtake.data.synthetic.marbles_picture import COLOURS
from longtake.data.synthetic.sky import KINDS

_WIND_LAGS = (4, 8)  # distances between the frames that the wind is read off

Said = Mapping[str, frozenset[str]]
"""Words that a caption states, by attribute, such as ``{"cover": {"clear"}}``; attributes that it
does not state are missing.

Only colours can be several words.
"""


class Attributes(ABC):
    """Reads what videos show, and what captions state, of one synthetic data set's attributes.

    Attributes:
        values: possible words of each attribute, by its name.
        synonyms: word of ``values`` for each other word that captions may use.
    """

    values: ClassVar[Mapping[str, Sequence[str]]]
    synonyms: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def shown(self, frames: Frames) -> Mapping[str, Sequence[str]]:
        """Measure the attributes of a video: the words that apply, by the attribute's name."""

    def said(self, caption: str) -> Said:
        """Set of words that a caption states, by attribute; attributes left out are missing."""
        text = caption.lower()
        for word, meant in self.synonyms.items():
            text = re.sub(rf"\b{word}\b", meant, text)
        found = {
            name: frozenset(word for word in words if re.search(rf"\b{word}\b", text))
            for name, words in self.values.items()
        }
        return {name: words for name, words in found.items() if words}


class SkyAttributes(Attributes):
    """Reads time of day, amount of cloud and wind in the synthetic data set ``sky``.

    The wind is measured between frames that are 4 and 8 apart, if a video has as many. From frame
    to frame clouds move by less than a pixel, and a model whose latent frame stands for 4 frames
    may move them only from one latent frame to the next.
    """

    values: ClassVar[Mapping[str, Sequence[str]]] = {
        name: tuple(dict.fromkeys(kind[place] for kind in KINDS))
        for place, name in enumerate(("time of day", "cover", "wind"))
    }

    def shown(self, frames: Frames) -> Mapping[str, Sequence[str]]:
        light = sky_measures.light(frames[::4])  # which change little from frame to frame
        lags = [lag for lag in _WIND_LAGS if lag < len(frames)] or sky_measures.SHORT_LAGS
        wind = "right" if sky_measures.wind(frames, lags) > 0 else "left"
        return {"time of day": (light.time_of_day,), "cover": (light.cover,), "wind": (wind,)}


class MarblesAttributes(Attributes):
    """Reads number, colours, ground and speed of marbles in the synthetic data set ``marbles``."""

    values: ClassVar[Mapping[str, Sequence[str]]] = {
        "number": NUMBERS,
        "colours": tuple(COLOURS),
        "ground": tuple(TINTS),
        "speed": tuple(SPEEDS),
    }
    synonyms: ClassVar[Mapping[str, str]] = {tint: ground for ground, tint in TINTS.items()}

    def shown(self, frames: Frames) -> Mapping[str, Sequence[str]]:
        seen = describe(frames)
        colours = tuple(re.findall(r"\w+", seen["colours"].replace(" and ", " ")))
        return {**{name: (word,) for name, word in seen.items()}, "colours": colours}


WORLDS: Mapping[str, Attributes] = {"sky": SkyAttributes(), "marbles": MarblesAttributes()}


def world_of_captions(captions: Sequence[str]) -> str:
    """Name of the data set, ``sky`` or ``marbles``, whose attributes captions state most often.

    Raises:
        ValueError: captions state no attribute of either.
    """
    counts = {
        name: sum(len(world.said(caption)) for caption in captions)
        for name, world in WORLDS.items()
    }
    best = max(counts, key=counts.__getitem__)
    if not counts[best]:
        words = "; ".join(
            f"of {name}: {', '.join(word for each in world.values.values() for word in each)}"
            for name, world in WORLDS.items()
        )
        raise ValueError(
            f"captions such as {captions[0]!r} state nothing that can be measured in videos; "
            f"expected words of a synthetic data set ({words})"
        )
    return best
