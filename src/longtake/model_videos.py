"""The videos of a model as a source: sampled when they are read, and not kept unless asked."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import NonNegativeInt, StringConstraints

from longtake.backends import Backend
from longtake.checkpoint import read_config, write_text
from longtake.config import Config, digest, to_dict
from longtake.data.source import ClipPosition, Frames, Preparation, VideoSource, unchanged
from longtake.diffusion.signals import ABSENT
from longtake.model import Sampling, VideoModel
from longtake.rollout import Request
from longtake.text import Prompt
from longtake.video import VideoInfo, VideoWriter, to_pixels

KEPT = "kept.json"
"""File in a folder of kept videos: hash of their identity, and when the first was written."""


class Kept(Config):
    """Contents of ``kept.json`` in a folder of a model's videos.

    Attributes:
        videos: hash of everything that the videos depend on.
        made: time at which the first video was made, in nanoseconds since 1970.
    """

    videos: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    made: NonNegativeInt


@dataclass(frozen=True, kw_only=True)
class ModelVideos(VideoSource):
    """A model's samples as a source of videos; video ``i`` has the seed ``first_seed + i``.

    Attributes:
        model_name: name of the model for messages and results.
        model: the model.
        sampling: sampling settings.
        videos: number of videos.
        frames: number of frames of each video.
        label_words: class of all videos, by name or number; None: each seed draws a class.
        prompts: prompts of a model that reads text; the video of seed i has prompt i, from the
            first again when there are no more.
        text_encoder: folder of the text encoder's files; None: they are found by the encoder's
            name.
        levels: whether decoded pixels are rounded to 8-bit levels (``round``) or rounded down
            (``truncate``).
        first_seed: seed of the first video.
        batch: number of videos that are sampled together; no video depends on it.
        keep: folder to write the videos to, prepared by ``open_kept``; None: they are not written.
        backend: what runs the networks; None: torch.
    """

    model_name: str
    model: VideoModel
    sampling: Sampling
    videos: int
    frames: int
    label_words: str | None = None
    prompts: tuple[str, ...] = ()
    text_encoder: Path | None = None
    levels: Literal["round", "truncate"] = "round"
    first_seed: int = 0
    batch: int = 8
    keep: Path | None = None
    backend: Backend | None = None

    @property
    def name(self) -> str:
        return self.model_name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.model.index.classes

    def __len__(self) -> int:
        return self.videos

    def info(self, index: int) -> VideoInfo:
        """Size, length and frame rate, which are equal for all videos."""
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
        signals = self._request([self.first_seed + index]).signals
        (label,) = self.model.labels.classes_of(signals, 1)
        return None if label == ABSENT else label

    def caption(self, index: int) -> str | None:
        """The prompt of video ``index`` or, without prompts, the name of its class."""
        if self.prompts:
            return self._prompt(self.first_seed + index)
        label = self.label(index)
        return None if label is None else self.classes[label]

    def check(self) -> None:
        """Raise a ValueError if the model has no such class, or cannot make videos of the prompts.

        It encodes every prompt.
        """
        self._request(range(max(1, len(self.prompts))))

    def title(self, index: int) -> str:
        return f"{self.name}, seed {self.first_seed + index}"

    def identity(self) -> Any:
        """JSON data: the result of ``contents()``, and which videos the folder ``keep`` holds.

        With the latter, cached features are not used before these videos are written.
        """
        kept = None if self.keep is None else to_dict(_read_kept(self.keep))
        return {"videos": self.contents(), "kept": kept}

    def contents(self) -> Any:
        """JSON data of all that the videos depend on, such as weights and seeds; for cache keys."""
        text = {"prompts": self.prompts} if self.prompts else {}
        return {
            **text,
            "index": to_dict(self.model.index),
            "sampling": to_dict(self.sampling),
            "label": self.label_words,
            "levels": self.levels,
            "first_seed": self.first_seed,
            "frames": self.frames,
            "dtype": str(next(self.model.autoencoder.parameters()).dtype),
            **self._run_by,
        }

    def about(self) -> dict[str, Any]:
        """JSON data for results: hashes of weights, sampling settings, label, seeds and so on."""
        index = self.model.index
        return {
            "model": digest(index.weights),
            "weights": dict(index.weights),
            "averaged": index.ema,
            "sampling": to_dict(self.sampling),
            "label": self.label_words or "a class a seed" if index.classes else self.label_words,
            "seeds": [self.first_seed, self.first_seed + self.videos - 1],
            **self._run_by,
            **({"prompts": len(self.prompts)} if self.prompts else {}),
        }

    @property
    def _run_by(self) -> dict[str, Any]:
        return {} if self.backend is None else {"backend": dict(self.backend.identity)}

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        """Sample video ``index`` and return ``count`` frames, every ``stride``-th.

        They begin with ``start_frame``. ``read_clips`` samples several videos at once.

        Raises:
            VideoError: a video cannot be written to ``keep``.
            FloatingPointError: a sample is not finite.
        """
        (clip,) = self.read_clips([ClipPosition(index, start_frame)], count, stride)
        return clip

    def read_clips(
        self,
        positions: Sequence[ClipPosition],
        count: int,
        stride: int,
        prepare: Preparation = unchanged,
    ) -> Iterator[Frames]:
        """Sample the videos at ``positions``, ``batch`` at a time, and yield a clip of each.

        A clip has ``count`` frames, every ``stride``-th of the video from its start on, to which
        ``prepare`` is applied.

        Raises:
            VideoError: a video cannot be written to ``keep``.
            FloatingPointError: a sample is not finite.
        """
        long_video = self.model.long_video(self.sampling, self.backend)
        for first in range(0, len(positions), self.batch):
            chosen = positions[first : first + self.batch]
            seeds = [self.first_seed + position.video for position in chosen]
            parts = long_video(self._request(seeds), self.frames)
            sampled = torch.cat([part.pixels for part in parts], 2)[:, :, : self.frames]
            for seed, position, video in zip(seeds, chosen, sampled, strict=True):
                whole = to_pixels(video, self.levels)
                if self.keep is not None:
                    path = self.keep / f"seed_{seed:05d}.mkv"
                    with VideoWriter(path, self.model.index.fps, overwrite=True) as writer:
                        writer.write(whole)
                yield prepare(whole[position.start_frame :: stride][:count])

    def _prompt(self, seed: int) -> str:
        return self.prompts[seed % len(self.prompts)]

    def _request(self, seeds: Sequence[int]) -> Request:
        prompt = None
        if self.prompts:
            prompt = Prompt([self._prompt(seed) for seed in seeds], encoder=self.text_encoder)
        return self.model.request(seeds, self.label_words, prompt)


def open_kept(source: ModelVideos, folder: Path) -> None:
    """Prepare a folder in which ``source`` keeps its videos; continue one that has some of them.

    Raises:
        ValueError: the folder holds videos made with other settings, or other files, or its
            ``kept.json`` is not valid.
    """
    path, videos = folder / KEPT, digest(source.contents())
    if path.exists() and _read_kept(folder).videos == videos:
        return
    there = {p.name for p in folder.iterdir()} if folder.exists() else set()
    if there - {f".{KEPT}.partial"}:  # which a kill may leave
        held = (
            "holds videos made with other settings (model, sampling, label, prompts, seeds, length "
            "or precision); choose another folder to keep videos in"
            if path.exists()
            else "is not empty, and its files are not kept videos; choose another folder"
        )
        raise ValueError(f"{folder}: {held}")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"videos": videos, "made": time.time_ns()}) + "\n")


def _read_kept(folder: Path) -> Kept:
    return read_config(folder / KEPT, Kept)
