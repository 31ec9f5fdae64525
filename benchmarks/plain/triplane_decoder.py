"""The decoder of PVDM's autoencoder written the plain way: einsum attention, every score in memory.

Modules have the official names, so official weights load as they are, the encoder's left out.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

Rotation = tuple[Tensor, Tensor]


class GEGLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x, gates = x.chunk(2, dim=-1)
        return x * F.gelu(gates)


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, 8 * width), GEGLU(), nn.Dropout(0.0), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, head_width: int):
        super().__init__()
        self.heads, self.scale = heads, head_width**-0.5
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, width), nn.Dropout(0.0))

    def forward(self, x: Tensor, apart: str, together: str, rotation: Rotation, **sizes: int):
        parts = self.to_qkv(x).chunk(3, dim=-1)
        q, k, v = (rearrange(y, "b n (h d) -> (b h) n d", h=self.heads) for y in parts)
        q = q * self.scale
        q, k, v = (rearrange(y, f"{apart} -> {together}", **sizes) for y in (q, k, v))
        q, k = _rotated(q, rotation), _rotated(k, rotation)
        weight = torch.einsum("b i d, b j d -> b i j", q, k).softmax(dim=-1)
        out = torch.einsum("b i j, b j d -> b i d", weight, v)
        out = rearrange(out, f"{together} -> {apart}", **sizes)
        return self.to_out(rearrange(out, "(b h) n d -> b n (h d)", h=self.heads))


class PreNorm(nn.Module):
    def __init__(self, width: int, fn: nn.Module):
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(width), fn

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        return self.fn(self.norm(x), *args, **kwargs)


class FrameRotation(nn.Module):
    inv_freqs: Tensor

    def __init__(self, head_width: int):
        super().__init__()
        self.register_buffer("inv_freqs", torch.empty(head_width // 2))

    def forward(self, frames: int) -> Rotation:
        at = torch.arange(frames, device=self.inv_freqs.device, dtype=torch.float32)
        angles = torch.einsum("i, j -> i j", at, self.inv_freqs)
        angles = torch.cat((angles, angles), dim=-1)[None]
        return angles.sin(), angles.cos()


class ImageRotation(nn.Module):
    scales: Tensor

    def __init__(self, head_width: int):
        super().__init__()
        self.register_buffer("scales", torch.empty(head_width // 4))

    def forward(self, rows: int, columns: int) -> Rotation:
        down, across = (
            torch.linspace(-1, 1, size)[:, None] * self.scales[None] * math.pi
            for size in (rows, columns)
        )
        down = repeat(down, "i d -> i j d", j=columns)
        across = repeat(across, "j d -> i j d", i=rows)
        sin = torch.cat((down.sin(), across.sin()), dim=-1)
        cos = torch.cat((down.cos(), across.cos()), dim=-1)
        sin, cos = (repeat(y, "i j d -> () (i j) (d r)", r=2) for y in (sin, cos))
        return sin, cos


class Transformer(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, head_width: int):
        super().__init__()
        self.frame_rot_emb, self.image_rot_emb = (
            FrameRotation(head_width),
            ImageRotation(head_width),
        )
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PreNorm(width, Attention(width, heads, head_width)),
                    PreNorm(width, Attention(width, heads, head_width)),
                    PreNorm(width, FeedForward(width)),
                ]
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        f, h, w = x.shape[1:4]
        x = rearrange(x, "b f h w d -> b (f h w) d")
        frames, image = self.frame_rot_emb(f), self.image_rot_emb(h, w)
        for time, space, feed_forward in self.layers:
            x = time(x, "b (f n) d", "(b n) f d", frames, n=h * w) + x
            x = space(x, "b (f n) d", "(b f) n d", image, f=f) + x
            x = feed_forward(x) + x
        return rearrange(x, "b (f h w) d -> b f h w d", f=f, h=h)


class PlainTriplaneDecoder(nn.Module):
    """Concatenated planes to pixels.

    Args:
        planes: frames, rows and columns of the planes.
        embed_dim: channels of the latent.
        width: channels of a token.
        depth: layers.
        heads: of every attention, ``head_width`` channels each.
        patch: height and width in pixels of a token.
    """

    def __init__(
        self,
        planes: tuple[int, int, int],
        embed_dim: int,
        width: int,
        *,
        depth: int,
        heads: int,
        head_width: int,
        patch: int,
    ):
        super().__init__()
        self.planes = planes
        self.post_xy, self.post_xt, self.post_yt = (
            nn.Conv2d(embed_dim, width, 1) for _ in range(3)
        )
        self.decoder = Transformer(width, depth, heads, head_width)
        self.to_pixel = nn.Sequential(
            nn.Identity(), nn.ConvTranspose2d(width, 3, patch, patch), nn.Sigmoid()
        )

    def forward(self, z: Tensor) -> Tensor:
        f, h, w = self.planes
        xy, xt, yt = z.split([h * w, f * h, f * w], dim=-1)
        xy = self.post_xy(xy.unflatten(-1, (h, w)))[:, :, None]
        xt = self.post_xt(xt.unflatten(-1, (f, h)))[:, :, :, :, None]
        yt = self.post_yt(yt.unflatten(-1, (f, w)))[:, :, :, None]
        x = repeat(xy, "b c () h w -> b c f h w", f=f) + xt + yt
        x = self.decoder(rearrange(x, "b c f h w -> b f h w c"))
        pixels = self.to_pixel(rearrange(x, "b f h w c -> (b f) c h w"))
        return 2 * rearrange(pixels, "(b f) c h w -> b c f h w", f=f) - 1


def _rotated(x: Tensor, rotation: Rotation) -> Tensor:
    sin, cos = rotation
    x1, x2 = rearrange(x, "... (d j) -> ... d j", j=2).unbind(dim=-1)
    turned = rearrange(torch.stack((-x2, x1), dim=-1), "... d j -> ... (d j)")
    return x * cos + turned * sin
