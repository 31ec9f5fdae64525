"""Views of a source: the same videos at another size, or cut into training clips."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from longtake.config import plural, to_dict
from longtake.data.clips import Clip, ClipPlan, ClipSource, Crop, cut, fit_frames
from longtake.data.source import ClipPosition, Frames, Preparation, Rejected, VideoSource, unchanged
from longtake.video import VideoInfo


class View(VideoSource):
    """Base of sources that modify ``source``; ``settings``, JSON data, are part of ``identity``."""

    def __init__(self, source: VideoSource, *settings: Any) -> None:
        self.source, self._settings = source, settings

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    def __len__(self) -> int:
        return len(self.source)

    def info(self, index: int) -> VideoInfo:
        return self.source.info(index)

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        return self.source.read(index, start_frame, count, stride)

    @property
    def label_parts(self) -> Mapping[str, tuple[str, ...]]:
        return self.source.label_parts

    def label(self, index: int) -> int | None:
        return self.source.label(index)

    def caption(self, index: int) -> str | None:
        return self.source.caption(index)

    def title(self, index: int) -> str:
        return self.source.title(index)

    def rejected(self) -> Sequence[Rejected]:
        return self.source.rejected()

    def passed_over(self) -> Sequence[Rejected]:
        return self.source.passed_over()

    def identity(self) -> Any:
        return [self.source.identity(), *self._settings]

    def former_identity(self) -> Any:
        return [self.source.former_identity(), *self._settings]

    def contents(self) -> Any:
        return [self.source.contents(), *self._settings]

    def about(self) -> dict[str, Any]:
        return self.source.about()


class ResizedVideos(View):
    """The videos of a source, resized to cover ``height`` x ``width`` and centre-cropped to it."""

    def __init__(self, source: VideoSource, height: int, width: int) -> None:
        super().__init__(source, height, width)
        self._size = {"height": height, "width": width}

    def info(self, index: int) -> VideoInfo:
        return replace(self.source.info(index), **self._size)

    def infos(self) -> Sequence[VideoInfo]:
        infos = self.source.infos()
        distinct = {id(info): info for info in infos}
        resized = {key: replace(info, **self._size) for key, info in distinct.items()}
        return [resized[id(info)] for info in infos]

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        return self._resized(self.source.read(index, start_frame, count, stride))

    def read_clips(
        self,
        positions: Sequence[ClipPosition],
        count: int,
        stride: int,
        prepare: Preparation = unchanged,
    ) -> Iterator[Frames]:
        def resized(clip: Frames) -> Frames:
            return prepare(self._resized(clip))

        return self.source.read_clips(positions, count, stride, resized)

    def _resized(self, frames: Frames) -> UInt8[np.ndarray, "_ _ _ 3"]:
        return np.ascontiguousarray(fit_frames(frames, self._size["height"], self._size["width"]))


class MirroredVideos(View):
    """The videos of a source, then the mirror image (left to right) of each."""

    def __init__(self, source: VideoSource) -> None:
        super().__init__(source, "mirrored")

    @property
    def name(self) -> str:
        return f"{self.source.name} and mirror images"

    def __len__(self) -> int:
        return 2 * len(self.source)

    def info(self, index: int) -> VideoInfo:
        return self.source.info(index % len(self.source))

    def infos(self) -> Sequence[VideoInfo]:
        return [*self.source.infos()] * 2

    def title(self, index: int) -> str:
        return self.source.title(index % len(self.source))

    def label(self, index: int) -> int | None:
        return self.source.label(index % len(self.source))

    def caption(self, index: int) -> str | None:
        return self.source.caption(index % len(self.source))

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        frames = self.source.read(index % len(self.source), start_frame, count, stride)
        return frames if index < len(self.source) else np.ascontiguousarray(frames[:, :, ::-1])


class TrainingClips(View, ClipSource):
    """Training clips cut from any source, such as a model's samples.

    Args:
        source: the videos; none may be shorter than the plan's clips.
        plan: how a clip is cut.
        crop: where frames are cropped after they were resized to cover the clip's size: ``centre``,
            or ``random`` for each clip.

    Raises:
        ValueError: a video is too short, or there are none.
    """

    def __init__(self, source: VideoSource, plan: ClipPlan, crop: Crop = "centre") -> None:
        super().__init__(source, to_dict(plan), crop)
        self.plan = plan
        self._crop: Crop = crop
        shortest = min((info.frames for info in source.infos()), default=0)
        if shortest < plan.span:
            raise ValueError(
                f"{source.name}: the shortest video has {plural(shortest, 'frame')}, a clip spans "
                f"{plan.span}; give longer videos, or lower frames or stride of the plan"
            )

    def clip(self, index: int, generator: torch.Generator, start_frame: int | None = None) -> Clip:
        return cut(self.source, index, self.plan, self._crop, generator, start_frame)
