"""What a clip is, how it is cut from a video, and what gives clips; not where they come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import UInt8

from longtake.config import Config


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Some frames of one video.

    Attributes:
        frames: RGB.
        path: of the video; of a generated one, its address, such as ``sky/train/12``.
        start_frame: of the video, where the clip begins.
        fps: of the clip, so the video's divided by the stride.
        label: index into the source's ``classes``.
        caption: of the video.
    """

    frames: UInt8[np.ndarray, "t h w 3"]
    path: str
    start_frame: int
    fps: float
    label: int | None = None
    caption: str | None = None


class Rejected(NamedTuple):
    """A video that cannot be used, and why."""

    path: str
    reason: str


class ClipPlan(Config):
    """How a clip is cut from a video.

    Attributes:
        frames: of the clip.
        stride: one frame of the video in so many is taken.
        height: of the clip in pixels.
        width: of the clip in pixels.
        start: ``random``, drawn anew each time, or ``fixed``, always the same.
        flip: mirror every second clip, by chance, left to right.
    """

    frames: Annotated[int, Ge(1)] = 16
    stride: Annotated[int, Ge(1)] = 1
    height: Annotated[int, Ge(1)] = 64
    width: Annotated[int, Ge(1)] = 64
    start: Literal["random", "fixed"] = "random"
    flip: bool = False

    @property
    def span(self) -> int:
        """Frames of the video from the clip's first to its last, both counted."""
        return (self.frames - 1) * self.stride + 1


class ClipSource(Config, ABC):
    """Videos by number, each giving clips."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short, for logs and file names."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Readable names of the labels; empty where there are none."""

    @property
    @abstractmethod
    def fps(self) -> float:
        """Frames a second of a clip, so after the plan's stride."""

    @abstractmethod
    def rejected(self) -> tuple[Rejected, ...]:
        """What was found and cannot be used."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of videos."""

    @abstractmethod
    def clip(self, index: int, generator: torch.Generator) -> Clip:
        """A clip of video ``index``, the same whenever both arguments are."""

    @abstractmethod
    def identity(self) -> Any:
        """Plain data that differs where the clips may differ; caches are keyed by it."""
