"""The text signal: token states of a prompt."""

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.diffusion.signals.signal import Signal, Signals


def text_signal(
    states: Float[Tensor, "b n d"], empty: Float[Tensor, "b m d"] | None = None
) -> Signals:
    """Token states of prompts.

    Args:
        states: one prompt a sample, padded to one length.
        empty: states of the empty prompt, of the same shape: what the official LVDM sampler
            contrasts with; None: zeros.

    Raises:
        ValueError: the shapes differ.
    """
    return {"text": Signal(value=states, null=torch.zeros_like(states) if empty is None else empty)}
