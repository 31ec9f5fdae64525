"""Decoder of the triplane autoencoder: the planes' sum, cell by cell, back to a clip."""

from typing import TYPE_CHECKING

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn.transformer import RotaryTransformer

if TYPE_CHECKING:
    from longtake.autoencoders.triplane import TriplaneAutoencoderConfig


class TriplaneDecoder(nn.Module):
    """From planes to a clip in (-1, 1)."""

    def __init__(self, config: "TriplaneAutoencoderConfig") -> None:
        super().__init__()
        self.content = nn.Linear(config.embed_dim, config.width)
        self.motion_h = nn.Linear(config.embed_dim, config.width)
        self.motion_w = nn.Linear(config.embed_dim, config.width)
        self.transformer = RotaryTransformer(
            config.width, config.depth, config.heads, config.head_channels
        )
        self.to_pixel = nn.ConvTranspose2d(config.width, 3, config.patch, config.patch)

    def forward(
        self,
        content: Float[Tensor, "b d h w"],
        motion_h: Float[Tensor, "b d t h"],
        motion_w: Float[Tensor, "b d t w"],
    ) -> Float[Tensor, "b 3 t h2 w2"]:
        """Decode."""
        x = self.content(rearrange(content, "b d h w -> b 1 h w d"))
        x = x + self.motion_h(rearrange(motion_h, "b d t h -> b t h 1 d"))
        x = x + self.motion_w(rearrange(motion_w, "b d t w -> b t 1 w d"))
        x = rearrange(self.transformer(x), "b t h w c -> (b t) c h w")
        logits = rearrange(self.to_pixel(x), "(b t) c h w -> b c t h w", b=len(content))
        return 2 * logits.sigmoid() - 1
