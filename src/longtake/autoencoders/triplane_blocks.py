"""Encoder and decoder of the triplane autoencoder (PVDM)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.latents import Triplane
from longtake.nn.attention import SelfAttention
from longtake.nn.transformer import RotaryTransformer


class TriplaneEncoder(nn.Module):
    """Clip to planes: cells are transformed, then pooled along each of their three axes.

    Args:
        planes: extent of the planes.
        patch: side of the square of pixels that makes a cell.
        width: number of channels of a cell.
        transformer: makes the transformer of all cells.
        pool: makes the pooling layer of an axis from the number of its cells.
    """

    def __init__(
        self,
        planes: Triplane,
        patch: int,
        width: int,
        transformer: Callable[[], RotaryTransformer],
        pool: Callable[[int], "AxisPool"],
    ) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(3 * patch**2, width)
        self.transformer = transformer()
        self.content = pool(planes.frames)
        self.motion_h = pool(planes.width)
        self.motion_w = pool(planes.height)

    def forward(
        self, video: Float[Tensor, "b 3 t h2 w2"]
    ) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b d t h"], Float[Tensor, "b d t w"]]:
        """Planes of content, of motion along the height and of motion along the width."""
        patches = rearrange(
            video, "b c t (h i) (w j) -> b t h w (i j c)", i=self.patch, j=self.patch
        )
        x = self.transformer(self.embed(patches))
        content = self.content(rearrange(x, "b t h w c -> b h w t c"))
        motion_w = self.motion_w(rearrange(x, "b t h w c -> b t w h c"))
        return content, self.motion_h(x), motion_w


class AxisPool(nn.Module):
    """A transformer along one axis that reduces each line of cells to one vector.

    As in the official code, a learned token is appended to each line, yet the result is the line's
    first cell, not the token. ``hidden`` is the width of the feed-forward layers, ``cells`` the
    number of cells of a line.
    """

    def __init__(
        self,
        width: int,
        embed_dim: int,
        depth: int,
        heads: int,
        head_channels: int,
        hidden: int,
        cells: int,
    ) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, cells + 1, width))
        self.layers = nn.ModuleList(
            PoolLayer(width, heads, head_channels, hidden) for _ in range(depth)
        )
        self.project = nn.Linear(width, embed_dim)

    def forward(self, x: Float[Tensor, "b i j n c"]) -> Float[Tensor, "b d i j"]:
        """Pool along the last axis of cells, into (-1, 1)."""
        lines = x.flatten(0, 2)
        lines = torch.cat([lines, self.token.to(x.dtype).expand(len(lines), -1, -1)], 1)
        lines = lines + self.position
        for layer in self.layers:
            lines = layer(lines)
        plane = self.project(lines[:, 0]).unflatten(0, x.shape[:3])
        return rearrange(plane, "b i j d -> b d i j").tanh()


class PoolLayer(nn.Module):
    """Attention along a line and two linear layers; both residual."""

    def __init__(self, width: int, heads: int, head_channels: int, hidden: int) -> None:
        super().__init__()
        self.attention = SelfAttention(
            width, heads, nn.LayerNorm(width), "space", head_channels=head_channels, bias=False
        )
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Attend along each line ``n``, then apply the linear layers."""
        x = self.attention(x[:, None, None])[:, 0, 0]
        return x + self.mlp(x)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, hidden)
        self.out = nn.Linear(hidden, channels)

    def forward(self, x: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """Residual to add to ``x``."""
        return self.out(F.gelu(self.hidden(self.norm(x))))


class TriplaneDecoder(nn.Module):
    """Planes to a clip in (-1, 1): each cell is the sum of its projections on the planes."""

    def __init__(
        self, patch: int, width: int, embed_dim: int, transformer: Callable[[], RotaryTransformer]
    ) -> None:
        super().__init__()
        self.content = nn.Linear(embed_dim, width)
        self.motion_h = nn.Linear(embed_dim, width)
        self.motion_w = nn.Linear(embed_dim, width)
        self.transformer = transformer()
        self.to_pixel = nn.ConvTranspose2d(width, 3, patch, patch)

    def forward(
        self,
        content: Float[Tensor, "b d h w"],
        motion_h: Float[Tensor, "b d t h"],
        motion_w: Float[Tensor, "b d t w"],
    ) -> Float[Tensor, "b 3 t h2 w2"]:
        """Decode three planes to a clip in (-1, 1)."""
        x = self.content(rearrange(content, "b d h w -> b 1 h w d"))
        x = x + self.motion_h(rearrange(motion_h, "b d t h -> b t h 1 d"))
        x = x + self.motion_w(rearrange(motion_w, "b d t w -> b t 1 w d"))
        x = rearrange(self.transformer(x), "b t h w c -> (b t) c h w")
        logits = rearrange(self.to_pixel(x), "(b t) c h w -> b c t h w", b=len(content))
        return 2 * logits.sigmoid() - 1
