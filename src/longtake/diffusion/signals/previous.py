"""The previous-clip signal: the whole latent of the clip before (PVDM)."""

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.diffusion.signals.signal import Signal, Signals


def previous_signal(z: Float[Tensor, "b ..."]) -> Signals:
    """Latents of the previous clips; zeros for a sample without one."""
    return {"previous": Signal(value=z, null=torch.zeros_like(z))}
