"""The videos of a model as a source: sampled when they are read, and not kept unless asked."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.checkpoint import write_text
from longtake.config import digest, to_dict
from longtake.data.source import ClipPosition, Frames, VideoSource
from longtake.diffusion.signals import ABSENT
from longtake.generate import LongVideo
from longtake.model import Sampling, VideoModel
from longtake.rollout import Request
from longtake.video import VideoInfo, VideoWriter

Levels = Literal["round", "truncate"]

KEPT = "kept.json"
"""File in a folder of kept videos: hash of their identity, and when the first was written."""


@dataclass(frozen=True, kw_only=True)
class ModelVideos(VideoSource):
    """Videos of a model; number ``i`` is sampled from seed ``first_seed + i``.

    Attributes:
        model_name: name of the model for messages and results.
        model: model on its device.
        sampling: sampling settings.
        videos: number of videos.
        frames: number of frames of each video.
        label_words: class of all videos; if None, each seed has its own class.
        levels: how decoded values become 8-bit levels.
        first_seed: seed of video 0.
        batch: number of videos sampled at once; no video depends on it.
        keep: folder to write the videos to, prepared by ``open_kept``; None keeps none.
    """

    model_name: str
    model: VideoModel
    sampling: Sampling
    videos: int
    frames: int
    label_words: str | None = None
    levels: Levels = "round"
    first_seed: int = 0
    batch: int = 8
    keep: Path | None = None

    @property
    def name(self) -> str:
        return self.model_name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.model.index.classes

    def __len__(self) -> int:
        return self.videos

    def info(self, index: int) -> VideoInfo:
        """Size, length and rate, equal for all videos."""
        _, height, width = self.model.autoencoder.spec.clip
        fps = Fraction(self.model.index.fps)
        return VideoInfo(
            path=Path(self.name),
            frames=self.frames,
            fps=fps,
            height=height,
            width=width,
            seconds=float(self.frames / fps),
            variable_rate=False,
        )

    def infos(self) -> Sequence[VideoInfo]:
        return [self.info(0)] * len(self)

    def label(self, index: int) -> int | None:
        signals = self.model.request([self.first_seed + index], self.label_words).signals
        label = int(signals["label"].value) if "label" in signals else ABSENT
        return None if label == ABSENT else label

    def title(self, index: int) -> str:
        return f"{self.name}, seed {self.first_seed + index}"

    def identity(self) -> Any:
        """``contents``, and the kept videos, which are not written if features are cached."""
        kept = None if self.keep is None else json.loads((self.keep / KEPT).read_text())
        return {"videos": self.contents(), "kept": kept}

    def contents(self) -> Any:
        """Weights, settings, sampling, first seed, length and levels, for cache keys."""
        return {
            "index": to_dict(self.model.index),
            "sampling": to_dict(self.sampling),
            "label": self.label_words,
            "levels": self.levels,
            "first_seed": self.first_seed,
            "frames": self.frames,
            "dtype": str(next(self.model.autoencoder.parameters()).dtype),
        }

    def about(self) -> dict[str, Any]:
        """Hash of the model, sampling settings and seeds, for results."""
        index = self.model.index
        return {
            "model": digest(index.weights),
            "weights": dict(index.weights),
            "averaged": index.ema,
            "sampling": to_dict(self.sampling),
            "label": self.label_words or "a class a seed" if index.classes else self.label_words,
            "seeds": [self.first_seed, self.first_seed + self.videos - 1],
        }

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        """Sample one video and cut it; ``read_clips`` samples several at once."""
        (clip,) = self.read_clips([ClipPosition(index, start_frame)], count, stride)
        return clip

    def read_clips(
        self, positions: Sequence[ClipPosition], count: int, stride: int
    ) -> Iterator[Frames]:
        """Sample the videos, ``batch`` at a time, and cut their clips."""
        long_video = self.model.long_video(self.sampling)
        for first in range(0, len(positions), self.batch):
            chosen = positions[first : first + self.batch]
            seeds = [self.first_seed + position.video for position in chosen]
            request = self.model.request(seeds, self.label_words)
            sampled = sample(long_video, request, self.frames)
            for seed, position, pixels in zip(seeds, chosen, sampled, strict=True):
                whole = pixel_levels(pixels, self.levels).cpu().numpy()
                self._write(seed, whole)
                yield whole[position.start_frame :: stride][:count]

    def _write(self, seed: int, frames: Frames) -> None:
        if self.keep is None:
            return
        path = self.keep / f"seed_{seed:05d}.mkv"
        with VideoWriter(path, self.model.index.fps, overwrite=True) as writer:
            writer.write(frames)


def open_kept(source: ModelVideos, folder: Path) -> None:
    """Prepare a folder for a model's videos, or accept one that an earlier call filled.

    Raises:
        ValueError: the folder holds something else.
    """
    path, videos = folder / KEPT, digest(source.contents())
    if path.exists() and json.loads(path.read_text())["videos"] == videos:
        return
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: holds other files; choose another folder to keep videos in")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"videos": videos, "made": time.time_ns()}) + "\n")


def sample(video: LongVideo, request: Request, frames: int) -> Float[Tensor, "b 3 t h w"]:
    """Whole videos as the decoder returns them, before rounding to 8-bit levels."""
    parts = [part.pixels for part in video.decoded(request, frames)]
    return torch.cat(parts, 2)[:, :, :frames]


def pixel_levels(video: Float[Tensor, "3 t h w"], levels: Levels) -> UInt8[Tensor, "t h w 3"]:
    """8-bit pixels of a decoded video in [-1, 1]."""
    scaled = (video.detach().float() + 1) * 127.5
    scaled = scaled.round() if levels == "round" else scaled.floor()
    return scaled.clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0).contiguous()
