"""Which frames of a training clip are given, and with how much noise on them (LVDM c.5)."""

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Interval, Le
from jaxtyping import Bool, Float
from pydantic import model_validator
from torch import Tensor

from longtake.config import Config
from longtake.diffusion.condition import ABSENT, KnownFrames


class KnownFramesPlan(Config):
    """How known frames are drawn, one draw a sample.

    With probability ``interpolate`` the ends of the clip are given (or every ``every``-th frame),
    with probability ``predict`` its first frames, else nothing: the unconditional case, which
    unconditional guidance needs.

    Attributes:
        predict: probability of prediction; the paper's prediction model has 0.5.
        interpolate: probability of interpolation; the paper's interpolation model has 0.9.
        previous: numbers of first frames to draw from, in prediction.
        every: distance of given frames in interpolation; None gives the two ends.
        noise_levels: conditional latent perturbation: the noise on given frames is that of a
            uniform step in 0..noise_levels-1 of 1000; 0 leaves them clean. The paper's is 250.
        tell: ``always`` tells the network a noise level for samples without given frames too, as
            the official training does (its sampler does not); ``known`` tells it only where
            frames are given, so that training and sampling agree.
    """

    predict: Annotated[float, Interval(ge=0, le=1)] = 0.5
    interpolate: Annotated[float, Interval(ge=0, le=1)] = 0.0
    previous: tuple[Annotated[int, Ge(1)], ...] = (1,)
    every: Annotated[int, Ge(2)] | None = None
    noise_levels: Annotated[int, Ge(0), Le(1000)] = 250
    tell: Literal["known", "always"] = "known"

    @model_validator(mode="after")
    def _probabilities(self) -> "KnownFramesPlan":
        if self.predict + self.interpolate > 1:
            raise ValueError(
                f"predict + interpolate is {self.predict + self.interpolate}, must be at most 1"
            )
        return self

    def mask(self, frames: int, draw: float, pick: float) -> Bool[Tensor, "f"]:
        """Given frames of one clip.

        Args:
            frames: latent frames of the clip.
            draw: uniform in [0, 1): which of the three cases.
            pick: uniform in [0, 1): which number of first frames.
        """
        mask = torch.zeros(frames, dtype=torch.bool)
        if draw < self.interpolate:
            if self.every is None:
                mask[[0, -1]] = True
            else:
                mask[:: self.every] = True
        elif draw < self.interpolate + self.predict:
            mask[: self.previous[int(pick * len(self.previous))]] = True
        return mask

    def draw(self, z: Float[Tensor, "c f ..."], generator: torch.Generator) -> KnownFrames:
        """Known frames of one sample, as a batch of one; ``z`` is its clean latent."""
        draw, pick, level = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        mask = self.mask(z.shape[1], draw, pick)
        told = bool(mask.any()) or self.tell == "always"
        time = (int(level * self.noise_levels) + 1) / 1000 if self.noise_levels else 0.0
        t = torch.tensor([time if told else float(ABSENT)])
        return KnownFrames(z=z[None], mask=mask[None], t=t)
