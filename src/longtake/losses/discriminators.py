"""Patch discriminators of frames and of clips, and their settings."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import count
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Interval
from einops import rearrange
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from longtake.config import Config
from longtake.losses.frames import pick_frames

AdversarialLoss = Literal["hinge", "vanilla"]


class Plateau(Config):
    """Start rule: start a discriminator when the reconstruction loss hardly improves any more.

    PVDM's authors train without discriminators until the loss rests, save, and start a second
    training from there; this rule finds that step within one run.

    Attributes:
        improvement: the rule is met when the mean loss over the last ``steps`` steps is not below
            the mean over the ``steps`` before by more than this share of it.
        steps: length of each of the two windows; they are compared ten times a window.
        earliest: first step that the discriminator may have.
        latest: step at which it starts even without a plateau; None for no limit.
    """

    kind: Literal["plateau"] = "plateau"
    improvement: Annotated[float, Interval(gt=0, lt=1)] = 0.02
    steps: Annotated[int, Ge(1)] = 10_000
    earliest: Annotated[int, Ge(0)] = 0
    latest: Annotated[int, Ge(0)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Plateau":
        if self.latest is not None and self.latest < self.earliest:
            raise ValueError(
                f"latest={self.latest} must not be before earliest={self.earliest}; raise latest"
            )
        return self


class DiscriminatorConfig(Config, ABC):
    """A discriminator, its weight in the autoencoder's loss, and when it starts.

    Attributes:
        weight: weight of the adversarial loss.
        adaptive: multiply ``weight`` by the ratio of the gradient norms of the reconstruction
            loss and of the adversarial loss at the decoder's last layer (VQGAN).
        feature_weight: weight of feature matching, the mean absolute difference between the
            features of a video and of its reconstruction, summed over all layers but the last;
            independent of ``weight`` and ``adaptive``. LVDM has 0, PVDM 4.
        start: first step with the discriminator, or the rule that finds it. Before, it is neither
            trained nor evaluated; PVDM's official code runs it from the first step, times 0.
        loss: loss of the discriminator.
        base_channels: channels of the first layer; each layer doubles them, up to eightfold.
        layers: number of layers that halve the resolution.
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
        """The network, with convolution weights drawn from N(0, 0.02)."""

    @abstractmethod
    def judged(
        self, video: Float[Tensor, "b 3 t h w"], seeds: Sequence[int]
    ) -> Float[Tensor, "b 3 n h w"]:
        """The frames that the network judges, drawn by one seed a clip."""


class Patch2D(DiscriminatorConfig):
    """Judges patches of single frames, as in VQGAN and the official LVDM code.

    PVDM's has ``padding=2``, ``bias=True`` and ``frames=1``.

    Attributes:
        frames: number of frames of a clip that are judged, drawn like those of the perceptual
            loss; None for all.
        padding: padding of each convolution.
        bias: give a bias to convolutions before a normalization, where it has no effect.
    """

    kind: Literal["patch2d"] = "patch2d"
    frames: Annotated[int, Ge(1)] | None = None
    padding: Literal[1, 2] = 1
    bias: bool = False

    def build(self) -> "FramePatchDiscriminator":
        """The network."""
        return FramePatchDiscriminator(self)

    def judged(
        self, video: Float[Tensor, "b 3 t h w"], seeds: Sequence[int]
    ) -> Float[Tensor, "b 3 n h w"]:
        """``frames`` frames of each clip."""
        return pick_frames(video, self.frames, seeds)


class Patch3D(DiscriminatorConfig):
    """Judges patches in space and time, as in TATS and PVDM."""

    kind: Literal["patch3d"] = "patch3d"

    def build(self) -> "VideoPatchDiscriminator":
        """The network."""
        return VideoPatchDiscriminator(self)

    def judged(
        self, video: Float[Tensor, "b 3 t h w"], seeds: Sequence[int]
    ) -> Float[Tensor, "b 3 n h w"]:
        """All frames."""
        return video


AnyDiscriminator = Annotated[Patch2D | Patch3D, Field(discriminator="kind")]


class PatchDiscriminator(nn.Module, ABC):
    """Convolutional network from clips in [-1, 1] to one logit a patch."""

    @abstractmethod
    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> list[Tensor]:
        """Output of each layer; the last are the logits."""


class FramePatchDiscriminator(PatchDiscriminator):
    """Built by ``Patch2D``; batch statistics are over all frames of the batch."""

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
        self.apply(_initialize)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> list[Tensor]:
        """Output of each layer on all frames; the last are the logits."""
        least = _smallest_side(self.config)
        if min(video.shape[-2:]) < least:
            raise ValueError(
                f"frames of {video.shape[-2]}x{video.shape[-1]} pixels are too small for a "
                f"discriminator of {self.config.layers} layers, which needs {least}x{least}; "
                "lower its layers"
            )
        return _layer_outputs(self.main, rearrange(video, "b c t h w -> (b t) c h w"))


class VideoPatchDiscriminator(PatchDiscriminator):
    """Built by ``Patch3D``."""

    def __init__(self, config: Patch3D) -> None:
        super().__init__()
        self.main = nn.Sequential()
        for position, stride, before, after in _layout(config):
            self.main.append(nn.Conv3d(before, after, 4, stride=stride, padding=2))
            if position == "inner":
                self.main.append(nn.BatchNorm3d(after))
            if position != "last":
                self.main.append(nn.LeakyReLU(0.2))
        self.apply(_initialize)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> list[Tensor]:
        """Output of each layer; the last are the logits."""
        return _layer_outputs(self.main, video)


def _layer_outputs(main: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Outputs after each activation, and after the last convolution."""
    found = []
    for module in main:
        x = module(x)
        if isinstance(module, nn.LeakyReLU):
            found.append(x)
    return [*found, x]


def _smallest_side(config: Patch2D) -> int:
    """Side of the smallest frame that has a patch."""

    def patches(side: int) -> int:
        for _, stride, *_ in _layout(config):
            side = max((side + 2 * config.padding - 4) // stride + 1, 0)
        return side

    return next(side for side in count(1) if patches(side) > 0)


def _layout(
    config: DiscriminatorConfig,
) -> list[tuple[Literal["first", "inner", "last"], int, int, int]]:
    """Position, stride, input and output channels of each convolution."""
    widths = [config.base_channels * min(2**layer, 8) for layer in range(config.layers + 1)]
    strides = [2] * (config.layers - 1) + [1]
    inner = zip(strides, widths[:-1], widths[1:], strict=True)
    return [
        ("first", 2, 3, widths[0]),
        *(("inner", *sizes) for sizes in inner),
        ("last", 1, widths[-1], 1),
    ]


@torch.no_grad()
def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        module.weight.normal_(0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
        module.weight.normal_(1, 0.02)
        module.bias.zero_()
