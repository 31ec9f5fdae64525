"""A cache of latents on disk, so that a denoiser's training never waits for the autoencoder.

Posterior mean and log-variance are kept, so that training draws from the posterior as if it were
encoded anew. A cache belongs to one autoencoder, one source and one plan: its key is their hash.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
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
from longtake.distributed import Ranks
from longtake.latents import LatentScaling
from longtake.noise import generator
from longtake.progress import ProgressCallback, no_progress
from longtake.video import to_model

FORMAT = 1
INDEX = "index.json"
SHARD_ITEMS = 128


class CachePlan(Config):
    """What is encoded; how far clips overlap is a setting of the denoiser.

    Attributes:
        copies: clips drawn from each video, each with its own start, crop and flip.
        batch: autoencoder clips encoded at once.
        seed: of the draws.
    """

    copies: Annotated[int, Ge(1)] = 1
    batch: Annotated[int, Ge(1)] = 8
    seed: int = 0


class CachedShard(Config):
    """One file of a cache."""

    file: str
    sha256: str
    items: int


class CacheIndex(Config):
    """``index.json``: what a cache holds, written when all of it is there.

    Attributes:
        format: of the cache.
        key: hash of what it was made from.
        classes: names of the labels.
        mean: over all elements of all latents.
        deviation: likewise, that of the posterior included.
        shards: in order.
    """

    format: Literal[1] = FORMAT
    key: str
    classes: tuple[str, ...]
    mean: float
    deviation: float
    shards: tuple[CachedShard, ...]


@dataclass(frozen=True, kw_only=True)
class Cached:
    """One clip's cached posterior and what belongs to it."""

    posterior: Posterior
    label: int
    caption: str


def cache_key(
    source: ClipSource, autoencoder: VideoAutoencoder, plan: CachePlan, overlap_frames: int = 0
) -> str:
    """Hash of everything that a cached latent depends on."""
    return digest(
        {
            "format": FORMAT,
            "autoencoder": weights_hash(autoencoder),
            "source": source.identity(),
            "copies": plan.copies,
            "seed": plan.seed,
            **({"overlap": overlap_frames} if overlap_frames else {}),  # older caches stay valid
        }
    )


def build_cache(
    folder: Path,
    source: ClipSource,
    autoencoder: VideoAutoencoder,
    plan: CachePlan,
    ranks: Ranks,
    report: ProgressCallback = no_progress,
    overlap_frames: int = 0,
) -> "LatentCache":
    """Encode a source, or finish an interrupted encoding, and open the cache.

    Long clips are encoded window by window of the autoencoder's trained length, neighbouring
    windows sharing ``overlap_frames``.

    Args:
        folder: of this cache; made where absent. Whole shards of an interrupted build are kept.
        source: clips as long as some of the autoencoder's are, laid end to end with the overlap.
        autoencoder: on the device where it computes.
        plan: what to encode.
        ranks: shards are dealt over its processes.
        report: called with clips done and clips in all.
        overlap_frames: frames of video that each window shares with the one before, as the denoiser
            to train expects (``LatentSpec.clip_overlap_frames``).

    Raises:
        ValueError: these latents cannot have that overlap, or clips have another length.
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
            _write_shard(path, key, _encode(source, autoencoder, plan, overlap_frames, items))
        report(min(start + SHARD_ITEMS * ranks.size, total), total)
    ranks.barrier()
    if ranks.main:
        _write_index(folder, key, len(starts), source.classes)
    ranks.barrier()
    return LatentCache(folder, key)


class LatentCache:
    """An opened cache: memory-mapped, checked against its index.

    Attributes:
        folder: of the cache.
        index: what it holds.

    Args:
        folder: of the cache.
        key: what it must have been made from; None accepts any.

    Raises:
        CheckpointError: stale, incomplete or broken; the message names the file.
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
        self._counts = [shard.items for shard in self.index.shards]

    def __len__(self) -> int:
        return sum(self._counts)

    def __getitem__(self, item: int) -> Cached:
        place = 0
        for shard, count in zip(self._shards, self._counts, strict=True):
            if item < place + count:
                row = item - place
                return Cached(
                    posterior=Posterior(
                        mean=shard.get_slice("mean")[row : row + 1],
                        log_variance=shard.get_slice("log_variance")[row : row + 1],
                    ),
                    label=int(shard.get_slice("label")[row : row + 1]),
                    caption=json.loads(shard.metadata()["captions"])[row],
                )
            place += count
        raise IndexError(f"item {item} of {len(self)}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.index.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, F, h, w)`` of one cached clip."""
        return tuple(self._shards[0].get_slice("mean").get_shape()[1:])

    @property
    def latent_scaling(self) -> LatentScaling:
        """Shift and scale that give the latents mean 0 and deviation 1, over all channels."""
        return LatentScaling(shift=-self.index.mean, scale=1 / self.index.deviation)

    def _open(self, shard: CachedShard) -> Any:
        path = self.folder / shard.file
        if not path.exists():
            raise CheckpointError(f"{path}: shard is missing; remove {self.folder} to encode anew")
        if file_hash(path) != shard.sha256:
            raise CheckpointError(f"{path}: broken shard; remove {self.folder} to encode anew")
        return safe_open(path, framework="pt")


def _encode(
    source: ClipSource,
    autoencoder: VideoAutoencoder,
    plan: CachePlan,
    overlap_frames: int,
    items: range,
) -> Iterator[Cached]:
    window = autoencoder.spec.clip[0]
    weight = next(autoencoder.parameters())
    for item in items:
        copy, index = divmod(item, len(source))
        clip = source.clip(index, generator(plan.seed, "cache", copy, index))
        _check_length(len(clip.frames), window, overlap_frames)
        video = to_model(clip.frames).unfold(1, window, window - overlap_frames)
        video = video.permute(1, 0, 4, 2, 3)
        parts = [
            _posterior(autoencoder, part.to(weight.device, weight.dtype))
            for part in video.split(plan.batch)
        ]
        yield Cached(
            posterior=Posterior(
                mean=torch.cat([p.mean for p in parts]).transpose(0, 1).flatten(1, 2)[None],
                log_variance=torch.cat([p.log_variance for p in parts])
                .transpose(0, 1)
                .flatten(1, 2)[None],
            ),
            label=-1 if clip.label is None else clip.label,
            caption=clip.caption or "",
        )


def _check_length(frames: int, window: int, overlap: int) -> None:
    hop = window - overlap
    rest = (frames - window) % hop
    if frames >= window and not rest:
        return
    below = frames - rest
    valid = f"{below} and {below + hop}" if below >= window else f"{window} and {window + hop}"
    sharing = f" that share {overlap}" if overlap else ""
    raise ValueError(
        f"clips to cache have {frames} frames, must be a number of the autoencoder's clips of "
        f"{window}{sharing}; the nearest valid lengths are {valid} (data.plan.frames)"
    )


@torch.no_grad()
def _posterior(autoencoder: VideoAutoencoder, video: Float[Tensor, "b 3 t h w"]) -> Posterior:
    posterior = autoencoder.encode(video)
    return Posterior(
        mean=posterior.mean.float().cpu(), log_variance=posterior.log_variance.float().cpu()
    )


def _write_shard(path: Path, key: str, items: Iterator[Cached]) -> None:
    rows = list(items)
    labels = torch.tensor([row.label for row in rows])
    write_tensors(
        path,
        {
            "mean": torch.cat([row.posterior.mean for row in rows]),
            "log_variance": torch.cat([row.posterior.log_variance for row in rows]),
            "label": labels,
        },
        {"key": key, "captions": json.dumps([row.caption for row in rows])},
    )


def _write_index(folder: Path, key: str, shards: int, classes: tuple[str, ...]) -> None:
    entries = []
    count, total, squares = 0, 0.0, 0.0
    for number in range(shards):
        path = folder / _shard_name(number)
        with safe_open(path, framework="pt") as file:
            mean = file.get_tensor("mean").double()
            variance = file.get_tensor("log_variance").double().exp()
        count += mean.numel()
        total += mean.sum().item()
        squares += (mean**2 + variance).sum().item()
        entries.append(CachedShard(file=path.name, sha256=file_hash(path), items=len(mean)))
    center = total / count
    index = CacheIndex(
        key=key,
        classes=classes,
        mean=center,
        deviation=(squares / count - center**2) ** 0.5,
        shards=tuple(entries),
    )
    write_text(folder / INDEX, index.model_dump_json(indent=1) + "\n")


def _is_ours(path: Path, key: str) -> bool:
    """Whether a shard of an interrupted build is whole and of this cache."""
    if not path.exists():
        return False
    try:
        return read_metadata(path).get("key") == key
    except CheckpointError:
        return False


def _shard_name(number: int) -> str:
    return f"latents_{number:05d}.safetensors"
