"""A model as a side of an evaluation: clips are sampled when they are asked for, and not kept."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.checkpoint import write_text
from longtake.config import digest, to_dict
from longtake.data.clips import Rejected
from longtake.evaluation.protocols import pixel_levels
from longtake.evaluation.sides import Look, Pick, Side
from longtake.generate import LongVideo
from longtake.model import Sampling, VideoModel
from longtake.rollout import Request
from longtake.video import VideoWriter

KEPT = "kept.json"
"""In a folder of kept videos: which they are, and when the first was."""


class ModelSide(Side):
    """Videos of a model, number ``i`` from seed ``first_seed + i``.

    Args:
        name: of the model, as the user calls it.
        model: on the device where it computes.
        sampling: how it is sampled.
        videos: how many there are.
        frames: of each.
        label: class of all; where None, each seed has one of its own.
        levels: how floats become levels of pixels.
        first_seed: of video 0.
        batch: videos sampled at once; no video depends on it.
        keep: folder to write the videos to, one that ``open_kept`` made ready; None keeps none.
    """

    def __init__(  # noqa: PLR0913
        self,
        name: str,
        model: VideoModel,
        sampling: Sampling,
        *,
        videos: int,
        frames: int,
        label: str | None = None,
        levels: Literal["round", "truncate"] = "round",
        first_seed: int = 0,
        batch: int = 8,
        keep: Path | None = None,
    ) -> None:
        self._name, self._model, self._sampling = name, model, sampling
        self._videos, self._frames, self._label = videos, frames, label
        self._levels: Literal["round", "truncate"] = levels
        self._first_seed, self._batch, self._keep = first_seed, batch, keep

    @property
    def name(self) -> str:
        """As the user calls it."""
        return self._name

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the model."""
        return self._model.index.classes

    def __len__(self) -> int:
        return self._videos

    def look(self, video: int) -> Look:
        """The same for all."""
        _, height, width = self._model.autoencoder.spec.clip
        return Look(self._frames, height, width, self._model.index.fps)

    def title(self, video: int) -> str:
        """Its seed."""
        return f"{self._name}, seed {self._first_seed + video}"

    def rejected(self) -> Sequence[Rejected]:
        """None."""
        return ()

    def identity(self) -> Any:
        """All that ``contents`` has, and where videos are kept: cached features write none."""
        kept = None if self._keep is None else json.loads((self._keep / KEPT).read_text())
        return {"videos": self.contents(), "kept": kept}

    def contents(self) -> Any:
        """Weights and settings, sampling, seeds, and how pixels are made."""
        return {
            "index": to_dict(self._model.index),
            "sampling": to_dict(self._sampling),
            "label": self._label,
            "levels": self._levels,
            "first_seed": self._first_seed,
            "frames": self._frames,
            "dtype": str(next(self._model.autoencoder.parameters()).dtype),
        }

    def record(self) -> dict[str, Any]:
        """The model by hash, how it was sampled, and from which seeds."""
        index = self._model.index
        return {
            "model": digest(index.weights),
            "weights": dict(index.weights),
            "averaged": index.ema,
            "sampling": to_dict(self._sampling),
            "label": self._label or "a class a seed" if index.classes else self._label,
            "seeds": [self._first_seed, self._first_seed + self._videos - 1],
        }

    def clips(
        self, picks: Sequence[Pick], frames: int, stride: int
    ) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
        """Sample the videos of the picks, some at a time, and cut their clips."""
        video = self._model.long_video(self._sampling)
        for first in range(0, len(picks), self._batch):
            chosen = picks[first : first + self._batch]
            seeds = [self._first_seed + pick.video for pick in chosen]
            sampled = sample(video, self._model.request(seeds, self._label), self._frames)
            for seed, pick, pixels in zip(seeds, chosen, sampled, strict=True):
                whole = pixel_levels(pixels, self._levels).cpu().numpy()
                self._write(seed, whole)
                yield whole[pick.start_frame :: stride][:frames]

    def _write(self, seed: int, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        if self._keep is None:
            return
        path = self._keep / f"seed_{seed:05d}.mkv"
        with VideoWriter(path, self._model.index.fps, overwrite=True) as writer:
            writer.write(frames)


def open_kept(side: ModelSide, folder: Path) -> None:
    """Make ready a folder for a model's videos, or find the one that a stopped command filled.

    Raises:
        ValueError: other things are in it.
    """
    place, videos = folder / KEPT, digest(side.contents())
    if place.exists() and json.loads(place.read_text())["videos"] == videos:
        return
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: holds other things; choose another folder for --keep")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(place, json.dumps({"videos": videos, "made": time.time_ns()}) + "\n")


def sample(video: LongVideo, request: Request, frames: int) -> Float[Tensor, "b 3 t h w"]:
    """Whole videos, as the decoder gives them: not yet levels of pixels."""
    parts = [part.pixels for part in video.decoded(request, frames)]
    return torch.cat(parts, 2)[:, :, :frames]
