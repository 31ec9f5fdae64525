"""Worlds that longtake carries: endless labelled video by seed; not what they show."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from pydantic import field_validator

from longtake.config import to_dict
from longtake.data.clips import Clip, ClipPlan, ClipSource, Rejected
from longtake.noise import derive

_FIRST_NUMBER = {"train": 0, "test": 1 << 32}


class SyntheticSource(ClipSource, ABC):
    """Videos that are a function of their number, each frame askable directly.

    Attributes:
        plan: how a clip is cut from a video; the world renders at the plan's size.
        videos: how many there are.
        split: ``train`` and ``test`` count their videos from far apart numbers, so share none.
        seed: of the whole world.
        video_frames: of one video, from which random clips start; a video itself has no end.
    """

    plan: ClipPlan = ClipPlan()
    videos: Annotated[int, Ge(1)] = 1000
    split: Literal["train", "test"] = "train"
    seed: int = 0
    video_frames: Annotated[int, Ge(1)] = 1024

    @field_validator("plan")
    @classmethod
    def _unmirrored(cls, plan: ClipPlan) -> ClipPlan:
        if plan.flip:
            raise ValueError("flip=True would belie labels such as the wind's; leave it False")
        return plan

    @property
    @abstractmethod
    def revision(self) -> int:
        """Raised whenever the same settings come to show something else."""

    @abstractmethod
    def attributes(self, index: int, frame: int = 0) -> dict[str, str]:
        """Ground truth of video ``index`` at a frame, by the attribute's name."""

    @abstractmethod
    def caption(self, index: int, start_frame: int = 0, wording: int = 0) -> str:
        """A sentence on the clip that starts there; ``wording``, any number, picks a template."""

    @abstractmethod
    def video(self, index: int, start_frame: int, frames: int, wording: int = 0) -> Clip:
        """``frames`` frames, the plan's stride apart, from any frame of video ``index`` on."""

    def __len__(self) -> int:
        return self.videos

    def clip(self, index: int, generator: torch.Generator) -> Clip:
        room = max(0, self.video_frames - self.plan.span)
        random_start, wording = (
            int(torch.randint(bound, (), generator=generator)) for bound in (room + 1, 1 << 30)
        )
        start = random_start if self.plan.start == "random" else 0
        return self.video(index, start, self.plan.frames, wording)

    def rejected(self) -> tuple[Rejected, ...]:
        return ()

    def identity(self) -> Any:
        return {**to_dict(self), "revision": self.revision}

    def number(self, index: int) -> int:
        """Of video ``index`` among all the world's videos, both splits counted.

        Raises:
            IndexError: there is no such video.
        """
        if not 0 <= index < self.videos:
            raise IndexError(f"video {index} must be from 0 to {self.videos - 1}; raise videos")
        return _FIRST_NUMBER[self.split] + index

    def video_seed(self, index: int) -> int:
        """From which everything that a video shows is derived."""
        return derive(self.seed, self.name, self.number(index))

    def address(self, index: int) -> str:
        """What a clip gives as its path."""
        return f"{self.name}/{self.split}/{index}"
