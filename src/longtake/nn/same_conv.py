"""3D convolutions whose output is as large as the input, divided or multiplied by the stride."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Stride = tuple[int, int, int]


class SameConv(nn.Conv3d):
    """A convolution of an input whose border is repeated outwards (LVDM's autoencoder).

    An axis is padded by ``kernel - stride`` cells in all; where that is odd, as with a kernel of 4
    and a stride of 1, the extra cell comes first.

    Args:
        channels: of the input.
        out_channels: of the output.
        kernel: cells on each axis.
        stride: by axis; must divide the input's size.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: Stride = (1, 1, 1)
    ) -> None:
        super().__init__(channels, out_channels, kernel, stride)
        self.border = _border(kernel, stride)

    def forward(self, input: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Pad and convolve."""
        return super().forward(_pad(input, self.border))


class SameConvTranspose(nn.ConvTranspose3d):
    """The transposed convolution that multiplies sizes by its stride; padded as ``SameConv`` is.

    Args:
        channels: of the input.
        out_channels: of the output.
        kernel: cells on each axis.
        stride: by axis.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: Stride) -> None:
        super().__init__(channels, out_channels, kernel, stride, padding=kernel - 1)
        self.border = _border(kernel, stride)

    def forward(self, input: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Pad and convolve."""
        return super().forward(_pad(input, self.border))


def _border(kernel: int, stride: Stride) -> tuple[int, ...]:
    """Cells before and after, the last axis first, as ``pad`` wants them."""
    border: list[int] = []
    for step in reversed(stride):
        total = kernel - step
        border += [total - total // 2, total // 2]
    return tuple(border)


def _pad(x: Tensor, border: tuple[int, ...]) -> Tensor:
    return F.pad(x, border, mode="replicate") if any(border) else x
