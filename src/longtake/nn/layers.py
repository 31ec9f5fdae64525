"""Layers of volumes: group normalisation, convolution and resampling of frames, residual blocks."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn import Volume, formulas
from longtake.nn.kernels import compute

VOLUME_AXES = 5  # b f h w c

FrameEmbedding = Float[Tensor, "b #f d"]
"""One embedding for all frames of a sample, or one for each."""


class GroupNorm(nn.Module):
    """Group normalisation of channels-last tensors, with optional modulation and SiLU.

    Half precision is computed in float32, as in the official code. ``groups`` must divide
    ``channels``; with ``silu`` a SiLU is applied last. If the attribute ``each_frame`` is set,
    statistics are taken over each frame of a volume, not over a clip.
    """

    each_frame = False

    def __init__(
        self, channels: int, groups: int, *, eps: float = 1e-5, silu: bool = False
    ) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(
                f"groups={groups} must divide the {channels} channels of a layer; change either"
            )
        self.groups, self.eps, self.silu = groups, eps, silu
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "rows *n c"],
        scale_shift: tuple[Float[Tensor, "rows m c"], Float[Tensor, "rows m c"]] | None = None,
    ) -> Float[Tensor, "rows *n c"]:
        """Normalise each entry of the first axis, then modulate it by ``scale_shift``, unless None.

        Positions are split into ``m`` equal parts, such as frames; each is multiplied by its
        ``1 + scale``, and its ``shift`` is added.
        """
        if self.each_frame and x.ndim == VOLUME_AXES:
            return self._each_frame(x, scale_shift)
        options = self.groups, self.eps, self.silu
        learned, x4 = (self.weight, self.bias), x.contiguous()
        if scale_shift is None:
            x4 = x4.view(len(x), 1, -1, x.shape[-1])
            return compute(formulas.group_norm, x4, *learned, *options).view(x.shape)
        scale, shift = (part.unsqueeze(2) for part in scale_shift)
        x4 = x4.view(len(x), scale.shape[1], -1, x.shape[-1])
        y = compute(formulas.modulated_group_norm, x4, *learned, scale, shift, *options)
        return y.view(x.shape)

    def _each_frame(self, x: Volume, scale_shift: tuple[Tensor, Tensor] | None) -> Volume:
        """Normalise each frame of a volume alone; modulate it unless ``scale_shift`` is None."""
        clips, frames = x.shape[:2]
        rows = None
        if scale_shift is not None:
            scale, shift = (
                part.expand(clips, frames, -1).flatten(0, 1)[:, None] for part in scale_shift
            )
            rows = scale, shift
        return self.forward(x.flatten(0, 1), rows).unflatten(0, (clips, frames))


class FrameConv(nn.Conv2d):
    """A (1, 3, 3) convolution: 3x3 in every frame, run in 2D on a batch of ``b * f`` frames.

    The kernel is stored channels last: on small frames that doubles the speed. With ``zero`` its
    weights start at zero.
    """

    def __init__(
        self, channels: int, out_channels: int, stride: int = 1, *, zero: bool = False
    ) -> None:
        super().__init__(channels, out_channels, 3, stride, padding=1)
        self.weight = nn.Parameter(
            self.weight.detach().contiguous(memory_format=torch.channels_last)
        )
        if zero:
            set_to_zero(self)

    def forward(self, input: Volume) -> Float[Tensor, "b f h2 w2 c2"]:
        frames = input.flatten(0, 1)
        out = compute(formulas.frame_conv, frames, self.weight, self.bias, self.stride[0])
        return out.unflatten(0, input.shape[:2])


def set_to_zero(*layers: nn.Module) -> None:
    """Set all weights and biases of layers to zero."""
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)


def halve(x: Volume) -> Float[Tensor, "b f h2 w2 c"]:
    """Halve height and width by the mean of each 2x2 square."""
    frames = F.avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), 2)
    return frames.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


def double(x: Volume) -> Float[Tensor, "b f h2 w2 c"]:
    """Double height and width by repeating each value in a 2x2 square."""
    frames = F.interpolate(x.flatten(0, 1).permute(0, 3, 1, 2), scale_factor=2.0, mode="nearest")
    return frames.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


class Resample(nn.Module):
    """Halves height and width by a strided convolution, or doubles them before one (``up``).

    ``forward`` takes a time embedding, as ``ResidualBlock`` does, but does not read it.
    """

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = FrameConv(channels, channels, stride=1 if up else 2)

    def forward(self, x: Volume, emb: FrameEmbedding) -> Float[Tensor, "b f h2 w2 c"]:
        return self.conv(double(x) if self.up else x)


class ResidualBlock(nn.Module):
    """ADM's residual block on each frame: two normalised convolutions, modulated by an embedding.

    Args:
        channels: number of channels of the input.
        out_channels: number of channels of the output.
        embedding: number of channels of the time embedding.
        groups: number of groups of the GroupNorms.
        scale_shift: the embedding scales and shifts the result of the second GroupNorm; if false,
            it is added before this norm.
        resample: function that halves or doubles height and width, applied to both branches; None
            leaves them.
        zero: initialise the second convolution to zero, so that the block starts as its shortcut.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        embedding: int,
        groups: int,
        scale_shift: bool = True,
        resample: Callable[[Tensor], Tensor] | None = None,
        zero: bool = True,
    ) -> None:
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        self.norm_in = GroupNorm(channels, groups, silu=True)
        self.conv_in = FrameConv(channels, out_channels)
        self.embed = nn.Linear(embedding, 2 * out_channels if scale_shift else out_channels)
        self.norm_out = GroupNorm(out_channels, groups, silu=True)
        self.conv_out = FrameConv(out_channels, out_channels, zero=zero)
        same = channels == out_channels
        self.skip = nn.Identity() if same else nn.Linear(channels, out_channels)

    def forward(self, x: Volume, emb: FrameEmbedding) -> Float[Tensor, "b f h2 w2 c2"]:
        """Apply the block; ``emb`` is the time embedding after its activation (SiLU)."""
        h = self.norm_in(x)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv_in(h)
        modulation = self.embed(emb)
        if self.scale_shift:
            h = self.norm_out(h, modulation.chunk(2, dim=-1))
        else:
            h = self.norm_out(h + modulation[:, :, None, None])
        return self.skip(x) + self.conv_out(h)
