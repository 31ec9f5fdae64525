"""Synthetic data sets as sources: endless labelled videos, each rendered from seed and number."""

from abc import abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from pydantic import Field, field_validator, model_validator

from longtake.config import Config, nearest, to_dict
from longtake.data.clips import Clip, ClipPlan, ClipSource
from longtake.data.source import Frames
from longtake.noise import derive
from longtake.video import VideoInfo

_FIRST_NUMBER = {"train": 0, "test": 1 << 32}


class SyntheticSource(Config, ClipSource):
    """A synthetic data set: videos rendered on the fly, each a function of seed and number.

    Any frame can be rendered without the frames before it, unless the class says otherwise.

    Attributes:
        plan: how a training clip is cut from a video; frames are rendered at the plan's size.
        videos: number of videos.
        split: ``train`` and ``test`` have no video in common.
        seed: seed of all videos.
        video_frames: number of frames of a video from which random clips are cut; rendering itself
            has no last frame.
        without: classes that no video has, so that a model can be asked for what it has not seen.
        revision: version of the renderer; it rises whenever the same settings give other frames.
        rate: frame rate of a video, in frames per second.
    """

    revision: ClassVar[int]
    rate: ClassVar[float]
    plan: ClipPlan = ClipPlan()
    videos: Annotated[int, Ge(1)] = 1000
    split: Literal["train", "test"] = "train"
    seed: int = 0
    video_frames: Annotated[int, Ge(1)] = 1024
    without: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)

    @field_validator("plan")
    @classmethod
    def _unmirrored(cls, plan: ClipPlan) -> ClipPlan:
        if plan.flip:
            raise ValueError("flip=True contradicts labels such as the wind's; set flip=False")
        return plan

    @model_validator(mode="after")
    def _leaves_classes(self) -> "SyntheticSource":
        for unknown in sorted(set(self.without) - set(self.classes)):
            advice = nearest(unknown, self.classes)
            raise ValueError(f"without: there is no class {unknown!r}; {advice}")
        if self.without and not set(self.classes) - set(self.without):
            raise ValueError("without lists every class; leave at least one out of it")
        return self

    @abstractmethod
    def attributes(self, index: int, frame: int = 0) -> dict[str, str]:
        """Ground truth of video ``index`` at a frame: what it shows, by name of the attribute."""

    @abstractmethod
    def label(self, index: int, frame: int = 0) -> int:
        """Class of video ``index`` at a frame, an index into ``classes``."""

    @abstractmethod
    def sentence(self, truth: dict[str, str], wording: int) -> str:
        """A sentence that states the attributes ``truth``, a result of ``attributes``.

        ``wording``, any non-negative integer, selects one of several templates.
        """

    @abstractmethod
    def render(
        self, index: int, start_frame: int, count: int, stride: int
    ) -> tuple[Frames, dict[str, str]]:
        """Render ``count`` frames of video ``index``, every ``stride``-th from ``start_frame`` on.

        Returns the frames, and the ground truth that ``attributes`` returns for ``start_frame``.
        """

    def caption(self, index: int, start_frame: int = 0, wording: int = 0) -> str:
        """A sentence that describes video ``index`` from ``start_frame`` on.

        ``wording``, any non-negative integer, selects one of several templates.
        """
        return self.sentence(self.attributes(index, start_frame), wording)

    def video(self, index: int, start_frame: int, frames: int, wording: int = 0) -> Clip:
        """Render ``frames`` frames of video ``index`` from ``start_frame`` on, as a ``Clip``.

        The stride is that of the source's plan. ``wording``, any non-negative integer, selects the
        caption's template.
        """
        shown, truth = self.render(index, start_frame, frames, self.plan.stride)
        return Clip(
            frames=shown,
            path=self.title(index),
            video=index,
            start_frame=start_frame,
            fps=self.fps,
            label=self.label(index, start_frame),
            caption=self.sentence(truth, wording),
        )

    @property
    def fps(self) -> float:
        return self.rate / self.plan.stride

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.split}:{self.plan.height}x{self.plan.width}"

    def __len__(self) -> int:
        return self.videos

    def info(self, index: int) -> VideoInfo:
        return VideoInfo(
            path=Path(f"{self.kind}/{self.split}"),
            frames=self.video_frames,
            fps=Fraction(self.rate),
            height=self.plan.height,
            width=self.plan.width,
            seconds=self.video_frames / self.rate,
            variable_rate=False,
        )

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        return self.render(index, start_frame, count, stride)[0]

    def infos(self) -> Sequence[VideoInfo]:
        return [self.info(0)] * len(self)

    def title(self, index: int) -> str:
        return f"{self.kind}/{self.split}/{index}"

    @property
    def rendered(self) -> bool:
        return True

    def clip(self, index: int, generator: torch.Generator, start_frame: int | None = None) -> Clip:
        room = max(0, self.video_frames - self.plan.span)
        random_start, wording = (
            int(torch.randint(bound, (), generator=generator)) for bound in (room + 1, 1 << 30)
        )
        drawn = random_start if self.plan.start == "random" else 0
        start = drawn if start_frame is None else start_frame
        return self.video(index, start, self.plan.frames, wording)

    def identity(self) -> Any:
        return {**to_dict(self), "revision": self.revision}

    def class_of(self, index: int) -> int:
        """Class that video ``index`` is drawn from, an index into ``classes``.

        Consecutive videos cycle through the classes that are not in ``without``.

        Raises:
            IndexError: there is no video of this index.
        """
        left = [i for i, name in enumerate(self.classes) if name not in self.without]
        return left[self.number(index) % len(left)]

    def number(self, index: int) -> int:
        """Number of video ``index``, from 0 in the split ``train``, from 2^32 in ``test``.

        Raises:
            IndexError: there is no video of this index.
        """
        if not 0 <= index < self.videos:
            raise IndexError(
                f"video {index} must be from 0 to {self.videos - 1}; raise the setting videos"
            )
        return _FIRST_NUMBER[self.split] + index

    def video_seed(self, index: int) -> int:
        """Seed of everything that video ``index`` shows.

        Raises:
            IndexError: there is no video of this index.
        """
        return derive(self.seed, self.kind, self.number(index))


def template(wording: int, whole: Sequence[str], short: Sequence[str] = ()) -> str:
    """Template of a caption for a wording: each of ``whole`` twice, then each of ``short``."""
    every = (*whole, *whole, *short)
    return every[wording % len(every)]
