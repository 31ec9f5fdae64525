"""Discriminators of patches, and what they and the autoencoder play for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.config import Config
from longtake.losses.frames import pick_frames
from longtake.losses.turn import Plateau

AdversarialLoss = Literal["hinge", "vanilla"]


class Adversary(Config, ABC):
    """A discriminator and when and how much it counts.

    Attributes:
        weight: of the adversarial loss.
        adaptive: whether the weight is multiplied by the ratio of the gradients of the
            reconstruction and of the adversarial loss at the decoder's last layer (VQGAN).
        feature_weight: of feature matching, the mean absolute difference between the layers'
            features of a video and of its reconstruction, summed over all layers but the last;
            neither ``weight`` nor ``adaptive`` changes it. LVDM has 0, PVDM 4.
        start: first step with it, or the rule that finds it; before, it neither learns nor counts
            nor costs. In PVDM's official code it runs from the first step, multiplied by 0.
        loss: of the discriminator.
        base_channels: doubled by each layer up to eightfold.
        layers: that halve the resolution.
    """

    weight: Annotated[float, Gt(0)] = 0.5
    adaptive: bool = True
    feature_weight: Annotated[float, Ge(0)] = 0.0
    start: Annotated[int, Ge(0)] | Plateau = 50_001
    loss: AdversarialLoss = "hinge"
    base_channels: Annotated[int, Ge(1)] = 64
    layers: Annotated[int, Ge(1)] = 3

    @abstractmethod
    def build(self) -> "PatchDiscriminator":
        """From videos ``(b, 3, t, h, w)`` in [-1, 1] to logits of their patches."""

    @abstractmethod
    def seen(
        self, video: Float[Tensor, "b 3 t h w"], seeds: Sequence[int]
    ) -> Float[Tensor, "b 3 n h w"]:
        """What is judged of clips with a seed each."""


class Patch2D(Adversary):
    """Judges patches of single frames: the one of the official LVDM code, from VQGAN.

    PVDM's has ``padding=2``, ``bias=True`` and ``frames=1``.

    Attributes:
        frames: how many frames of a clip are judged, drawn as those of the perceptual loss; all
            where None.
        padding: of each convolution.
        bias: of the convolutions before a normalisation, where it changes nothing.
    """

    kind: Literal["patch2d"] = "patch2d"
    frames: Annotated[int, Ge(1)] | None = None
    padding: Literal[1, 2] = 1
    bias: bool = False

    def build(self) -> "FramePatchDiscriminator":
        """The network, its convolutions drawn from N(0, 0.02)."""
        return FramePatchDiscriminator(self)

    def seen(
        self, video: Float[Tensor, "b 3 t h w"], seeds: Sequence[int]
    ) -> Float[Tensor, "b 3 n h w"]:
        """The drawn frames."""
        return pick_frames(video, self.frames, seeds)


class Patch3D(Adversary):
    """Judges patches in space and time: that of TATS and PVDM."""

    kind: Literal["patch3d"] = "patch3d"

    def build(self) -> "VideoPatchDiscriminator":
        """The network, its convolutions drawn from N(0, 0.02)."""
        return VideoPatchDiscriminator(self)

    def seen(
        self, video: Float[Tensor, "b 3 t h w"], seeds: Sequence[int]
    ) -> Float[Tensor, "b 3 n h w"]:
        """All of it."""
        return video


AnyAdversary = Annotated[Patch2D | Patch3D, Field(discriminator="kind")]


class PatchDiscriminator(nn.Module, ABC):
    """Convolutions that judge patches."""

    @abstractmethod
    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> list[Tensor]:
        """Output of each layer; the last are the logits."""


class FramePatchDiscriminator(PatchDiscriminator):
    """Built by ``Patch2D``. Batch statistics are over the frames of the batch."""

    def __init__(self, config: Patch2D) -> None:
        super().__init__()
        self.config = config
        self.main = nn.Sequential()
        for position, stride, before, after in _layout(config):
            bias = position != "inner" or config.bias
            self.main.append(
                nn.Conv2d(before, after, 4, stride=stride, padding=config.padding, bias=bias)
            )
            if position == "inner":
                self.main.append(nn.BatchNorm2d(after))
            if position != "last":
                self.main.append(nn.LeakyReLU(0.2))
        self.apply(_initialise)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> list[Tensor]:
        """Output of each layer on all frames; the last are the logits."""
        least = _smallest(self.config)
        if min(video.shape[-2:]) < least:
            raise ValueError(
                f"frames of {video.shape[-2]}x{video.shape[-1]} pixels are too small for a "
                f"discriminator of {self.config.layers} layers, which needs {least}x{least}; "
                "lower its layers"
            )
        return _outputs(self.main, rearrange(video, "b c t h w -> (b t) c h w"))


class VideoPatchDiscriminator(PatchDiscriminator):
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

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> list[Tensor]:
        """Output of each layer; the last are the logits."""
        return _outputs(self.main, video)


def _outputs(main: nn.Sequential, x: Tensor) -> list[Tensor]:
    """After each activation, and after the last convolution."""
    found = []
    for module in main:
        x = module(x)
        if isinstance(module, nn.LeakyReLU):
            found.append(x)
    return [*found, x]


def _smallest(config: Patch2D) -> int:
    """Side of the smallest frame that has a patch."""

    def patches(side: int) -> int:
        for _, stride, *_ in _layout(config):
            side = max((side + 2 * config.padding - 4) // stride + 1, 0)
        return side

    return next(side for side in count(1) if patches(side) > 0)


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


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Sum over layers of the mean absolute difference of features; real ones get no gradient."""
    each = [F.l1_loss(f.float(), r.detach().float()) for r, f in zip(real, fake, strict=True)]
    return torch.stack(each).sum()


def gradient_ratio(
    reconstruction: Float[Tensor, ""], adversarial: Float[Tensor, ""], last_layer: Tensor
) -> Float[Tensor, ""]:
    """Norm of one loss's gradient at the last layer over the other's, at most 10,000 (VQGAN)."""
    (wanted,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (given,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    ratio = wanted.float().norm() / (given.float().norm() + 1e-4)
    return ratio.clamp(0, 1e4).detach()


def pull(
    adversarial: Float[Tensor, ""], reconstruction: Float[Tensor, ""], pixels: Tensor
) -> Float[Tensor, ""]:
    """How many times as strongly one loss pulls at the pixels as the other."""
    losses = (adversarial, reconstruction)
    game, task = (torch.autograd.grad(loss, pixels, retain_graph=True)[0] for loss in losses)
    return (game.float().norm() / task.float().norm()).detach()


def right_signed(
    real: Float[Tensor, "..."], fake: Float[Tensor, "..."]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Shares of real logits above and of false ones below 0: the discriminator's accuracy."""
    return (real > 0).float().mean(), (fake < 0).float().mean()
