"""Training clips: what one is, how it is cut from a video, and sources of them."""

import logging
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import UInt8
from torch.nn.functional import interpolate

from longtake.config import Config
from longtake.data.source import Frames, VideoSource
from longtake.video import VideoError

LOGGER = logging.getLogger("longtake")
CLIPS_TRIED = 8  # in a row; with a tenth of the footage damaged, all fail once in 10^8 samples
Crop = Literal["centre", "random"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Consecutive frames, or every ``stride``-th, of one video.

    Attributes:
        frames: RGB pixels.
        path: path of the video file, or a name such as ``sky/train/12`` of a synthetic video.
        video: index of the video in its source.
        start_frame: index of the clip's first frame in the video.
        fps: frame rate of the clip: the video's divided by the stride.
        label: class, an index into the source's ``classes``; None without classes.
        caption: sentence that describes the video; None without captions.
    """

    frames: Frames
    path: str
    video: int
    start_frame: int
    fps: float
    label: int | None = None
    caption: str | None = None


class ClipPlan(Config):
    """How a training clip is cut from a video.

    Attributes:
        frames: number of frames of a clip.
        stride: distance between neighbouring frames of a clip, in frames of the video.
        height: height of a clip in pixels.
        width: width of a clip in pixels.
        start: ``random``: each clip starts at a random frame; ``fixed``: at the video's first.
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
        """Number of video frames from a clip's first frame to its last, both included."""
        return (self.frames - 1) * self.stride + 1


class ClipSource(VideoSource):
    """Videos from which training clips are cut as the attribute ``plan``, a ``ClipPlan``, says."""

    if TYPE_CHECKING:  # fields of the config classes, whose order they decide
        plan: ClipPlan
        kind: Any

    @property
    def fps(self) -> float:
        """Frame rate of a clip: the first video's, divided by the plan's stride."""
        return float(self.info(0).fps / self.plan.stride)

    @property
    def rendered(self) -> bool:
        """Whether videos are rendered when they are read, so that any number is available."""
        return False

    @abstractmethod
    def clip(self, index: int, generator: torch.Generator, start_frame: int | None = None) -> Clip:
        """Cut a clip from video ``index``; the result depends on the arguments alone.

        ``generator`` draws what the clip plan (``plan``) leaves to chance, such as start and flip.
        The clip starts at ``start_frame`` of the video or, if None, where the clip plan says.

        Raises:
            VideoError: a frame cannot be read.
        """

    def forward(self) -> "ClipSource":
        """A source of the same clips, faster if one thread reads each video's clips in order."""
        return self


Draw = tuple[int, torch.Generator, int | None]
"""Arguments of ``ClipSource.clip``: index of the video, generator, first frame."""


class ClipReader:
    """Reads clips of a source; skips and logs clips that cannot be decoded."""

    def __init__(self, source: ClipSource) -> None:
        self._source, self._faults = source, set[str]()

    def clip(self, draws: Iterable[Draw]) -> Clip:
        """The first clip that can be decoded of those that ``draws`` yields.

        They are given as arguments of ``ClipSource.clip``: index of the video, generator, first
        frame (None: where the clip plan says).

        Raises:
            VideoError: eight clips in a row cannot be decoded.
        """
        fault = None
        for draw in islice(draws, CLIPS_TRIED):
            try:
                return self._source.clip(*draw)
            except VideoError as error:
                fault = str(error)
                if fault not in self._faults:
                    self._faults.add(fault)
                    LOGGER.warning(
                        "%s; another clip takes its place (damaged clips so far: %d)",
                        *(fault, len(self._faults)),
                    )
        raise VideoError(
            f"{CLIPS_TRIED} clips in a row cannot be read, the last: {fault}; repair or remove "
            "the damaged videos"
        )


def cut(
    source: VideoSource,
    index: int,
    plan: ClipPlan,
    crop: Crop,
    generator: torch.Generator,
    start_frame: int | None = None,
) -> Clip:
    """Read a clip of a video, cropped and mirrored.

    Args:
        source: the videos.
        index: index of the video.
        plan: length, size and randomness of the clip.
        crop: where frames are cropped: ``centre``, or ``random`` for each clip.
        generator: source of crop position, mirroring and start. Each is drawn independently, so
            that changing one setting leaves the other results unchanged.
        start_frame: index of the clip's first frame in the video; None: as the plan says.

    Raises:
        VideoError: a frame cannot be read.
    """
    draws = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    info = source.info(index)
    starts = info.frames - plan.span + 1
    drawn = int(draws[0] * starts) if plan.start == "random" else 0
    start = drawn if start_frame is None else start_frame
    frames = source.read(index, start, plan.frames, plan.stride)
    position = (draws[1], draws[2]) if crop == "random" else (0.5, 0.5)
    frames = fit_frames(frames, plan.height, plan.width, position)
    if plan.flip and draws[3] < 0.5:
        frames = frames[:, :, ::-1]
    return Clip(
        frames=np.ascontiguousarray(frames),
        path=source.title(index),
        video=index,
        start_frame=start,
        fps=float(info.fps / plan.stride),
        label=source.label(index),
        caption=source.caption(index),
    )


def fit_frames(
    frames: UInt8[np.ndarray, "t h w 3"],
    height: int,
    width: int,
    position: tuple[float, float] = (0.5, 0.5),
) -> UInt8[np.ndarray, "t height width 3"]:
    """Resize frames so that they just cover ``height`` x ``width`` pixels, then crop them to it.

    ``position`` of the crop is (vertical, horizontal): 0 is the top or left edge, 0.5 the centre,
    1 the bottom or right edge.
    """
    frames = cover(frames, height, width)
    top = round(position[0] * (frames.shape[1] - height))
    left = round(position[1] * (frames.shape[2] - width))
    return frames[:, top : top + height, left : left + width]


def cover(frames: UInt8[np.ndarray, "t h w 3"], height: int, width: int) -> Frames:
    """Resize frames so that they just cover ``height`` x ``width`` pixels; nothing is cropped."""
    scale = max(height / frames.shape[1], width / frames.shape[2])
    tall = max(height, round(frames.shape[1] * scale))
    wide = max(width, round(frames.shape[2] * scale))
    if (tall, wide) == frames.shape[1:3]:
        return frames
    pixels = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)
    resized = interpolate(pixels, (tall, wide), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).numpy()
