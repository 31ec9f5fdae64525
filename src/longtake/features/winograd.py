"""Convolutions of float32 clips on a CPU, with half the products (Winograd 1980).

Along time, 4 frames of a convolution of 3 taps need 6 products of transformed frames and taps
instead of 12, and 2 frames 4 instead of 6 (Lavin and Gray 2016: F(4, 3) and F(2, 3)). Whole frames
are transformed, and 2D convolutions of the transformed frames remain. Results differ from those of
a direct convolution by rounding only: their error is 7e-7 of the result instead of 2e-7.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

TAPS = 3

FEW = 2
"""Greatest number of frames of clips that are convolved two frames at a time, by F(2, 3) of Lavin
and Gray (2016); longer clips are convolved four at a time, by F(4, 3)."""


class Transforms(NamedTuple):
    """The three matrices of Winograd's minimal filtering, here along time.

    Attributes:
        frames: transforms the frames of a tile.
        taps: transforms the taps of the kernel.
        result: transforms the products of both to frames of the result.
    """

    frames: tuple[tuple[float, ...], ...]
    taps: tuple[tuple[float, ...], ...]
    result: tuple[tuple[float, ...], ...]


F2 = Transforms(
    frames=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    taps=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    result=((1, 1, 1, 0), (0, 1, -1, -1)),
)
F4 = Transforms(
    frames=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    taps=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    result=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
)


class TimeConv:
    """A zero-padded 3D convolution and its ReLU, by Winograd's minimal filtering along time.

    The output's size is the input's divided by the stride. ``stride`` successive frames become the
    channels of one frame, so that the convolution has a stride in space only. The first three taps
    along time are computed by minimal filtering, the others directly.

    Args:
        weight: weights of a kernel of equal size along each axis.
        bias: bias of the convolution.
        stride: stride along each axis. It must divide the size of clips, and the number of zero
            frames before a clip, as for kernels of 3 with stride 1 and of 7 with stride 2.
        frames: number of frames of the result, which decides how it is computed.
    """

    def __init__(
        self,
        weight: Float[Tensor, "c2 c k k k"],
        bias: Float[Tensor, "c2"],
        stride: int,
        frames: int,
    ) -> None:
        kernel, self._stride = weight.shape[-1], stride
        self._front, self._behind = (kernel - stride) // 2, (kernel - stride + 1) // 2
        missing = -kernel % stride
        stacked = rearrange(
            F.pad(weight, (0, 0, 0, 0, 0, missing)), "o i (k s) h w -> k o (s i) h w", s=stride
        )
        transforms = F2 if frames <= FEW else F4
        taps = torch.tensor(transforms.taps, dtype=torch.float64)
        products = torch.einsum("jk,koihw->joihw", taps, stacked[:TAPS].double())
        self._weights = [_channels_last(w.to(weight.dtype)) for w in products]
        # the last tap may have fewer frames than the stride
        self._others = [
            _channels_last(w[:, : (kernel - first) * weight.shape[1]])
            for first, w in zip(range(TAPS * stride, kernel, stride), stacked[TAPS:], strict=True)
        ]
        # the second product is in each frame of the result once, so the bias is added to it
        self._biases = [bias if row == 1 else None for row in range(len(products))]
        self._frames = torch.tensor(transforms.frames, dtype=weight.dtype)
        result = torch.tensor(transforms.result, dtype=weight.dtype)
        one = torch.eye(len(result), dtype=weight.dtype)
        self._result = torch.cat([result, *(one for _ in self._others)], 1)

    def __call__(self, clip: Float[Tensor, "t h w c"]) -> Float[Tensor, "t2 h2 w2 c2"]:
        """Convolve a channels-last clip and apply ReLU."""
        clip = rearrange(clip, "(t s) h w c -> t h w (s c)", s=self._stride)
        frames, height, width, channels = clip.shape
        step, wide = len(self._result), len(self._frames)
        tiles, front = -(-frames // step), self._front
        border, before = front + self._behind, front // self._stride
        length = tiles * step + TAPS - 1 + len(self._others)
        padded = clip.new_zeros(length, height + border, width + border, channels)
        inner = slice(front, front + height), slice(front, front + width)
        padded[before : before + frames, *inner] = clip
        size = height // self._stride, width // self._stride
        found = clip.new_empty(tiles, step, *size, len(self._weights[0]))
        products = clip.new_empty(self._result.shape[1], found[0, 0].numel())
        for tile, result in enumerate(found.flatten(2)):  # one by one, in the memory of one
            rows = padded[tile * step : tile * step + wide + len(self._others)]
            turned = self._frames @ rows[:wide].flatten(1)
            self._multiply(turned.view(rows[:wide].shape), rows[TAPS:], products)
            torch.mm(self._result, products, out=result)
            result.relu_()  # while it is in the cache
        return found.flatten(0, 1)[:frames]

    def _multiply(
        self, turned: Float[Tensor, "j h w c"], others: Float[Tensor, "n h w c"], out: Tensor
    ) -> None:
        step, stride = len(self._result), self._stride
        rows = zip(turned[:, None].movedim(-1, 2), self._weights, self._biases, strict=True)
        for row, (x, weight, bias) in enumerate(rows):
            out[row] = F.conv2d(x, weight, bias, stride).movedim(1, -1).flatten()
        further = out[len(turned) :].unflatten(0, (-1, step)) if self._others else ()
        for first, (weight, place) in enumerate(zip(self._others, further, strict=True)):
            x = others[first : first + step, ..., : weight.shape[1]].contiguous().movedim(-1, 1)
            place[:] = F.conv2d(x, weight, None, stride).movedim(1, -1).flatten(1)


def _channels_last(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last)
