"""The text encoder that needs no weights: every word has a fixed random code."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.nn import Count
from longtake.noise import generator
from longtake.text.encoder import EncodeText, TextEncoder
from longtake.vocabulary import check_words, split_words

_POSITION = 0.5  # standard deviation of a position's code; a word's is 1


class WordCodes(TextEncoder):
    """A text encoder without training: a fixed random vector for each word and each position.

    The hidden state of a word is the sum of its vector and its position's. Keys and values of a
    denoiser's attention to text are linear in the hidden states, so that the denoiser learns the
    meaning of each word. That is enough for captions of synthetic data sets, and for the words of a
    small data set's captions. A word that no training caption has is refused, as nothing is known
    of it.

    Attributes:
        states_width: width of the hidden states.
        tokens: greatest number of words of a text.
        words: words of the captions that a model was trained on; empty: any word is accepted.
    """

    own_defaults: ClassVar[frozenset[str]] = frozenset({"words"})

    kind: Literal["word_codes"] = "word_codes"
    states_width: Count = 128
    tokens: Count = 32
    words: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return self.states_width

    def load(self, folder: Path | None = None) -> EncodeText:
        if folder is not None:
            raise ValueError(
                f"text encoder {folder}: this model's encoder, word_codes, has no files; leave "
                "the folder out"
            )
        return self._encode

    def trained_on(self, captions: Iterable[str]) -> "WordCodes":
        known = sorted({word for caption in captions for word in split_words(caption)})
        return self.model_copy(update={"words": tuple(known)})

    def _encode(self, texts: Sequence[str]) -> Float[Tensor, "b n d"]:
        states = torch.zeros(len(texts), self.tokens, self.states_width)
        for row, text in zip(states, texts, strict=True):
            check_words(text, self.words, self.tokens)
            for place, word in enumerate(split_words(text)):
                row[place] = self._code("word", word) + _POSITION * self._code("position", place)
        return states

    def _code(self, *name: str | int) -> Float[Tensor, "d"]:
        return torch.randn(self.states_width, generator=generator(0, "text", *name))
