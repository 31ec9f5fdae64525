"""Prompts of a model as the signal that its networks read."""

from collections.abc import Mapping

import torch

from longtake.config import plural
from longtake.diffusion import Denoiser
from longtake.diffusion.signals import Signals, rows
from longtake.model.index import ModelIndex
from longtake.model.labels import Labels
from longtake.rollout import Role
from longtake.text import Prompt, prompt_signal


def prompt_signals(
    index: ModelIndex, networks: Mapping[Role, Denoiser], videos: int, prompt: Prompt
) -> Signals:
    """Condition (signal) ``text`` of a model's networks for a batch of videos.

    Args:
        index: the model's settings, with its text encoder and classes.
        networks: the model's denoisers.
        videos: number of videos.
        prompt: one text for all videos, or one for each.

    Raises:
        ValueError: a network that samples clips reads no text, there is no encoder, or ``prompt``
            does not fit the network or the number of videos.
    """
    encoder = index.text_encoder
    first = networks.get("first")
    sampling: tuple[Role, ...] = ("first", "next")
    silent: list[Role] = [
        role for role in sampling if role in networks and "text" not in networks[role].reads
    ]
    if silent and encoder is not None:
        known = Labels(index, networks[silent[0]].reads).names
        example = "" if known.unlabelled else f", or give a class, as label={known.classes[0]!r}"
        raise ValueError(
            f"prompt {prompt.text!r}: the network in the role {silent[0]!r} reads no text, as "
            f"many few-step students do not; leave out students=True{example}"
        )
    if first is None or "text" not in first.reads:
        raise ValueError(f"prompt {prompt.text!r}: this model reads no text; give no prompt")
    if encoder is None:
        raise ValueError(
            f"prompt {prompt.text!r}: this model names no text encoder; set text_encoder in "
            "its model_index.json, or give states as text_signal(...) to a Request, in Python"
        )
    texts = [prompt.text] if isinstance(prompt.text, str) else prompt.text
    if len(texts) not in (1, videos):
        given = f"{plural(len(texts), 'prompt')} for {plural(videos, 'video')}"
        raise ValueError(f"{given}; give one, or one per video")
    signals = prompt_signal(encoder.load(prompt.encoder), texts, prompt.negative)
    width = signals["text"].value.shape[-1]
    if width != first.text_width:
        raise ValueError(
            f"the text encoder's states are {width} wide, but the network reads "
            f"{first.text_width}; give the encoder that the model was trained with"
        )
    return rows(signals, torch.arange(videos) % len(texts))
