"""A denoiser of one matrix that looks at all of a condition, and one that knows the answer."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from longtake.diffusion import Condition, Denoiser, Diffusion
from longtake.diffusion.schedule import Level
from longtake.latents import LatentSpec

T = TypeVar("T")
SPEC = LatentSpec(shape=(2, 4, 3, 3), clip=(16, 24, 24), frame_axis=2)


class Tiny(Denoiser):
    """Mixes channels; every part of a condition shifts the output."""

    reads = frozenset({"known", "previous", "label", "text"})

    def __init__(self) -> None:
        super().__init__()
        self.spec = SPEC
        self.mix = nn.Conv3d(2, 2, 1)
        self.labels = nn.Embedding(5, 2)

    def forward(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        out = self.mix(z) + (t / 1000).to(z.dtype)[:, None, None, None, None]
        known = condition.known
        if known is not None:
            mask = SPEC.expand(known.mask.to(z.dtype))
            out = (
                out
                + mask * z.mean((3, 4), keepdim=True)
                + SPEC.expand(known.t.clamp_min(0).to(z.dtype))
            )
        if condition.previous is not None:
            out = out + condition.previous
        if condition.label is not None:
            rows = self.labels(condition.label.clamp_min(0))
            told = (condition.label >= 0).to(z.dtype)[:, None]
            out = out + (rows * told)[:, :, None, None, None]
        if condition.text is not None:
            out = out + condition.text.mean((1, 2))[:, None, None, None, None]
        return out


class Perfect(Denoiser):
    """Predicts what belongs to one clean latent, whatever it sees."""

    reads = frozenset({"known"})

    def __init__(self, diffusion: Diffusion, clean: Tensor) -> None:
        super().__init__()
        self.spec = SPEC
        self.diffusion, self.clean = diffusion, clean

    def forward(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        schedule = self.diffusion.schedule
        one = schedule.embedding_time(torch.ones(1))
        alpha, sigma = schedule((t + 1000 - one) / 1000)
        level = Level(SPEC.expand(alpha), SPEC.expand(sigma))
        noise = (z - level.alpha * self.clean) / level.sigma
        return self.diffusion.target(self.clean.expand_as(z), noise, level)


def there(part: T | None) -> T:
    """A part of a condition that is not None."""
    assert part is not None
    return part


def latent(rows: int = 2) -> Tensor:
    return torch.randn(rows, *SPEC.shape)
