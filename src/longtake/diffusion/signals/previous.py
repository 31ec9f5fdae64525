"""The clip before (PVDM)."""

import torch

from longtake.diffusion.signals.signal import Signal, Signals
from longtake.latents import Latent


def previous_signal(z: Latent) -> Signals:
    """Whole latents of the previous clips (PVDM); zeros for a sample without one."""
    return {"previous": Signal(value=z, null=torch.zeros_like(z))}
