"""Surveys a folder of videos for training: hours, clips, and a part to hold out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, Interval

from longtake.config import Config, plural
from longtake.data.cache_plan import CachePlan, PlannedClips
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.prepare import PreparedVideo
from longtake.pipeline.systems import System

SHARES = (0.1, 0.2, 0.3)
HELD_OUT_CLIPS = 8
LONG_ENOUGH = 0.5
LARGE = 1.5


class Footage(Config):
    """A folder of videos to train on, and how it is used.

    Attributes:
        path: path of the folder.
        held_out: share of the footage that is held out for validation.
        span: number of frames of a clip whose latent is cached for the denoisers.
        videos: number of videos to train on.
        hours: length of these videos together.
        clips: number of clips whose latents can be cached.
        held_out_clips: number of held-out clips of the autoencoder's length, of which no two have
            a frame in common.
        validation_span: number of frames of a held-out clip for the validation loss of denoisers;
            None if no held-out video is long enough.
        unusable: number of videos that cannot be used.
    """

    path: str
    held_out: Annotated[float, Interval(ge=0, le=1)]
    span: Annotated[int, Ge(1)]
    videos: Annotated[int, Ge(0)]
    hours: Annotated[float, Ge(0)]
    clips: Annotated[int, Ge(0)]
    held_out_clips: Annotated[int, Ge(0)]
    validation_span: Annotated[int, Ge(1)] | None
    unusable: Annotated[int, Ge(0)]

    @property
    def source(self) -> dict[str, Any]:
        """Settings of the folder as a run's data source, without split and clip plan."""
        return {"kind": "folder", "path": self.path, "held_out": self.held_out}

    def lines(self) -> list[str]:
        """What was found in the folder, as sentences."""
        skipped = f"; {self.unusable} cannot be used" if self.unusable else ""
        return [
            f"{self.path}: {plural(self.videos, 'video')}, {self.hours:.2f} hours to train on"
            f"{skipped}",
            f"{plural(self.clips, 'clip')} of {self.span} frames for the denoisers; "
            f"{self.held_out:.0%} of the footage is held out "
            f"({plural(self.held_out_clips, 'clip')})",
        ]


def survey(path: Path, system: System, denoisers: int = 2) -> Footage:
    """Read a folder of videos and decide how it is used.

    The share that is held out is the smallest of 10, 20 and 30 % that has eight clips of the
    autoencoder's length; if none has, the one with the most. Clips whose latents are cached have
    the best length, of those that ``system`` has for ``denoisers`` denoisers, at which at least
    half of the footage can be used.

    Raises:
        ValueError: there are no videos, or all are too short.
    """
    whole, spans = half(path, "all", 1), system.spans_for(denoisers)
    choices = [_Choice.of(path, share, spans, system.window) for share in SHARES if len(whole)]
    fitting = [choice for choice in choices if choice.span and choice.held_out]
    if not fitting:
        longest, needed = max(info.frames for info in whole.infos()), min(spans)
        raise ValueError(
            f"{path}: the longest video has {plural(longest, 'frame')}; expected {needed} to train "
            f"on, beside the {min(SHARES):.0%} or more, at least {plural(system.window, 'frame')}, "
            "that are held out for validation; add longer videos"
        )
    enough = [choice for choice in fitting if choice.held_out >= HELD_OUT_CLIPS]
    best = enough[0] if enough else max(fitting, key=lambda choice: choice.held_out)
    train = half(path, "train", best.span, best.share)
    infos, shortest = train.infos(), min(spans)
    held = half(path, "validation", 1, best.share)
    longest_held = max(info.frames for info in held.infos())
    return Footage(
        path=str(path),
        held_out=best.share,
        span=best.span,
        videos=len(infos),
        hours=math.fsum(info.seconds for info in infos) / 3600,
        clips=len(PlannedClips(train, CachePlan())),
        held_out_clips=best.held_out,
        validation_span=shortest if longest_held >= shortest else None,
        unusable=len(whole.rejected()),
    )


def left_out(videos: Sequence[PreparedVideo], share: float) -> list[str]:
    """What of the footage was not converted to smaller files, and why, as sentences.

    ``share`` is the share of the time budget that was for converting.
    """
    faults = [
        f"{video.source}: {video.fault}" for video in videos if video.fault and not video.unread
    ]
    late = [video for video in videos if video.unread]
    if not late:
        return faults
    frames = sum(video.frames + video.unread for video in videos)
    unread = sum(video.unread for video in late)
    return [
        *faults,
        f"{share:.0%} of the time budget, the share for converting footage, is used up: {unread} "
        f"of {frames} frames, of {len(late)} of {len(videos)} videos, are left out; a longer "
        "budget takes more",
    ]


def is_large(path: Path, size: int) -> bool:
    """Whether any video's shorter side is over 1.5 times ``size`` pixels: reading is slow then."""
    return any(min(i.height, i.width) > LARGE * size for i in half(path, "all", 1).infos())


class _Choice(NamedTuple):
    """A share to hold out, its number of clips, and the length of clips to train on in frames.

    The length is 0 if no video to train on is long enough.
    """

    share: float
    held_out: int
    span: int

    @classmethod
    def of(cls, path: Path, share: float, spans: Sequence[int], window: int) -> "_Choice":
        held = half(path, "validation", 1, share).infos()
        train = half(path, "train", 1, share).infos()
        clips = sum(info.frames // window for info in held)
        total, span = sum(info.frames for info in train), 0
        for frames in spans:
            usable = sum(info.frames for info in train if info.frames >= frames)
            if usable and (usable >= LONG_ENOUGH * total or frames == min(spans)):
                span = frames
                break
        return cls(share, clips, span)


def half(path: Path, split: Any, frames: int, share: float = 0.1) -> VideoFolder:
    """Open one split of a folder of videos: ``train``, ``validation`` or ``all``.

    ``frames`` is the number of frames of a clip, ``share`` the share of the footage held out.
    """
    plan = ClipPlan(frames=frames)
    return VideoFolder(path=path, split=split, held_out=share, plan=plan)
