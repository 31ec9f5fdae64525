"""What training gives a network of a clip: cases, of which a mixture draws one per sample."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, MinLen
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from longtake.config import Config

Counts = Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]


class ContextCase(Config, ABC):
    """Which latent frames of a clip are given, or which times they have.

    Attributes:
        weight: share of the samples, relative to the weights of the other cases.
        frame_times: whether each frame has a time of its own, drawn by ``diffusion``.
    """

    frame_times: ClassVar[bool] = False

    weight: Annotated[float, Gt(0)] = 1.0

    @property
    def least_frames(self) -> int:
        """Fewest latent frames of a clip of which this case leaves one to generate."""
        return 1

    @abstractmethod
    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        """Mask of one clip, True where a frame is given; ``pick`` is uniform in [0, 1)."""


class Nothing(ContextCase):
    """No frame is given: the unconditional case, which unconditional guidance needs."""

    kind: Literal["nothing"] = "nothing"

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.zeros(frames, dtype=torch.bool)


class First(ContextCase):
    """The first frames are given, one of ``counts`` of them: continuing a video."""

    kind: Literal["first"] = "first"
    counts: Counts = (1,)

    @property
    def least_frames(self) -> int:
        return max(self.counts) + 1

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.arange(frames) < self.counts[int(pick * len(self.counts))]


class Last(ContextCase):
    """The last frames are given, one of ``counts`` of them: leading up to a video."""

    kind: Literal["last"] = "last"
    counts: Counts = (1,)

    @property
    def least_frames(self) -> int:
        return max(self.counts) + 1

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.arange(frames) >= frames - self.counts[int(pick * len(self.counts))]


class Ends(ContextCase):
    """The first and the last frame are given: filling in between."""

    kind: Literal["ends"] = "ends"

    @property
    def least_frames(self) -> int:
        return 3

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        place = torch.arange(frames)
        return (place == 0) | (place == frames - 1)


class Every(ContextCase):
    """The first frame and every ``distance``-th after it are given: interpolation."""

    kind: Literal["every"] = "every"
    distance: Annotated[int, Ge(2)] = 2

    @property
    def least_frames(self) -> int:
        return 2

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.arange(frames) % self.distance == 0


class AnyFrames(ContextCase):
    """Any frames are given: a number of them, from one to all but one, and then which ones."""

    kind: Literal["any"] = "any"

    @property
    def least_frames(self) -> int:
        return 2

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        count = 1 + int(pick * (frames - 1))
        return torch.randperm(frames, generator=generator).argsort() < count


class FrameTimes(ContextCase):
    """No frame is given, and each has a time of its own (Chen et al. 2024, "Diffusion Forcing")."""

    frame_times: ClassVar[bool] = True

    kind: Literal["frame_times"] = "frame_times"

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.zeros(frames, dtype=torch.bool)


AnyContextCase = Annotated[
    Nothing | First | Last | Ends | Every | AnyFrames | FrameTimes, Field(discriminator="kind")
]


def chosen(cases: Sequence[ContextCase], place: float) -> ContextCase:
    """The case at a place in [0, 1) of their weights, laid end to end."""
    place *= sum(case.weight for case in cases)
    reached = 0.0
    for case in cases:
        reached += case.weight
        if place < reached:
            return case
    return cases[-1]
