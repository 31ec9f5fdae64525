"""Settings and parts that the UNets of both papers share (ADM; Dhariwal and Nichol 2021)."""

from abc import ABC
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

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
        labels: number of values of each named label that the network reads, each of which can be
            set alone, such as ``{time: 4, cover: 3, wind: 2}``.
        needs_text: whether a network that reads text must be given a text. If false, it can run
            without: its layers for text are then skipped.
        zero_init: residual branches and output start at zero, as in the released code.
        checkpoint: gradient checkpointing of every block: activations are not stored but computed
            again in the backward pass.

    Raises:
        ValueError: ``channel_mult`` is empty, or ``groups`` does not divide a level's width.
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
            raise ValueError("channel_mult is empty; give at least one level")
        for width in self.widths:
            if width % self.groups:
                raise ValueError(
                    f"groups={self.groups} must divide a level's {width} channels; change groups, "
                    "model_channels or channel_mult"
                )
        return self

    def table(self, rows: int | Literal["auto"] | None) -> "Table | None":
        """Build a table of ``rows`` learned vectors to add to the time embedding; None for None.

        Raises:
            ValueError: ``rows`` is ``auto``, which only the config of a run may have.
        """
        if rows == "auto":
            raise ValueError("num_classes=auto is for the config of a run; give a number or null")
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


def named_rows(
    tables: nn.ModuleDict, signals: Mapping[str, Tensor]
) -> list[tuple[nn.Module, Int[Tensor, "b"]]]:
    """Embedding table, and each sample's index in it, for each named label among the signals.

    ``tables`` are the tables by the label's name, ``signals`` values by the signal's name.
    """
    names = {name: named_label(name) for name in tables}
    given = {name: signal for name, signal in names.items() if signal in signals}
    return [(tables[name], signals[signal].long()) for name, signal in given.items()]
