"""One resolution of the volume UNet, on the way down, in the middle and on the way up."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.denoisers.levels import doubling, halving, residual
from longtake.nn.kernels.differentiation import recompute

if TYPE_CHECKING:
    from longtake.denoisers.volume_unet import VolumeUNetConfig


class Step(nn.Module):
    """A residual block, and attention where the level has it."""

    def __init__(
        self, config: "VolumeUNetConfig", channels: int, out_channels: int, *, attend: bool
    ) -> None:
        super().__init__()
        self.checkpoint = config.checkpoint
        self.reads_text = config.attention.text_width is not None
        self.residual = residual(config, channels, out_channels)
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
        if self.checkpoint:
            return recompute(self._compute, x, emb, text)
        return self._compute(x, emb, text)

    def _compute(self, x: Tensor, emb: Tensor, text: Tensor | None) -> Tensor:
        x = self.residual(x, emb)
        if self.attention is None:
            return x
        return self.attention(x, text) if self.reads_text else self.attention(x)


class Down(nn.Module):
    """An encoder level of the UNet.

    Args:
        config: config of the network.
        level: index of the level; 0 has full resolution.
        skips: channels of the skip connections; the level appends its own.
    """

    def __init__(self, config: "VolumeUNetConfig", level: int, skips: list[int]) -> None:
        super().__init__()
        width = config.widths[level]
        attend = 2**level in config.attention_resolutions
        self.steps = nn.ModuleList()
        for _ in range(config.num_res_blocks):
            self.steps.append(Step(config, skips[-1], width, attend=attend))
            skips.append(width)
        self.resample = None
        if level < len(config.widths) - 1:
            self.resample = halving(config, width)
            skips.append(width)

    def forward(
        self, x: Tensor, emb: Tensor, text: Tensor | None, skips: list[Tensor]
    ) -> Float[Tensor, "b f h2 w2 c2"]:
        """Apply the level; every output is appended to ``skips``."""
        for step in self.steps:
            x = step(x, emb, text)
            skips.append(x)
        if self.resample is not None:
            x = self.resample(x, emb)
            skips.append(x)
        return x


class Middle(nn.Module):
    """The middle block of the UNet, at the coarsest resolution."""

    def __init__(self, config: "VolumeUNetConfig") -> None:
        super().__init__()
        width = config.widths[-1]
        self.first = Step(config, width, width, attend=True)
        self.second = Step(config, width, width, attend=False)

    def forward(self, x: Tensor, emb: Tensor, text: Tensor | None) -> Float[Tensor, "b f h w c"]:
        """Convolve, attend, convolve."""
        return self.second(self.first(x, emb, text), emb, text)


class Up(nn.Module):
    """A decoder level of the UNet.

    Args:
        config: config of the network.
        level: index of the level; 0 has full resolution.
        skips: channels of the skip connections; the level pops its own from the end.
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
        self.resample = doubling(config, width) if level > 0 else None

    def forward(
        self, x: Tensor, emb: Tensor, text: Tensor | None, skips: list[Tensor]
    ) -> Float[Tensor, "b f h2 w2 c2"]:
        """Apply the level; it pops its skip connections from the end of ``skips``."""
        for step in self.steps:
            x = step(torch.cat([x, skips.pop()], dim=-1), emb, text)
        return x if self.resample is None else self.resample(x, emb)
