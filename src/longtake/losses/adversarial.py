"""Discriminators of patches, and what they and the autoencoder play for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.config import Config

AdversarialLoss = Literal["hinge", "vanilla"]


class Adversary(Config, ABC):
    """A discriminator and when and how much it counts.

    Attributes:
        weight: of the adversarial loss.
        adaptive: whether the weight is multiplied by the ratio of the gradients of the
            reconstruction and of the adversarial loss at the decoder's last layer (VQGAN).
        start: first step with it; before, it neither learns nor counts nor costs.
        loss: of the discriminator.
        base_channels: doubled by each layer up to eightfold.
        layers: that halve the resolution.
    """

    weight: Annotated[float, Gt(0)] = 0.5
    adaptive: bool = True
    start: Annotated[int, Ge(0)] = 50_001
    loss: AdversarialLoss = "hinge"
    base_channels: Annotated[int, Ge(1)] = 64
    layers: Annotated[int, Ge(1)] = 3

    @abstractmethod
    def build(self) -> nn.Module:
        """From videos ``(b, 3, t, h, w)`` in [-1, 1] to logits of their patches."""


class Patch2D(Adversary):
    """Judges patches of single frames: the one of the official LVDM code, from VQGAN."""

    kind: Literal["patch2d"] = "patch2d"

    def build(self) -> "FramePatchDiscriminator":
        """The network, its convolutions drawn from N(0, 0.02)."""
        return FramePatchDiscriminator(self)


class Patch3D(Adversary):
    """Judges patches in space and time: that of TATS and PVDM."""

    kind: Literal["patch3d"] = "patch3d"

    def build(self) -> "VideoPatchDiscriminator":
        """The network, its convolutions drawn from N(0, 0.02)."""
        return VideoPatchDiscriminator(self)


AnyAdversary = Annotated[Patch2D | Patch3D, Field(discriminator="kind")]


class FramePatchDiscriminator(nn.Module):
    """Built by ``Patch2D``. Batch statistics are over the frames of the batch."""

    def __init__(self, config: Patch2D) -> None:
        super().__init__()
        self.config = config
        self.main = nn.Sequential()
        for position, stride, before, after in _layout(config):
            bias = position != "inner"
            self.main.append(nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=bias))
            if position == "inner":
                self.main.append(nn.BatchNorm2d(after))
            if position != "last":
                self.main.append(nn.LeakyReLU(0.2))
        self.apply(_initialise)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "n 1 i j"]:
        """Logits of the patches of all frames."""
        least = 3 * 2**self.config.layers
        if min(video.shape[-2:]) < least:
            raise ValueError(
                f"frames of {video.shape[-2]}x{video.shape[-1]} pixels are too small for a "
                f"discriminator of {self.config.layers} layers, which needs {least}x{least}; "
                "lower its layers"
            )
        return self.main(rearrange(video, "b c t h w -> (b t) c h w"))


class VideoPatchDiscriminator(nn.Module):
    """Built by ``Patch3D``."""

    def __init__(self, config: Patch3D) -> None:
        super().__init__()
        self.config = config
        self.main = nn.Sequential()
        for position, stride, before, after in _layout(config):
            self.main.append(nn.Conv3d(before, after, 4, stride=stride, padding=2))
            if position == "inner":
                self.main.append(nn.BatchNorm3d(after))
            if position != "last":
                self.main.append(nn.LeakyReLU(0.2))
        self.apply(_initialise)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 1 k i j"]:
        """Logits of the patches of all videos."""
        return self.main(video)


def _layout(config: Adversary) -> list[tuple[Literal["first", "inner", "last"], int, int, int]]:
    """Position, stride, channels in and out of each convolution."""
    widths = [config.base_channels * min(2**layer, 8) for layer in range(config.layers + 1)]
    strides = [2] * (config.layers - 1) + [1]
    inner = zip(strides, widths[:-1], widths[1:], strict=True)
    return [
        ("first", 2, 3, widths[0]),
        *(("inner", *sizes) for sizes in inner),
        ("last", 1, widths[-1], 1),
    ]


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        module.weight.normal_(0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
        module.weight.normal_(1, 0.02)
        module.bias.zero_()


def hinge(real: Float[Tensor, "..."], fake: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The discriminator is content with real logits above 1 and false ones below -1."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def vanilla(real: Float[Tensor, "..."], fake: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Cross-entropy of real and false."""
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


DISCRIMINATOR_LOSSES: Mapping[AdversarialLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "hinge": hinge,
    "vanilla": vanilla,
}


def gradient_ratio(
    reconstruction: Float[Tensor, ""], adversarial: Float[Tensor, ""], last_layer: Tensor
) -> Float[Tensor, ""]:
    """Norm of one loss's gradient at the last layer over the other's, at most 10,000 (VQGAN)."""
    (wanted,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (given,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    ratio = wanted.float().norm() / (given.float().norm() + 1e-4)
    return ratio.clamp(0, 1e4).detach()
