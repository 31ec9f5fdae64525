"""Patch discriminators of frames and of clips, and their settings."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Interval
from einops import rearrange
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from longtake.config import Config, plural
from longtake.losses.frames import Clips, pick_frames

AdversarialLoss = Literal["hinge", "vanilla"]


class Plateau(Config):
    """Start rule: a discriminator starts when the reconstruction loss hardly improves any more.

    PVDM's authors train without discriminators until the loss stagnates, save, and start a second
    training from there; this rule finds that step within one run.

    Attributes:
        improvement: the discriminator starts when the mean loss over the last ``steps`` steps is
            less than this share below the mean over the ``steps`` steps before them.
        steps: number of steps of each of the two means; they are compared about ten times in that
            number of steps.
        earliest: first step at which the discriminator may start.
        latest: step at which it starts in any case; None for no limit. A ValueError if it is before
            ``earliest``.
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
    """Settings of a discriminator: its weight in the autoencoder's loss, its start, its network.

    Attributes:
        weight: weight of the adversarial loss.
        adaptive: multiply ``weight`` by the norm of the reconstruction loss's gradient at the
            decoder's last layer, divided by that of the adversarial loss (VQGAN).
        feature_weight: weight of feature matching, the mean absolute difference between the
            discriminator's features of a video and of its reconstruction, summed over all layers
            but the last; independent of ``weight`` and ``adaptive``. LVDM has 0, PVDM 4.
        start: first step at which it takes part, or the rule that finds this step. Before, it is
            neither trained nor evaluated; PVDM's official code trains it from the first step, with
            weight 0 in the autoencoder's loss.
        loss: loss of the discriminator: ``hinge``, or ``vanilla`` for binary cross-entropy.
        base_channels: number of channels of the first layer; each layer doubles it, up to
            eightfold.
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
        """Build the discriminator, with convolution weights drawn from N(0, 0.02)."""

    @abstractmethod
    def judged(self, video: Clips, seeds: Sequence[int]) -> Float[Tensor, "b 3 n h w"]:
        """Frames of each clip that the discriminator sees, selected by one seed per clip."""


class Patch2D(DiscriminatorConfig):
    """Settings of a discriminator of patches of single frames, as in VQGAN and the LVDM code.

    PVDM's has ``padding=2``, ``bias=True`` and ``frames=1``. ``DiscriminatorConfig`` describes the
    other fields.

    Attributes:
        frames: number of frames of each clip that it sees, one from each of as many equal parts of
            the clip, drawn at random; None for all.
        padding: padding of each convolution.
        bias: give a bias to convolutions before a normalisation, where it has no effect.
    """

    kind: Literal["patch2d"] = "patch2d"
    frames: Annotated[int, Ge(1)] | None = None
    padding: Literal[1, 2] = 1
    bias: bool = False

    def build(self) -> "PatchDiscriminator":
        """Build the discriminator; its batch norm takes statistics over all frames of the batch."""
        return PatchDiscriminator(self, dims=2, padding=self.padding, bias=self.bias)

    def judged(self, video: Clips, seeds: Sequence[int]) -> Float[Tensor, "b 3 n h w"]:
        """``frames`` frames of each clip, selected by one seed per clip; all if that is None."""
        return pick_frames(video, self.frames, seeds)


class Patch3D(DiscriminatorConfig):
    """Settings of a discriminator of patches in space and time, as in TATS and PVDM.

    ``DiscriminatorConfig`` describes the fields.
    """

    kind: Literal["patch3d"] = "patch3d"

    def build(self) -> "PatchDiscriminator":
        """Build the discriminator, a network of 3D convolutions."""
        return PatchDiscriminator(self, dims=3, padding=2, bias=True)

    def judged(self, video: Clips, seeds: Sequence[int]) -> Float[Tensor, "b 3 n h w"]:
        """All frames of each clip; ``seeds`` select nothing."""
        return video


AnyDiscriminator = Annotated[Patch2D | Patch3D, Field(discriminator="kind")]
"""Settings of a discriminator."""


class PatchDiscriminator(nn.Module):
    """Convolutional network that maps clips in [-1, 1] to one logit per patch.

    Args:
        config: number and width of the layers.
        dims: 2 for patches of single frames, 3 for patches in space and time.
        padding: padding of each convolution.
        bias: give a bias to convolutions before a batch normalisation.
    """

    def __init__(self, config: DiscriminatorConfig, *, dims: int, padding: int, bias: bool) -> None:
        super().__init__()
        self._dims, self._layers = dims, config.layers
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        widths = [config.base_channels * min(2**layer, 8) for layer in range(config.layers + 1)]
        strides = [2] * config.layers + [1, 1]
        last = len(strides) - 1
        self.main = nn.Sequential()
        for layer, (before, after) in enumerate(pairwise([3, *widths, 1])):
            inner = 0 < layer < last
            options = {"stride": strides[layer], "padding": padding, "bias": bias or not inner}
            self.main.append(conv(before, after, 4, **options))
            if inner:
                self.main.append(norm(after))
            if layer < last:
                self.main.append(nn.LeakyReLU(0.2))
        self._smallest = 1  # side of a frame that has one patch
        for stride in reversed(strides):
            self._smallest = max((self._smallest - 1) * stride + 4 - 2 * padding, 1)
        self.apply(_initialize)

    def forward(self, video: Clips) -> list[Tensor]:
        """Output of each layer, after its activation; that of the last layer is the logits.

        Raises:
            ValueError: frames are too small for the number of layers.
        """
        height, width = video.shape[-2:]
        if min(height, width) < self._smallest:
            raise ValueError(
                f"frames of {height}x{width} pixels are too small for a discriminator of "
                f"{plural(self._layers, 'layer')}, which needs {self._smallest}x{self._smallest}; "
                "lower its layers"
            )
        x = rearrange(video, "b c t h w -> (b t) c h w") if self._dims == 2 else video
        outputs = []
        for module in self.main:
            x = module(x)
            if isinstance(module, nn.LeakyReLU):
                outputs.append(x)
        return [*outputs, x]


@torch.no_grad()
def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        module.weight.normal_(0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
        module.weight.normal_(1, 0.02)
        module.bias.zero_()
