"""Footage in two parts: one to train on, and one that is held out for validation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from longtake.data.index import Part
from longtake.video import VideoInfo

Half = Literal["train", "validation"]
WHOLE_VIDEOS = 20
"""From this number of videos on, whole videos are held out."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """One half of a split of videos; equal for copies of a folder, and for any plan of clips.

    Of ``WHOLE_VIDEOS`` videos or more, those whose names have the lowest hashes are held out; of
    fewer, the last frames of each, so that both halves show the same scenes.

    Attributes:
        share: share of the videos, or of the frames of each, that is held out.
        half: the part that is returned.
        root: folder to which the names of videos are relative.
    """

    share: float
    half: Half
    root: Path

    def __call__(self, videos: Sequence[VideoInfo]) -> Sequence[Part | None]:
        """The part of each video, None for those of the other half."""
        if len(videos) < WHOLE_VIDEOS:
            return [self._cut(video) for video in videos]
        ranked = sorted(range(len(videos)), key=lambda n: self._rank(videos[n]))
        held = set(ranked[: max(1, round(self.share * len(videos)))])
        wanted = self.half == "validation"
        parts = (Part(0, v) if (n in held) == wanted else None for n, v in enumerate(videos))
        return [*parts]

    def _cut(self, video: VideoInfo) -> Part:
        held = max(1, round(self.share * video.frames))
        first = 0 if self.half == "train" else video.frames - held
        frames = held if self.half == "validation" else video.frames - held
        seconds = video.seconds * frames / video.frames
        return Part(first, replace(video, frames=frames, seconds=seconds))

    def _rank(self, video: VideoInfo) -> str:
        name = video.path.relative_to(self.root).as_posix()
        return hashlib.sha256(name.encode()).hexdigest()
