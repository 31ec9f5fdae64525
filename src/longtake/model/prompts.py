"""Prompts of a model as the signal that its networks read."""

import torch

from longtake.diffusion import Denoiser
from longtake.diffusion.signals import Signals, rows
from longtake.text import Prompt, TextEncoder, prompt_signal


def prompt_signals(
    encoder: TextEncoder | None, first: Denoiser | None, videos: int, prompt: Prompt
) -> Signals:
    """The signal ``text`` for a batch of videos.

    Args:
        encoder: the model's text encoder; None if it names none.
        first: the model's network in the role ``first``; None if it has none.
        videos: number of videos.
        prompt: one text for all videos, or one for each.

    Raises:
        ValueError: the network reads no text, there is no encoder, or ``prompt`` does not fit the
            network or the number of videos.
    """
    if first is None or "text" not in first.reads:
        raise ValueError(f"prompt {prompt.text!r}: this model reads no text; give no prompt")
    if encoder is None:
        raise ValueError(
            f"prompt {prompt.text!r}: this model names no text encoder; set text_encoder in "
            "its model_index.json, or give states as text_signal(...) to a Request, in Python"
        )
    texts = [prompt.text] if isinstance(prompt.text, str) else prompt.text
    if len(texts) not in (1, videos):
        raise ValueError(f"{len(texts)} prompts for {videos} videos; give one, or one per video")
    signals = prompt_signal(encoder.load(prompt.encoder), texts, prompt.negative)
    width = signals["text"].value.shape[-1]
    if width != first.text_width:
        raise ValueError(
            f"the text encoder's states are {width} wide, but the network reads "
            f"{first.text_width}; give the encoder that the model was trained with"
        )
    return rows(signals, torch.arange(videos) % len(texts))
