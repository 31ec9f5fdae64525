"""PSNR and SSIM of reconstructions, clip by clip."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

LEVELS = (-1.0, 1.0)
WINDOW = 11
"""Side of the Gaussian window of SSIM in pixels (Wang et al. 2004)."""


def psnr(
    video: Float[Tensor, "b 3 t h w"], reconstruction: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, "b"]:
    """PSNR in dB of each clip's mean squared error over all frames; infinite for an error of 0."""
    x, y = reconstruction.float(), video.float()
    return peak_signal_noise_ratio(x, y, LEVELS, reduction="none", dim=(1, 2, 3, 4))


def ssim(
    video: Float[Tensor, "b 3 t h w"], reconstruction: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, "b"]:
    """Structural similarity of frames, averaged over each clip; 1 for equal clips.

    Raises:
        ValueError: frames are smaller than the window.
    """
    batch, _, _, *size = video.shape
    if min(size) < WINDOW:
        raise ValueError(
            f"SSIM needs frames of at least {WINDOW} x {WINDOW} pixels, got {size[0]} x {size[1]}"
        )
    x, y = (rearrange(v.float(), "b c t h w -> (b t) c h w") for v in (reconstruction, video))
    each = structural_similarity_index_measure(
        x, y, data_range=LEVELS, reduction="none", kernel_size=WINDOW
    )
    assert isinstance(each, Tensor)
    return each.unflatten(0, (batch, -1)).mean(1)
