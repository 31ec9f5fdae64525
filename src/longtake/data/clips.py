"""Training clips: what one is, how it is cut from a video, and sources of them."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Ge

from longtake.config import Config
from longtake.data.source import Frames, VideoSource


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Some frames of one video.

    Attributes:
        frames: RGB pixels.
        path: path of the video, or the address of a generated one, such as ``sky/train/12``.
        start_frame: index of the clip's first frame in the video.
        fps: frame rate of the clip: the video's divided by the stride.
        label: index into the source's ``classes``.
        caption: sentence that describes the video.
    """

    frames: Frames
    path: str
    start_frame: int
    fps: float
    label: int | None = None
    caption: str | None = None


class ClipPlan(Config):
    """How a clip is cut from a video.

    Attributes:
        frames: number of frames of a clip.
        stride: distance of neighbouring frames of a clip in the video.
        height: height of a clip in pixels.
        width: width of a clip in pixels.
        start: ``random``, drawn for each clip, or ``fixed``, the video's first frame.
        flip: mirror a clip left to right with probability 0.5.
    """

    frames: Annotated[int, Ge(1)] = 16
    stride: Annotated[int, Ge(1)] = 1
    height: Annotated[int, Ge(1)] = 64
    width: Annotated[int, Ge(1)] = 64
    start: Literal["random", "fixed"] = "random"
    flip: bool = False

    @property
    def span(self) -> int:
        """Number of video frames from a clip's first to its last, both included."""
        return (self.frames - 1) * self.stride + 1


class ClipSource(VideoSource):
    """Videos from which training clips are cut, as ``plan`` says."""

    if TYPE_CHECKING:  # fields of the config classes, whose order they decide
        plan: ClipPlan
        kind: Any

    @property
    @abstractmethod
    def fps(self) -> float:
        """Frame rate of a clip, that is, after the plan's stride."""

    @abstractmethod
    def clip(self, index: int, generator: torch.Generator) -> Clip:
        """A clip of video ``index``, a function of both arguments alone."""
