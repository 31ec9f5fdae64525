"""What a text encoder is: settings in a model folder, and a function of texts."""

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
"""Token states of texts in float32, padded to one length whatever the texts."""


class TextEncoder(Config, ABC):
    """Settings of a text encoder, as they are stored in a model folder."""

    @property
    @abstractmethod
    def width(self) -> int | None:
        """Width of the token states; None where the encoder's own files say it."""

    @abstractmethod
    def load(self, folder: Path | None = None) -> EncodeText:
        """The encoder, ready to use; nothing is downloaded.

        Args:
            folder: where the encoder's files are; None: where the settings say.

        Raises:
            ValueError: its files are missing, broken or not those of the settings.
        """

    @abstractmethod
    def trained_on(self, captions: Iterable[str]) -> "TextEncoder":
        """The settings that a model trained on these captions stores."""


class Prompt(NamedTuple):
    """What videos are made of, in words.

    Attributes:
        text: the prompt of all videos, or a list of one per video.
        negative: text that guidance contrasts it with; the empty one, as LVDM does, by default.
        encoder: folder of the text encoder's files, where they are not found by its name.
    """

    text: str | Sequence[str]
    negative: str = ""
    encoder: Path | None = None


def prompt_signal(encode: EncodeText, prompts: Sequence[str], negative: str = "") -> Signals:
    """The signal of prompts, one per video.

    Guidance contrasts them with ``negative``; by default the empty prompt, as LVDM does.
    """
    states, null = encode(prompts), encode([negative])
    return text_signal(states, null.expand_as(states).clone())


class CachedStates:
    """States of texts, each computed once and kept on the CPU."""

    def __init__(self, encode: EncodeText, texts: Iterable[str], at_once: int = 32) -> None:
        rest = sorted({*texts, ""})
        self._row = {text: row for row, text in enumerate(rest)}
        parts = [encode(rest[i : i + at_once]).cpu() for i in range(0, len(rest), at_once)]
        self._states = torch.cat(parts)

    def __call__(self, text: str) -> Float[Tensor, "n d"]:
        """States of one of the texts, or of the empty one."""
        return self._states[self._row[text]]
