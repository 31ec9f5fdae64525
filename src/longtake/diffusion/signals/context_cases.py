"""Cases that choose which frames of a training clip are given; each sample draws one."""

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
    """A way to choose context frames in training, or to give each latent frame its own time.

    Attributes:
        weight: probability of this case, relative to the weights of the other cases.
        frame_times: whether each latent frame has its own diffusion time.
    """

    frame_times: ClassVar[bool] = False

    weight: Annotated[float, Gt(0)] = 1.0

    @property
    def least_frames(self) -> int:
        """Least number of latent frames of a clip in which this case leaves one to generate."""
        return 1

    @abstractmethod
    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        """Choose the context frames of one clip of ``frames`` latent frames; True marks one.

        ``pick``, uniform in [0, 1), and ``generator`` decide what the case leaves to chance.
        """

    @abstractmethod
    def draws(self, mask: Bool[Tensor, "f"]) -> bool:
        """Whether this case can draw ``mask``, in which True marks a context frame."""


class Nothing(ContextCase):
    """No context frames: the unconditional case, which classifier-free guidance needs."""

    kind: Literal["nothing"] = "nothing"

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.zeros(frames, dtype=torch.bool)

    def draws(self, mask: Bool[Tensor, "f"]) -> bool:
        return not mask.any()


class First(ContextCase):
    """The first latent frames are context frames, to learn to continue a video.

    Their number is one of ``counts``, with equal probability.
    """

    kind: Literal["first"] = "first"
    counts: Counts = (1,)

    @property
    def least_frames(self) -> int:
        return max(self.counts) + 1

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.arange(frames) < self.counts[int(pick * len(self.counts))]

    def draws(self, mask: Bool[Tensor, "f"]) -> bool:
        count = int(mask.sum())
        return count in self.counts and bool(mask[:count].all())


class Last(ContextCase):
    """The last latent frames are context frames, to learn to lead up to a video.

    Their number is one of ``counts``, with equal probability.
    """

    kind: Literal["last"] = "last"
    counts: Counts = (1,)

    @property
    def least_frames(self) -> int:
        return max(self.counts) + 1

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.arange(frames) >= frames - self.counts[int(pick * len(self.counts))]

    def draws(self, mask: Bool[Tensor, "f"]) -> bool:
        count = int(mask.sum())
        return count in self.counts and bool(mask[-count:].all())


class Ends(ContextCase):
    """The first and the last latent frame are context frames, to learn to fill in between."""

    kind: Literal["ends"] = "ends"

    @property
    def least_frames(self) -> int:
        return 3

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        place = torch.arange(frames)
        return (place == 0) | (place == frames - 1)

    def draws(self, mask: Bool[Tensor, "f"]) -> bool:
        return mask.nonzero()[:, 0].tolist() == [0, len(mask) - 1]


class Every(ContextCase):
    """The first latent frame and every ``distance``-th after it are context (interpolation)."""

    kind: Literal["every"] = "every"
    distance: Annotated[int, Ge(2)] = 2

    @property
    def least_frames(self) -> int:
        return 2

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.arange(frames) % self.distance == 0

    def draws(self, mask: Bool[Tensor, "f"]) -> bool:
        return mask.nonzero()[:, 0].tolist() == [*range(0, len(mask), self.distance)]


class AnyFrames(ContextCase):
    """Random latent frames are context frames: first their number is drawn, then which they are.

    The number is from one to all frames but one.
    """

    kind: Literal["any"] = "any"

    @property
    def least_frames(self) -> int:
        return 2

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        count = 1 + int(pick * (frames - 1))
        return torch.randperm(frames, generator=generator).argsort() < count

    def draws(self, mask: Bool[Tensor, "f"]) -> bool:
        return 0 < int(mask.sum()) < len(mask)


class FrameTimes(ContextCase):
    """No context frames, but a diffusion time per latent frame (Chen et al. 2024)."""

    frame_times: ClassVar[bool] = True

    kind: Literal["frame_times"] = "frame_times"

    def mask(self, frames: int, pick: float, generator: torch.Generator) -> Bool[Tensor, "f"]:
        return torch.zeros(frames, dtype=torch.bool)

    def draws(self, mask: Bool[Tensor, "f"]) -> bool:
        return not mask.any()


AnyContextCase = Annotated[
    Nothing | First | Last | Ends | Every | AnyFrames | FrameTimes, Field(discriminator="kind")
]
"""One of the cases from which training draws context frames."""


def chosen(cases: Sequence[ContextCase], place: float) -> ContextCase:
    """Choose one of ``cases`` with probability in proportion to its weight.

    ``place`` is a uniform random number in [0, 1).
    """
    place *= sum(case.weight for case in cases)
    reached = 0.0
    for case in cases:
        reached += case.weight
        if place < reached:
            return case
    return cases[-1]
