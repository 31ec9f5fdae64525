"""Interface of text encoders: settings in a model folder, and a function of texts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.config import Config
from longtake.diffusion.signals import Signals, text_signal

EncodeText = Callable[[Sequence[str]], Float[Tensor, "b n d"]]
"""Function from texts to hidden states in float32, all padded to the same number of tokens."""


class TextEncoder(Config, ABC):
    """Settings of a text encoder, as a model folder stores them."""

    @property
    @abstractmethod
    def width(self) -> int | None:
        """Width of the encoder's hidden states; None if only the encoder's own files state it."""

    @abstractmethod
    def load(self, folder: Path | None = None) -> EncodeText:
        """Load the encoder from local files; return a function from texts to hidden states.

        Args:
            folder: folder of the encoder's files; None: the settings name it.

        Raises:
            ValueError: files are missing, broken or not those of the settings.
        """

    @abstractmethod
    def trained_on(self, captions: Iterable[str]) -> "TextEncoder":
        """Copy these settings with what a video model must remember of its training.

        That is the words of the captions, or the hash of the encoder's weights. Nothing is trained.

        Args:
            captions: captions of the clips that the video model is trained on.

        Raises:
            ValueError: the encoder's files are missing or broken.
        """


class Prompt(NamedTuple):
    """A prompt, and how it is encoded.

    Attributes:
        text: the prompt of all videos, or a list of one per video.
        negative: negative prompt, for the unconditional estimate of guidance; by default the empty
            prompt, as in LVDM.
        encoder: folder of the text encoder's files; None: they are found by the encoder's name.
    """

    text: str | Sequence[str]
    negative: str = ""
    encoder: Path | None = None


def prompt_signal(encode: EncodeText, prompts: Sequence[str], negative: str = "") -> Signals:
    """Condition ``text`` of a denoiser for prompts, one per video, by the encoder ``encode``.

    ``negative`` is the negative prompt, for the unconditional estimate of guidance; by default the
    empty prompt, as in LVDM.
    """
    states, null = encode(prompts), encode([negative])
    return text_signal(states, null.expand_as(states).clone())


class CachedStates:
    """Hidden states of texts, each text encoded once and stored on the CPU.

    Called with one of the texts, or the empty text, it returns that text's states.

    Args:
        encode: function from texts to hidden states.
        texts: the texts; repeated ones are encoded once.
        at_once: number of texts that are encoded together.
    """

    def __init__(self, encode: EncodeText, texts: Iterable[str], at_once: int = 32) -> None:
        rest = sorted({*texts, ""})
        self._row = {text: row for row, text in enumerate(rest)}
        parts = [encode(rest[i : i + at_once]).cpu() for i in range(0, len(rest), at_once)]
        self._states = torch.cat(parts)

    def __call__(self, text: str) -> Float[Tensor, "n d"]:
        """Hidden states of ``text``: one of the texts or ``""``; a KeyError for other texts."""
        return self._states[self._row[text]]
