"""Token states of prompts."""

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.diffusion.signals.signal import Signal, Signals


def text_signal(
    states: Float[Tensor, "b n d"], empty: Float[Tensor, "b m d"] | None = None
) -> Signals:
    """Token states of prompts, padded to one length.

    ``empty`` has the states of the empty prompt, which the official LVDM sampler contrasts with,
    in the same shape; None: zeros.
    """
    return {"text": Signal(value=states, null=torch.zeros_like(states) if empty is None else empty)}


def draw_text(
    states: Float[Tensor, "n d"],
    empty: Float[Tensor, "n d"],
    dropout: float,
    generator: torch.Generator,
) -> Signals:
    """Token states of one training sample's caption, or with probability ``dropout`` of none."""
    withheld = torch.rand((), generator=generator).item() < dropout
    return text_signal((empty if withheld else states)[None], empty[None])
