"""Blocks that both UNets are made of."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from longtake.nn.resample import Downsample, Upsample, double, halve
from longtake.nn.residual import ResidualBlock


@runtime_checkable
class LevelSizes(Protocol):
    """The fields of a UNet's config that its residual blocks are made from."""

    @property
    def embedding(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def scale_shift_norm(self) -> bool: ...
    @property
    def resblock_updown(self) -> bool: ...
    @property
    def zero_init(self) -> bool: ...


def residual(
    sizes: LevelSizes,
    channels: int,
    out_channels: int,
    resample: Callable[[Tensor], Tensor] | None = None,
) -> ResidualBlock:
    """A residual block from one width to another."""
    return ResidualBlock(
        channels,
        out_channels,
        embedding=sizes.embedding,
        groups=sizes.groups,
        scale_shift=sizes.scale_shift_norm,
        resample=resample,
        zero=sizes.zero_init,
    )


def halving(sizes: LevelSizes, width: int) -> ResidualBlock | Downsample:
    """A layer that halves height and width."""
    return residual(sizes, width, width, halve) if sizes.resblock_updown else Downsample(width)


def doubling(sizes: LevelSizes, width: int) -> ResidualBlock | Upsample:
    """A layer that doubles height and width."""
    return residual(sizes, width, width, double) if sizes.resblock_updown else Upsample(width)
