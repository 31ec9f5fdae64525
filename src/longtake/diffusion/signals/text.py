"""The signal ``text``: a text encoder's hidden states for prompts."""

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.diffusion.signals.signal import Signal, Signals


def text_signal(
    states: Float[Tensor, "b n d"], empty: Float[Tensor, "b m d"] | None = None
) -> Signals:
    """The signal ``text``: hidden states of a text encoder for prompts, padded to one length.

    Args:
        states: hidden states of each prompt's tokens.
        empty: hidden states of the empty prompt, of the same shape, for the unconditional estimate
            of guidance, as in the official LVDM sampler; None: zeros.
    """
    return {"text": Signal(value=states, null=torch.zeros_like(states) if empty is None else empty)}


def draw_text(
    states: Float[Tensor, "n d"],
    empty: Float[Tensor, "n d"],
    dropout: float,
    generator: torch.Generator,
) -> Signals:
    """The signal ``text`` of one training sample, a batch of one.

    With probability ``dropout`` the caption's hidden states, ``states``, are replaced by ``empty``,
    those of the empty prompt, which is also the signal's null.
    """
    withheld = torch.rand((), generator=generator).item() < dropout
    return text_signal((empty if withheld else states)[None], empty[None])
