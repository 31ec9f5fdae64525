"""A cache of latents on disk, so that training a denoiser does not wait for the autoencoder.

Posterior mean and log-variance are cached, so that training draws a new sample of the posterior
each time. A cache belongs to one autoencoder, one source and one plan: its key is their hash.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from einops import rearrange
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from longtake.autoencoders.base import Posterior, VideoAutoencoder
from longtake.checkpoint import (
    CheckpointError,
    file_hash,
    read_config,
    read_metadata,
    weights_hash,
    write_tensors,
    write_text,
)
from longtake.config import Config, digest
from longtake.data.clips import ClipSource
from longtake.diffusion.signals import ABSENT
from longtake.distributed import Ranks
from longtake.latents import LatentScaling
from longtake.noise import generator
from longtake.progress import ProgressCallback, no_progress
from longtake.video import to_model

FORMAT = 1
INDEX = "index.json"
SHARD_ITEMS = 128


class CachePlan(Config):
    """Which clips are encoded, and how; how far they overlap is a setting of the denoiser.

    Attributes:
        copies: number of clips of each video, each with its own start, crop and mirroring.
        batch: number of autoencoder clips in a forward pass.
        seed: seed of the draws.
    """

    copies: Annotated[int, Ge(1)] = 1
    batch: Annotated[int, Ge(1)] = 8
    seed: int = 0


class CachedShard(Config):
    """A file of a cache, and its number of clips."""

    file: str
    sha256: str
    items: int


class CacheIndex(Config):
    """``index.json``: contents of a cache, written when the cache is complete.

    Attributes:
        key: hash of autoencoder, source and plan.
        classes: names of the labels.
        mean: mean over all elements of all latents.
        std: standard deviation over all elements, including that of the posterior.
    """

    renamed: ClassVar[Mapping[str, str]] = {"deviation": "std"}

    format: Literal[1] = FORMAT
    key: str
    classes: tuple[str, ...]
    mean: float
    std: float
    shards: tuple[CachedShard, ...]


@dataclass(frozen=True, kw_only=True)
class CachedClip:
    """Posterior and label of a clip; the label is ``ABSENT`` for a clip without one."""

    posterior: Posterior
    label: int


def cache_key(
    source: ClipSource, autoencoder: VideoAutoencoder, plan: CachePlan, overlap_frames: int = 0
) -> str:
    """Hash of everything that cached latents depend on."""
    parts = {
        "format": FORMAT,
        "autoencoder": weights_hash(autoencoder),
        "source": source.identity(),
        "copies": plan.copies,
        "seed": plan.seed,
    }
    overlap = {"overlap": overlap_frames} if overlap_frames else {}  # older caches stay valid
    return digest({**parts, **overlap})


def build_cache(
    folder: Path,
    source: ClipSource,
    autoencoder: VideoAutoencoder,
    plan: CachePlan,
    ranks: Ranks,
    report: ProgressCallback = no_progress,
    overlap_frames: int = 0,
) -> "LatentCache":
    """Encode a source, or continue an interrupted encoding, and open the cache.

    Clips are encoded in windows of the autoencoder's trained length that share ``overlap_frames``.

    Args:
        folder: folder of the cache; complete shards of an interrupted build are kept.
        source: source whose clips are a whole number of windows long.
        autoencoder: autoencoder on its device.
        plan: which clips to encode.
        ranks: processes that each encode a part of the shards.
        report: called with the number of clips that are done and their total.
        overlap_frames: ``clip_overlap_frames`` of the spec of the denoiser to train.

    Raises:
        ValueError: latents of this kind cannot overlap, or clips have another length.
        CheckpointError: the folder holds a cache of something else, or a broken one.
    """
    autoencoder.spec.check_overlap(overlap_frames)
    key = cache_key(source, autoencoder, plan, overlap_frames)
    total = len(source) * plan.copies
    if (folder / INDEX).exists():
        return LatentCache(folder, key)
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, total, SHARD_ITEMS)
    for start in ranks.shard(starts):
        path = folder / _shard_name(start // SHARD_ITEMS)
        if not _is_ours(path, key):
            items = range(start, min(start + SHARD_ITEMS, total))
            _write_shard(path, key, source, autoencoder, plan, overlap_frames, items)
        report(min(start + SHARD_ITEMS * ranks.size, total), total)
    ranks.barrier()
    if ranks.main:
        _write_index(folder, key, len(starts), source.classes)
    ranks.barrier()
    return LatentCache(folder, key)


class LatentCache:
    """An open cache: memory-mapped, checked against its index.

    Args:
        folder: folder of the cache.
        key: key that the cache must have; None accepts any.

    Raises:
        CheckpointError: the cache is stale, incomplete or broken; the message names the file.
    """

    def __init__(self, folder: Path, key: str | None = None) -> None:
        self.folder = folder
        try:
            self.index: CacheIndex = read_config(folder / INDEX, CacheIndex)
        except ValueError as error:
            raise CheckpointError(
                f"{folder}: no latent cache, or an incomplete one ({error})"
            ) from error
        if key is not None and self.index.key != key:
            raise CheckpointError(
                f"{folder}: stale latent cache: made from another autoencoder, source or plan "
                f"(key {self.index.key}, expected {key}); remove it or name another folder"
            )
        self._shards = [self._open(shard) for shard in self.index.shards]
        self._ends = list(accumulate(shard.items for shard in self.index.shards))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, item: int) -> CachedClip:
        if not 0 <= item < len(self):
            raise IndexError(f"item {item} of {len(self)}")
        number = bisect_right(self._ends, item)
        row = item - self._ends[number] + self.index.shards[number].items
        mean, log_variance, label = (
            self._shards[number].get_slice(name)[row : row + 1]
            for name in ("mean", "log_variance", "label")
        )
        posterior = Posterior(mean=mean, log_variance=log_variance)
        return CachedClip(posterior=posterior, label=int(label))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.index.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a cached clip: ``(C, F, h, w)`` of a volume, ``(C, N)`` of planes."""
        return tuple(self._shards[0].get_slice("mean").get_shape()[1:])

    @property
    def latent_scaling(self) -> LatentScaling:
        """Shift and scale that give all elements together mean 0 and standard deviation 1."""
        return LatentScaling(shift=-self.index.mean, scale=1 / self.index.std)

    def _open(self, shard: CachedShard) -> Any:
        path = self.folder / shard.file
        if not path.exists():
            raise CheckpointError(f"{path}: shard is missing; remove {self.folder} to encode again")
        if file_hash(path) != shard.sha256:
            raise CheckpointError(f"{path}: broken shard; remove {self.folder} to encode again")
        return safe_open(path, framework="pt")


def _write_shard(
    path: Path,
    key: str,
    source: ClipSource,
    autoencoder: VideoAutoencoder,
    plan: CachePlan,
    overlap_frames: int,
    items: Sequence[int],
) -> None:
    """Encode the clips of some items of a cache, and write them."""
    rows = []
    for item in items:
        copy, index = divmod(item, len(source))
        clip = source.clip(index, generator(plan.seed, "cache", copy, index))
        posterior = _encoded(autoencoder, to_model(clip.frames), plan.batch, overlap_frames)
        label = ABSENT if clip.label is None else clip.label
        rows.append((posterior.mean, posterior.log_variance, label, clip.caption or ""))
    means, log_variances, labels, captions = zip(*rows, strict=True)
    tensors = {
        "mean": torch.cat(means),
        "log_variance": torch.cat(log_variances),
        "label": torch.tensor(labels),
    }
    write_tensors(path, tensors, {"key": key, "captions": json.dumps(captions)})


@torch.no_grad()
def _encoded(
    autoencoder: VideoAutoencoder, video: Float[Tensor, "3 t h w"], batch: int, overlap: int
) -> Posterior:
    """Posteriors of a clip's windows, joined along the first latent axis.

    That axis is frames of a volume, cells of planes.
    """
    window = autoencoder.spec.clip[0]
    _check_length(video.shape[1], window, overlap)
    windows = rearrange(video.unfold(1, window, window - overlap), "c n h w t -> n c t h w")
    weight = next(autoencoder.parameters())
    parts = [autoencoder.encode(p.to(weight.device, weight.dtype)) for p in windows.split(batch)]
    mean, log_variance = (
        rearrange(torch.cat([p.float().cpu() for p in each]), "n c first ... -> 1 c (n first) ...")
        for each in zip(*((part.mean, part.log_variance) for part in parts), strict=True)
    )
    return Posterior(mean=mean, log_variance=log_variance)


def _check_length(frames: int, window: int, overlap: int) -> None:
    hop = window - overlap
    valid = max(window, frames - (frames - window) % hop)
    if frames != valid:
        sharing = f" that share {overlap}" if overlap else ""
        raise ValueError(
            f"clips to cache have {frames} frames, must be a whole number of the autoencoder's "
            f"clips of {window}{sharing}; the nearest valid lengths are {valid} and {valid + hop} "
            "(data.plan.frames)"
        )


def _write_index(folder: Path, key: str, shards: int, classes: tuple[str, ...]) -> None:
    entries, count, total, squares = [], 0, 0.0, 0.0
    for number in range(shards):
        path = folder / _shard_name(number)
        with safe_open(path, framework="pt") as file:
            means = file.get_tensor("mean").double()
            variances = file.get_tensor("log_variance").double().exp()
        count += means.numel()
        total += means.sum().item()
        squares += (means**2 + variances).sum().item()
        entries.append(CachedShard(file=path.name, sha256=file_hash(path), items=len(means)))
    mean = total / count
    std = (squares / count - mean**2) ** 0.5
    index = CacheIndex(key=key, classes=classes, mean=mean, std=std, shards=tuple(entries))
    write_text(folder / INDEX, index.model_dump_json(indent=1) + "\n")


def _is_ours(path: Path, key: str) -> bool:
    """Whether a shard of an interrupted build is complete and belongs to this cache."""
    try:
        return path.exists() and read_metadata(path).get("key") == key
    except CheckpointError:
        return False


def _shard_name(number: int) -> str:
    return f"latents_{number:05d}.safetensors"
