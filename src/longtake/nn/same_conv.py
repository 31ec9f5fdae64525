"""3D convolutions whose output is as large as the input, divided or multiplied by the stride."""

from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn import formulas
from longtake.nn.kernels import compute

Stride = tuple[int, int, int]


class SameConv(nn.Conv3d):
    """A convolution of an input padded with copies of its border (LVDM's autoencoder).

    An axis is padded by ``kernel - stride`` cells in all; where that is odd, as with a kernel of 4
    and a stride of 1, the extra cell comes first. The stride must divide the input's size.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: Stride = (1, 1, 1)
    ) -> None:
        super().__init__(channels, out_channels, kernel, stride)
        self.border = _border(kernel, stride)

    def forward(self, input: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Pad and convolve."""
        x = compute(formulas.repeat_border, input, self.border)
        return compute(formulas.volume_conv, x, self.weight, self.bias, self.stride)


class SameConvTranspose(nn.ConvTranspose3d):
    """A transposed convolution that multiplies sizes by its stride; padded as ``SameConv`` is."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: Stride) -> None:
        super().__init__(channels, out_channels, kernel, stride, padding=kernel - 1)
        self.border = _border(kernel, stride)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input: Float[Tensor, "b c t h w"]
    ) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Pad and convolve."""
        return super().forward(compute(formulas.repeat_border, input, self.border))


def _border(kernel: int, stride: Stride) -> tuple[int, ...]:
    """Cells before and after, the last axis first."""
    border: list[int] = []
    for step in reversed(stride):
        total = kernel - step
        border += [total - total // 2, total // 2]
    return tuple(border)
