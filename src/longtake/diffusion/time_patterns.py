"""Time patterns: the time of each latent frame at each sampling step.

A pattern turns a sampler's falling times, one per step, into a table ``(steps + 1, frames)``. A
context frame is a column that stays at the time of the noise on it.
"""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from longtake.config import Config


class TimePattern(Config, ABC):
    """A table of times.

    Attributes:
        per_frame: whether frames have different times, which the network must support.
    """

    per_frame: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, times: Float[Tensor, "s"], frames: int) -> Float[Tensor, "s2 f"]:
        """Table of a clip from the times that a sampler visits."""


class Together(TimePattern):
    """All frames at one time, as both papers sample.

    Three steps of a clip of four frames::

        1    1    1    1
        2/3  2/3  2/3  2/3
        1/3  1/3  1/3  1/3
        0    0    0    0
    """

    per_frame: ClassVar[bool] = False

    kind: Literal["together"] = "together"

    def __call__(self, times: Float[Tensor, "s"], frames: int) -> Float[Tensor, "s f"]:
        """The same column for each frame."""
        return times[:, None].expand(-1, frames)


class Staggered(TimePattern):
    """Later frames are noisier (Chen et al. 2024, "Diffusion Forcing").

    Three steps of a clip of four frames, with ``delay`` 1::

        1    1    1    1
        2/3  1    1    1
        1/3  2/3  1    1
        0    1/3  2/3  1
        0    0    1/3  2/3
        0    0    0    1/3
        0    0    0    0

    Attributes:
        delay: steps between the starts of neighbouring frames; as many as the sampler has draw
            one frame after another.
    """

    kind: Literal["staggered"] = "staggered"
    delay: Annotated[int, Ge(1)] = 1

    def __call__(self, times: Float[Tensor, "s"], frames: int) -> Float[Tensor, "s2 f"]:
        """Each frame's column is that of the frame before, ``delay`` steps later."""
        steps = torch.arange(len(times) + self.delay * (frames - 1), device=times.device)
        begin = self.delay * torch.arange(frames, device=times.device)
        return times[(steps[:, None] - begin).clamp(0, len(times) - 1)]


AnyTimePattern = Annotated[Together | Staggered, Field(discriminator="kind")]
