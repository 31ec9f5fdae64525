"""A denoiser of one matrix that reads all signals, and one that knows the answer."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from longtake.diffusion import AlphaSigma, Denoiser, Diffusion
from longtake.diffusion.process import Embedding
from longtake.diffusion.signals import CONTEXT
from longtake.latents import LatentSpec

SPEC = LatentSpec(shape=(2, 4, 3, 3), clip=(16, 24, 24), frame_axis=2)


class Tiny(Denoiser):
    """Mixes channels; every signal shifts the output."""

    reads = frozenset({*CONTEXT, "previous", "label", "text"})
    per_frame = True

    def __init__(self) -> None:
        super().__init__()
        self.spec = SPEC
        self.mix = nn.Conv3d(2, 2, 1)
        self.labels = nn.Embedding(5, 2)

    def prepare(self, signals: Mapping[str, Tensor], embedding: Embedding) -> Any:
        return signals, embedding

    def forward(self, z: Tensor, t: Tensor, prepared: Any) -> Tensor:
        signals, embedding = prepared
        out = self.mix(z) + SPEC.expand((embedding(t) / 1000).to(z.dtype))
        if "context" in signals:
            mask = SPEC.expand(signals["context_mask"].to(z.dtype))
            noise_time = signals["context_noise"].clamp_min(0).to(z.dtype)
            out = out + mask * z.mean((3, 4), keepdim=True) + SPEC.expand(noise_time)
        if "previous" in signals:
            out = out + signals["previous"].to(z.dtype)
        if "label" in signals:
            rows = self.labels(signals["label"].clamp_min(0))
            present = (signals["label"] >= 0).to(z.dtype)[:, None]
            out = out + (rows * present)[:, :, None, None, None]
        if "text" in signals:
            out = out + signals["text"].to(z.dtype).mean((1, 2))[:, None, None, None, None]
        return out


class Perfect(Denoiser):
    """Predicts what belongs to one clean latent, whatever it sees."""

    reads = frozenset(CONTEXT)
    per_frame = True

    def __init__(self, diffusion: Diffusion, clean: Tensor) -> None:
        super().__init__()
        self.spec = SPEC
        self.diffusion, self.clean = diffusion, clean

    def prepare(self, signals: Mapping[str, Tensor], embedding: Embedding) -> None:
        del signals, embedding

    def forward(self, z: Tensor, t: Tensor, prepared: None) -> Tensor:
        level = AlphaSigma(*(SPEC.expand(x) for x in self.diffusion.schedule(t)))
        noise = (z - level.alpha * self.clean) / level.sigma
        return self.diffusion.target(self.clean.expand_as(z), noise, level)


def latent(rows: int = 2) -> Tensor:
    return torch.randn(rows, *SPEC.shape)
