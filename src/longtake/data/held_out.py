"""Footage in two parts: one to train on, and one that is held out for validation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from longtake.data.index import Part
from longtake.video import VideoInfo

Half = Literal["train", "validation"]
WHOLE_VIDEOS, SHORTEST_END = 20, 16
"""From this number of videos on, whole videos are held out; of fewer, the ends of all, unless each
end would have fewer frames than the second number."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Splits videos into training and validation footage; does not depend on how clips are cut.

    It is called with all videos, and returns the selected part of each; None: no part is selected.
    Of few videos, the last frames of each are held out, so that both parts show the same scenes. Of
    20 videos or more, whole videos are held out: those whose names have the lowest hashes. This
    also holds for 2 to 19 videos if even the longest would have fewer than 16 frames held out.

    Attributes:
        share: share of the videos, or of each video's frames, that is held out.
        half: which part is selected, ``train`` or ``validation``.
        root: folder to which the names that are hashed are relative.
    """

    share: float
    half: Half
    root: Path

    def __call__(self, videos: Sequence[VideoInfo]) -> Sequence[Part | None]:
        """The selected part of each video; None for videos that belong to the other part whole."""
        longest = max((video.frames for video in videos), default=0)
        short = len(videos) > 1 and self.share * longest < SHORTEST_END
        if len(videos) < WHOLE_VIDEOS and not short:
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
