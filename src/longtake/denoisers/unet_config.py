"""Settings and parts that the UNets of both papers share (ADM; Dhariwal and Nichol 2021)."""

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, StringConstraints, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.config import Config
from longtake.diffusion.signals import named_label
from longtake.nn import Count
from longtake.nn.layers import FrameConv, Resample, ResidualBlock, double, halve, set_to_zero

LabelName = Annotated[str, StringConstraints(pattern=r"^[a-z]\w*$")]


class UNetConfig(Config, ABC):
    """Options of ``VolumeUNet`` and ``TriplaneUNet``; defaults: the papers' large models.

    Attributes:
        latent: channels, frames, height and width of a clip's latent.
        clip: frames, height and width of the clip in pixels.
        model_channels: number of channels of the first level.
        channel_mult: width of each level as a multiple of the first; each level but the first
            halves the resolution.
        num_res_blocks: residual blocks of each level of the encoder half; the decoder half has one
            more.
        attention_resolutions: factors of downsampling at which attention follows residual blocks;
            the middle of the UNet always has attention.
        scale_shift_norm: whether the time embedding scales and shifts normalised features; if not,
            it is added to them.
        resblock_updown: resample in a residual block, not with a convolution.
        groups: number of groups of every GroupNorm; must divide every level's width.
        num_classes: number of classes that the network can be conditioned on; None: it reads no
            class; ``auto``, only in the config of a run: the number of classes of the run's data.
        class_parts: for classes that combine parts, such as a time of day, a cloud cover and a wind
            direction, number of values of each part; the last changes fastest from class to class.
            The embedding of a class is then the sum of a vector for each of its parts, so that what
            is learnt of a part holds in all classes. Empty: a vector for each class.
        labels: number of values of each named label that the network reads, each of which can be
            set alone, such as ``{time: 4, cover: 3, wind: 2}``.
        needs_text: whether a network that reads text must be given a text. If false, it can run
            without: its layers for text are then skipped.
        zero_init: residual branches and output start at zero, as in the released code.
        checkpoint: gradient checkpointing of every block: activations are not stored but computed
            again in the backward pass.

    Raises:
        ValueError: ``channel_mult`` is empty, ``groups`` does not divide a level's width, or
            ``class_parts`` make another number of classes than ``num_classes``.
    """

    latent: tuple[Count, Count, Count, Count]
    clip: tuple[Count, Count, Count] = (16, 256, 256)
    model_channels: Count = 256
    channel_mult: tuple[Count, ...]
    num_res_blocks: Count
    attention_resolutions: tuple[Count, ...]
    scale_shift_norm: bool = True
    resblock_updown: bool
    groups: Count = 32
    num_classes: Count | Literal["auto"] | None = None
    class_parts: tuple[Count, ...] = Field(default=(), exclude_if=lambda parts: not parts)
    labels: dict[LabelName, Count] = Field(default={}, exclude_if=lambda labels: not labels)
    needs_text: bool = Field(default=True, exclude_if=bool)
    zero_init: bool = True
    checkpoint: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of channels of each level, from full resolution down."""
        return tuple(self.model_channels * factor for factor in self.channel_mult)

    @property
    def embedding(self) -> int:
        """Number of channels of the time embedding."""
        return 4 * self.model_channels

    @property
    def reduction(self) -> int:
        """Factor of downsampling from the first to the last level; must divide height and width."""
        return 2 ** (len(self.channel_mult) - 1)

    def inputs(self, level: int, *, up: bool) -> list[int]:
        """Input channels of each residual block of a level, the first block's first.

        Args:
            level: index of the level, 0 at full resolution.
            up: whether in the decoder half, where skip connections are concatenated to inputs.
        """
        width, blocks = self.widths[level], self.num_res_blocks
        finer = self.widths[max(level - 1, 0)]
        if not up:
            return [finer, *[width] * (blocks - 1)]
        coarser = self.widths[min(level + 1, len(self.widths) - 1)]
        return [coarser + width, *[2 * width] * (blocks - 1), width + finer]

    @model_validator(mode="after")
    def _levels_fit(self) -> "UNetConfig":
        if not self.channel_mult:
            raise ValueError(
                "channel_mult is empty; give a factor for each level, such as [1, 2, 4]"
            )
        for width in self.widths:
            if width % self.groups:
                raise ValueError(
                    f"groups={self.groups} must divide a level's {width} channels; change groups, "
                    "model_channels or channel_mult"
                )
        return self

    @model_validator(mode="after")
    def _parts_make_classes(self) -> "UNetConfig":
        if self.class_parts and (combined := prod(self.class_parts)) != self.num_classes:
            raise ValueError(
                f"class_parts={list(self.class_parts)} make {combined} classes, but num_classes is "
                f"{self.num_classes}; set num_classes={combined}, or class_parts=[]"
            )
        return self

    def class_table(self) -> "Table | SummedTable | None":
        """Build the embeddings of classes to add to the time embedding; None without classes.

        Raises:
            ValueError: ``num_classes`` is ``auto``, which only the config of a run may have.
        """
        classes = class_count(self.num_classes)
        if self.class_parts:
            return SummedTable(self.class_parts, self.embedding)
        return self.table(classes)

    def table(self, rows: int | None) -> "Table | None":
        """Build a table of ``rows`` learned vectors to add to the time embedding; None for None."""
        return None if rows is None else Table(rows, self.embedding)

    def needed(self, reads: frozenset[str]) -> frozenset[str]:
        """Names of the signals among ``reads`` that the network must be given."""
        return reads & {"text"} if self.needs_text else frozenset()

    def pooled_text(self, width: int) -> "PooledText":
        """Build layers from the mean of text states, ``width`` wide, to the time embedding."""
        return PooledText(width, self.embedding, zero=self.zero_init)

    def label_tables(self) -> nn.ModuleDict:
        """Build an embedding table for each named label, by its name."""
        return nn.ModuleDict(
            {name: Table(rows, self.embedding) for name, rows in self.labels.items()}
        )

    def residual(
        self, channels: int, width: int, resample: Callable[[Tensor], Tensor] | None = None
    ) -> ResidualBlock:
        """Build a residual block from ``channels`` to ``width`` channels.

        ``resample``, if not None, doubles or halves height and width inside the block.

        Raises:
            ValueError: ``groups`` does not divide ``channels`` or ``width``.
        """
        return ResidualBlock(
            channels,
            width,
            embedding=self.embedding,
            groups=self.groups,
            scale_shift=self.scale_shift_norm,
            resample=resample,
            zero=self.zero_init,
        )

    def resample(self, width: int, *, up: bool) -> ResidualBlock | Resample:
        """Build a layer that doubles height and width (``up``) or halves them."""
        if self.resblock_updown:
            return self.residual(width, width, double if up else halve)
        return Resample(width, up=up)

    def output(self) -> FrameConv:
        """Build the last convolution, from the first level's width to the latent's channels."""
        return FrameConv(self.widths[0], self.latent[0], zero=self.zero_init)


class Table(nn.Embedding):
    """An embedding table for labels or noise steps; index -1 (or below) gives a vector of zeros."""

    def forward(self, input: Int[Tensor, "b"]) -> Float[Tensor, "b d"]:
        found = super().forward(input.clamp_min(0))
        return found * (input >= 0).to(found.dtype)[:, None]


class SummedTable(nn.Module):
    """Embeddings of classes that combine parts: of a class, the sum of a vector for each part.

    ``parts`` are the numbers of values of the parts, of which the last changes fastest from class
    to class, as in ``itertools.product``. Index -1 (or below) gives a vector of zeros.
    """

    def __init__(self, parts: Sequence[int], width: int) -> None:
        super().__init__()
        self.width, self._sizes = width, tuple(parts)
        self.tables = nn.ModuleList(Table(rows, width) for rows in parts)
        for weight in self.tables.parameters():
            nn.init.normal_(weight, std=len(parts) ** -0.5)  # the sum has a std of 1

    def forward(self, input: Int[Tensor, "b"]) -> Float[Tensor, "b d"]:
        rest, found = input.clamp_min(0), []
        for table, rows in zip(reversed(self.tables), reversed(self._sizes), strict=True):
            found.append(table(rest % rows))
            rest = torch.div(rest, rows, rounding_mode="floor")
        return torch.stack(found).sum(0) * (input >= 0).to(found[0].dtype)[:, None]

    def fits(self, other: Table) -> bool:
        """Whether a table of all classes has as many rows as there are combinations, as wide."""
        return other.weight.shape == (prod(self._sizes), self.width)

    def table(self) -> Float[Tensor, "n d"]:
        """The embeddings of all classes, a row each."""
        return self(torch.arange(prod(self._sizes), device=next(self.parameters()).device))

    def nearest(self, weight: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """State dict whose sums are nearest, by least squares, to ``weight``, a row per class.

        A value of a part gets the mean of the rows of the classes that have it. The mean of all
        rows, which these means all contain, is subtracted from them in all parts but the last.
        """
        axes = self._sizes
        whole = weight.double().view(*axes, -1)
        mean, state = whole.flatten(0, -2).mean(0), {}
        for i in range(len(axes)):
            others = [axis for axis in range(len(axes)) if axis != i]
            part = whole.mean(others) if others else whole
            last = i == len(axes) - 1
            state[f"tables.{i}.weight"] = (part if last else part - mean).to(weight.dtype)
        return state


class PooledText(nn.Module):
    """Two linear layers on the mean of a text encoder's hidden states, zero padding left out.

    The states have ``width`` channels, the result has ``out``; with ``zero`` it starts at zero.
    """

    def __init__(self, width: int, out: int, *, zero: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(width, out), nn.Linear(out, out)
        if zero:
            set_to_zero(self.last)

    def forward(self, text: Float[Tensor, "b n d"]) -> Float[Tensor, "b e"]:
        tokens = (text != 0).any(-1).sum(1, keepdim=True).clamp_min(1)
        return self.last(F.silu(self.first(text.sum(1) / tokens)))


def class_count(number: int | Literal["auto"] | None) -> int | None:
    """``number`` of classes of a network's config.

    Raises:
        ValueError: it is ``auto``, which only the config of a run may have.
    """
    if number == "auto":
        raise ValueError("num_classes=auto is for the config of a run; give a number or null")
    return number


def named_rows(
    tables: nn.ModuleDict, signals: Mapping[str, Tensor]
) -> list[tuple[nn.Module, Int[Tensor, "b"]]]:
    """Embedding table, and each sample's index in it, for each named label among the signals.

    ``tables`` are the tables by the label's name, ``signals`` values by the signal's name.
    """
    names = {name: named_label(name) for name in tables}
    given = {name: signal for name, signal in names.items() if signal in signals}
    return [(tables[name], signals[signal].long()) for name, signal in given.items()]
