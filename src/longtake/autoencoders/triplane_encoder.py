"""Encoder of the triplane autoencoder: cells of a clip, pooled along each of their three axes."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn.attention import SelfAttention
from longtake.nn.transformer import RotaryTransformer

if TYPE_CHECKING:
    from longtake.autoencoders.triplane import TriplaneAutoencoderConfig


class TriplaneEncoder(nn.Module):
    """From a clip to its planes."""

    def __init__(self, config: "TriplaneAutoencoderConfig") -> None:
        super().__init__()
        planes = config.planes
        self.patch = config.patch
        self.embed = nn.Linear(3 * config.patch**2, config.width)
        self.transformer = RotaryTransformer(
            config.width, config.depth, config.heads, config.head_channels
        )
        self.content = AxisPool(config, planes.frames)
        self.motion_h = AxisPool(config, planes.width)
        self.motion_w = AxisPool(config, planes.height)

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
    """A transformer along one axis, which leaves one vector of each line.

    As in the official code, a learned token is appended to each line, yet what is left is the
    line's first cell, not the token.
    """

    def __init__(self, config: "TriplaneAutoencoderConfig", cells: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, config.width))
        self.position = nn.Parameter(torch.randn(1, cells + 1, config.width))
        self.layers = nn.ModuleList(PoolLayer(config) for _ in range(config.pool_depth))
        self.project = nn.Linear(config.width, config.embed_dim)

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

    def __init__(self, config: "TriplaneAutoencoderConfig") -> None:
        super().__init__()
        self.attention = SelfAttention(
            config.width,
            config.pool_heads,
            nn.LayerNorm(config.width),
            "space",
            head_channels=config.pool_head_channels,
            bias=False,
        )
        self.mlp = Mlp(config.width, config.pool_hidden)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Transform ``x``."""
        x = self.attention(x[:, None, None])[:, 0, 0]
        return x + self.mlp(x)


class Mlp(nn.Module):
    """Two linear layers."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, hidden)
        self.out = nn.Linear(hidden, channels)

    def forward(self, x: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """What the layers add to ``x``."""
        return self.out(F.gelu(self.hidden(self.norm(x))))
