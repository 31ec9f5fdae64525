"""Synthetic worlds as sources: endless labelled video, a function of seed and number."""

from abc import abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from pydantic import field_validator

from longtake.config import Config, to_dict
from longtake.data.clips import Clip, ClipPlan, ClipSource
from longtake.data.source import Frames
from longtake.noise import derive
from longtake.video import VideoInfo

_FIRST_NUMBER = {"train": 0, "test": 1 << 32}


class SyntheticSource(Config, ClipSource):
    """Videos that are a function of their number; any frame can be rendered directly.

    Attributes:
        plan: how a clip is cut from a video; frames are rendered at the plan's size.
        videos: number of videos.
        split: ``train`` and ``test`` number their videos from distant offsets, so share none.
        seed: seed of the whole world.
        video_frames: number of frames of a video in which random clips start; rendering itself has
            no last frame.
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
            raise ValueError("flip=True contradicts labels such as the wind's; set flip=False")
        return plan

    @property
    @abstractmethod
    def revision(self) -> int:
        """Number that rises whenever the same settings render other frames."""

    @abstractmethod
    def attributes(self, index: int, frame: int = 0) -> dict[str, str]:
        """Ground truth of video ``index`` at a frame, by name of the attribute."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Index into ``classes``."""

    @abstractmethod
    def caption(self, index: int, start_frame: int = 0, wording: int = 0) -> str:
        """A sentence about the clip from a frame on; ``wording``, any number, picks a template."""

    @abstractmethod
    def video(self, index: int, start_frame: int, frames: int, wording: int = 0) -> Clip:
        """A clip of ``frames`` frames at the plan's stride; ``wording`` as for ``caption``."""

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.split}:{self.plan.height}x{self.plan.width}"

    def __len__(self) -> int:
        return self.videos

    def info(self, index: int) -> VideoInfo:
        return _info(self)  # pyright: ignore[reportArgumentType]: frozen models have a hash

    def infos(self) -> Sequence[VideoInfo]:
        return [self.info(0)] * len(self)

    def title(self, index: int) -> str:
        return self.address(index)

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        world = self if stride == self.plan.stride else _with_stride(self, stride)  # pyright: ignore[reportArgumentType]
        return world.video(index, start_frame, count).frames

    def clip(self, index: int, generator: torch.Generator) -> Clip:
        room = max(0, self.video_frames - self.plan.span)
        random_start, wording = (
            int(torch.randint(bound, (), generator=generator)) for bound in (room + 1, 1 << 30)
        )
        start = random_start if self.plan.start == "random" else 0
        return self.video(index, start, self.plan.frames, wording)

    def identity(self) -> Any:
        return {**to_dict(self), "revision": self.revision}

    def number(self, index: int) -> int:
        """Number of video ``index`` among the world's videos of both splits.

        Raises:
            IndexError: the index is out of range.
        """
        if not 0 <= index < self.videos:
            raise IndexError(f"video {index} must be from 0 to {self.videos - 1}; raise videos")
        return _FIRST_NUMBER[self.split] + index

    def video_seed(self, index: int) -> int:
        """Seed of everything that a video shows."""
        return derive(self.seed, self.kind, self.number(index))

    def address(self, index: int) -> str:
        """Path of a clip, such as ``sky/train/12``."""
        return f"{self.kind}/{self.split}/{index}"


@lru_cache(maxsize=32)
def _info(world: SyntheticSource) -> VideoInfo:
    """Size, length and rate, equal for all videos of a world."""
    fps = Fraction(world.fps * world.plan.stride)
    return VideoInfo(
        path=Path(f"{world.kind}/{world.split}"),
        frames=world.video_frames,
        fps=fps,
        height=world.plan.height,
        width=world.plan.width,
        seconds=float(world.video_frames / fps),
        variable_rate=False,
    )


@lru_cache(maxsize=32)
def _with_stride(world: SyntheticSource, stride: int) -> SyntheticSource:
    plan = world.plan.model_copy(update={"stride": stride})
    return world.model_copy(update={"plan": plan})
