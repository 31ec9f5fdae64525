"""Captions of training clips as hidden states of a text encoder, for networks that read text."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from longtake.config import ConfigError
from longtake.data.clips import ClipSource
from longtake.data.latent_cache import ClipLatents
from longtake.diffusion import Denoiser
from longtake.text.encoder import CachedStates, Prompt, TextEncoder

NO_CAPTIONS = "the data has no captions; set data.captions, such as kind: beside"


class Captions(NamedTuple):
    """The captions of a run's training data.

    Attributes:
        states: the text encoder's hidden states of each distinct caption; None if the network reads
            no text.
        encoder: settings of the text encoder to export with the model; None without text.
        example: caption of the first clip that has one, as a prompt for previews; None if none has.
    """

    states: CachedStates | None = None
    encoder: TextEncoder | None = None
    example: Prompt | None = None


def check_captions(denoiser: Denoiser, encoder: TextEncoder | None, source: ClipSource) -> None:
    """Raise a ConfigError if the denoiser reads text but cannot get the captions of ``source``.

    Args:
        denoiser: the network to train.
        encoder: the text encoder; None for training without text.
        source: the training clips.

    Raises:
        ConfigError: the denoiser reads text but encoder or captions are missing, or the encoder's
            states have another width; or it reads none, and there is an encoder.
        ValueError: files of the encoder are missing or broken.
    """
    reads = "text" in denoiser.reads
    if encoder is None:
        if reads:
            raise ConfigError(
                "the denoiser reads text, but text_encoder is not set; set "
                "text_encoder.kind=word_codes, or pretrained"
            )
        return
    if not reads:
        raise ConfigError(
            "text_encoder is set, but the denoiser reads no text; set text_encoder=null, or "
            "denoiser.attention.context_dim to the width of the states (PVDM: denoiser.text_width)"
        )
    if not any(source.caption(index) for index in range(len(source))):
        raise ConfigError(NO_CAPTIONS)
    width = encoder.width or encoder.load()([""]).shape[-1]
    if width != denoiser.text_width:
        raise ConfigError(
            f"the text encoder's states are {width} wide, but the denoiser reads "
            f"{denoiser.text_width}; set denoiser.attention.context_dim={width} (PVDM: "
            f"denoiser.text_width={width})"
        )


def encode_captions(latents: Sequence[ClipLatents], encoder: TextEncoder | None) -> Captions:
    """Encode each distinct caption of training clips once, if there is a text encoder.

    Args:
        latents: latents of clips; the words that ``encoder`` of the result records, and its
            ``example``, are of the first, the training data's.
        encoder: the text encoder, as ``check_captions`` accepted it; None for training without
            text.

    The hidden states are not part of a cache's key: another text encoder uses the same latents.

    Raises:
        ConfigError: no clip of the training data has a caption.
    """
    if encoder is None:
        return Captions()
    texts, *held_out = ([each.caption(i) for i in range(len(each))] for each in latents)
    if not any(texts):  # the source has some, but of videos that are not cached
        raise ConfigError(NO_CAPTIONS)
    states = CachedStates(encoder.load(), chain(texts, *held_out))
    return Captions(states, encoder.trained_on(texts), Prompt(next(filter(None, texts))))
