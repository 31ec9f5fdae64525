"""Pixel errors of reconstructions: of whole clips, and of motion alone."""

from collections.abc import Callable, Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

PixelError = Literal["l1", "l2"]

PIXEL_ERRORS: Mapping[PixelError, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
}


def pixel_error(
    kind: PixelError, video: Float[Tensor, "b 3 t h w"], reconstruction: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, ""]:
    """Mean absolute (``l1``) or squared (``l2``) difference, in float32."""
    return PIXEL_ERRORS[kind](reconstruction.float(), video.float())


def motion_error(
    kind: PixelError, video: Float[Tensor, "b 3 t h w"], reconstruction: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, ""]:
    """Pixel error of clips without their means over time; 0 if only still content differs."""
    return pixel_error(kind, _motion(video), _motion(reconstruction))


def _motion(clip: Tensor) -> Tensor:
    wide = clip.float()
    return wide - wide.mean(2, keepdim=True)
