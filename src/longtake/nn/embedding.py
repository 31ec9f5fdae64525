"""Numbers as vectors: diffusion time, frame distance."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoids(
    x: Float[Tensor, "*b"], width: int, period: float = 10_000.0
) -> Float[Tensor, "*b {width}"]:
    """Cosines, then sines, of ``width // 2`` frequencies from 1 to 1 / period; odd: a zero last."""
    half = width // 2
    steps = torch.arange(half, device=x.device, dtype=torch.float32)
    angles = x.float()[..., None] * torch.exp(-math.log(period) / half * steps)
    parts = [angles.cos(), angles.sin(), angles.new_zeros((*x.shape, width % 2))]
    return torch.cat(parts, dim=-1)


class TimeEmbedding(nn.Sequential):
    """Sinusoids of a time through two linear layers."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))
        self.width = width

    def forward(self, input: Float[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        """Embed times, in embedding units."""
        dtype = next(self.parameters()).dtype
        return super().forward(sinusoids(input, self.width).to(dtype))


class RelativePosition(nn.Module):
    """What attention across frames knows of their distance (Shaw et al. 2018).

    Two tables, for keys and for values, hold a vector for every distance from ``-reach`` to
    ``reach``; greater distances count as ``reach``. All heads share them.

    Args:
        reach: greatest distance told apart.
        width: features of a head.
    """

    def __init__(self, reach: int, width: int) -> None:
        super().__init__()
        self.reach = reach
        self.key = nn.Parameter(torch.empty(2 * reach + 1, width))
        self.value = nn.Parameter(torch.empty(2 * reach + 1, width))
        nn.init.xavier_uniform_(self.key)
        nn.init.xavier_uniform_(self.value)

    def forward(self, frames: int) -> tuple[Float[Tensor, "f f d"], Float[Tensor, "f f d"]]:
        """Key and value vectors of each pair (from, to) of frames."""
        at = torch.arange(frames, device=self.key.device)
        rows = (at[None, :] - at[:, None]).clamp(-self.reach, self.reach) + self.reach
        return self.key[rows], self.value[rows]
