"""Captions of a latent cache as token states, for networks that read text."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from longtake.config import ConfigError
from longtake.data.latent_cache import LatentCache
from longtake.diffusion import Denoiser
from longtake.text.encoder import CachedStates, Prompt, TextEncoder


class Captions(NamedTuple):
    """The captions of a run's training data.

    Attributes:
        states: the text encoder's hidden states of each distinct caption; None if the network reads
            no text.
        encoder: settings of the text encoder to export with the model.
        example: caption of the first clip that has one, as a prompt for previews; None if none has.
    """

    states: CachedStates | None = None
    encoder: TextEncoder | None = None
    example: Prompt | None = None


def encode_captions(
    caches: Sequence[LatentCache], denoiser: Denoiser, encoder: TextEncoder | None
) -> Captions:
    """Encode each distinct caption of latent caches once, if the denoiser reads text.

    Args:
        caches: latent caches; the first is the training data's, from which the exported settings of
            the encoder and the example are taken.
        denoiser: the network to train.
        encoder: the text encoder; None for training without text.

    The hidden states are not part of a cache's key: another text encoder uses the same latents.

    Raises:
        ConfigError: the denoiser reads text but encoder or captions are missing, or their widths
            differ.
    """
    reads = "text" in denoiser.reads
    if encoder is None:
        if reads:
            raise ConfigError(
                "the denoiser reads text, but text_encoder is not set; set "
                "text_encoder.kind=word_codes, or pretrained"
            )
        return Captions()
    if not reads:
        raise ConfigError(
            "text_encoder is set, but the denoiser reads no text; set text_encoder=null, or "
            "denoiser.attention.context_dim to the width of the states (PVDM: denoiser.text_width)"
        )
    texts, *held_out = ([each.caption(i) for i in range(len(each))] for each in caches)
    if not any(texts):
        raise ConfigError("the data has no captions; set data.captions, such as kind: beside")
    states = CachedStates(encoder.load(), chain(texts, *held_out))
    width = states("").shape[1]
    if width != denoiser.text_width:
        raise ConfigError(
            f"the text encoder's states are {width} wide, but the denoiser reads "
            f"{denoiser.text_width}; set denoiser.attention.context_dim={width} (PVDM: "
            f"denoiser.text_width={width})"
        )
    return Captions(states, encoder.trained_on(texts), Prompt(next(filter(None, texts))))
