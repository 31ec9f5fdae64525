"""The signal ``previous``: the latent of the clip before (PVDM)."""

import torch

from longtake.diffusion.signals.signal import Signal, Signals
from longtake.latents import Latent


def previous_signal(z: Latent) -> Signals:
    """The signal ``previous``: latents ``z`` of each sample's previous clip (PVDM).

    Give zeros for a sample that starts a video.
    """
    return {"previous": Signal(value=z, null=torch.zeros_like(z))}
