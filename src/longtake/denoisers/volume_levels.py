"""One resolution of the volume UNet, on the way down, in the middle and on the way up."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from longtake.nn.resample import Downsample, Upsample, double, halve
from longtake.nn.residual import ResidualBlock

if TYPE_CHECKING:
    from longtake.denoisers.volume_unet import VolumeUNetConfig


class Step(nn.Module):
    """A residual block, and attention where the level has it."""

    def __init__(
        self, config: "VolumeUNetConfig", channels: int, out_channels: int, *, attend: bool
    ) -> None:
        super().__init__()
        self.checkpoint = config.checkpoint
        self.residual = _residual(config, channels, out_channels)
        self.attention = (
            config.attention.build(out_channels, config.groups, config.zero_init)
            if attend
            else None
        )

    def forward(
        self,
        x: Float[Tensor, "b f h w c"],
        emb: Float[Tensor, "b #f d"],
        text: Float[Tensor, "b n e"] | None,
    ) -> Float[Tensor, "b f h w c2"]:
        """Convolve and attend."""
        if self.checkpoint and torch.is_grad_enabled():
            out = checkpoint(self._compute, x, emb, text, use_reentrant=False)
            assert isinstance(out, Tensor)
            return out
        return self._compute(x, emb, text)

    def _compute(self, x: Tensor, emb: Tensor, text: Tensor | None) -> Tensor:
        x = self.residual(x, emb)
        return x if self.attention is None else self.attention(x, text)


class Down(nn.Module):
    """A level on the way down.

    Args:
        config: of the network.
        level: index; 0 has full resolution.
        skips: widths of what the way up will read; appended to.
    """

    def __init__(self, config: "VolumeUNetConfig", level: int, skips: list[int]) -> None:
        super().__init__()
        width = config.widths[level]
        attend = 2**level in config.attention_resolutions
        self.steps = nn.ModuleList()
        for _ in range(config.num_res_blocks):
            self.steps.append(Step(config, skips[-1], width, attend=attend))
            skips.append(width)
        self.resample: ResidualBlock | Downsample | None = None
        if level < len(config.widths) - 1:
            self.resample = (
                _residual(config, width, width, halve)
                if config.resblock_updown
                else Downsample(width)
            )
            skips.append(width)

    def forward(
        self, x: Tensor, emb: Tensor, text: Tensor | None, skips: list[Tensor]
    ) -> Float[Tensor, "b f h2 w2 c2"]:
        """Apply the level; ``skips`` receives every output."""
        for step in self.steps:
            x = step(x, emb, text)
            skips.append(x)
        if self.resample is not None:
            x = self.resample(x, emb)
            skips.append(x)
        return x


class Middle(nn.Module):
    """The coarsest resolution, between the ways down and up."""

    def __init__(self, config: "VolumeUNetConfig") -> None:
        super().__init__()
        width = config.widths[-1]
        self.first = Step(config, width, width, attend=True)
        self.second = Step(config, width, width, attend=False)

    def forward(self, x: Tensor, emb: Tensor, text: Tensor | None) -> Float[Tensor, "b f h w c"]:
        """Convolve, attend, convolve."""
        return self.second(self.first(x, emb, text), emb, text)


class Up(nn.Module):
    """A level on the way up.

    Args:
        config: of the network.
        level: index; 0 has full resolution.
        skips: widths left to read; taken from the end.
    """

    def __init__(self, config: "VolumeUNetConfig", level: int, skips: list[int]) -> None:
        super().__init__()
        width = config.widths[level]
        before = config.widths[min(level + 1, len(config.widths) - 1)]
        attend = 2**level in config.attention_resolutions
        self.steps = nn.ModuleList()
        for _ in range(config.num_res_blocks + 1):
            self.steps.append(Step(config, before + skips.pop(), width, attend=attend))
            before = width
        self.resample: ResidualBlock | Upsample | None = None
        if level > 0:
            self.resample = (
                _residual(config, width, width, double)
                if config.resblock_updown
                else Upsample(width)
            )

    def forward(
        self, x: Tensor, emb: Tensor, text: Tensor | None, skips: list[Tensor]
    ) -> Float[Tensor, "b f h2 w2 c2"]:
        """Apply the level; what it reads is taken from the end of ``skips``."""
        for step in self.steps:
            x = step(torch.cat([x, skips.pop()], dim=-1), emb, text)
        return x if self.resample is None else self.resample(x, emb)


def _residual(config, channels, out_channels, resample=None) -> ResidualBlock:
    return ResidualBlock(
        channels,
        out_channels,
        embedding=config.embedding,
        groups=config.groups,
        scale_shift=config.scale_shift_norm,
        resample=resample,
        zero=config.zero_init,
    )
