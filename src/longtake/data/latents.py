"""A cache of latents on disk, so that training a denoiser does not wait for the autoencoder.

Posterior mean and log-variance are cached, so that training draws a new sample of the posterior
each time. A cache belongs to one autoencoder, one source and one plan: its key is their hash.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from longtake.autoencoders.base import Posterior, VideoAutoencoder
from longtake.checkpoint import (
    CheckpointError,
    file_hash,
    read_metadata,
    weights_hash,
    write_tensors,
    write_text,
)
from longtake.config import differences, digest, plural
from longtake.data.cache_plan import CachePlan, PlannedClips
from longtake.data.clips import Clip, ClipPlan, ClipSource
from longtake.data.encode import encode_clips, latent_moments
from longtake.data.forward import read_ahead
from longtake.data.latent_cache import (
    FORMAT,
    INDEX,
    REMEDY,
    CachedShard,
    CacheIndex,
    LatentCache,
    read_index,
)
from longtake.diffusion.signals import ABSENT
from longtake.distributed import Ranks
from longtake.documents import DocumentError, read_json_like
from longtake.latents import LatentSpec
from longtake.progress import ProgressCallback, no_progress

ORIGIN = "origin.json"
SHARD_ITEMS = 128
CLIPS_AHEAD = 4  # that are read while others are encoded
CAUSES = 3  # differences that the message about a stale cache names


def cache_key(
    source: ClipSource, autoencoder: VideoAutoencoder, plan: CachePlan, overlap_frames: int = 0
) -> str:
    """Hash of everything that cached latents depend on: source, autoencoder, plan and overlap.

    A clip is encoded in windows; ``overlap_frames`` is the number of frames of video that
    neighbouring windows share.
    """
    return digest(_origin(source, autoencoder, plan, overlap_frames))


def _origin(
    source: ClipSource, autoencoder: VideoAutoencoder, plan: CachePlan, overlap_frames: int
) -> dict[str, Any]:
    """JSON data of everything that cached latents depend on; ``cache_key`` is its hash."""
    parts = {
        "format": FORMAT,
        "autoencoder": weights_hash(autoencoder),
        "source": source.identity(),
        **plan.chosen(source),
        "seed": plan.seed,
    }
    return {**parts, **({"overlap": overlap_frames} if overlap_frames else {})}


def cached_shape(
    plan: ClipPlan, spec: LatentSpec, overlap_frames: int = 0, source: str = "data"
) -> tuple[int, ...]:
    """Shape of the latents of one cached clip: ``(C, F, h, w)`` of a volume, ``(C, N)`` of planes.

    Args:
        plan: plan of the clips to cache.
        spec: shape of the autoencoder's latents.
        overlap_frames: number of frames of video that neighbouring windows share; see
            ``build_cache``.
        source: name of the setting that holds ``plan``, for error messages.

    Raises:
        ValueError: latents of this kind cannot overlap, or clips have another length or size.
    """
    spec.check_overlap(overlap_frames)
    (window, height, width), hop = spec.clip, spec.clip[0] - overlap_frames
    if (plan.height, plan.width) != (height, width):
        raise ValueError(
            f"clips to cache have {plan.height}x{plan.width} pixels (height, width), but those of "
            f"the autoencoder {height}x{width}; set {source}.plan.height and width to that"
        )
    valid = max(window, plan.frames - (plan.frames - window) % hop)
    if plan.frames != valid:
        sharing = f" that share {overlap_frames}" if overlap_frames else ""
        raise ValueError(
            f"clips to cache have {plural(plan.frames, 'frame')}, must be a whole number of the "
            f"autoencoder's clips of {window}{sharing}; the nearest valid lengths are {valid} and "
            f"{valid + hop} ({source}.plan.frames)"
        )
    channels, first, *others = spec.shape
    return channels, first * (1 + (valid - window) // hop), *others


def build_cache(
    folder: Path,
    source: ClipSource,
    autoencoder: VideoAutoencoder,
    plan: CachePlan,
    ranks: Ranks,
    report: ProgressCallback = no_progress,
    overlap_frames: int = 0,
) -> LatentCache:
    """Encode the clips of a source to a latent cache, and open it; continues an interrupted build.

    Each clip is encoded in windows of as many frames as the autoencoder's clips. A window begins
    ``overlap_frames`` frames before the end of the window before it.

    Args:
        folder: folder of the cache; complete shards of an interrupted build are kept.
        source: source of the clips; their length must be that of a whole number of windows: n
            windows of w frames have n * w - (n - 1) * overlap_frames.
        autoencoder: autoencoder on its device.
        plan: which clips to encode.
        ranks: processes, each of which encodes a part of the shards.
        report: called with the number of clips that are done and their total.
        overlap_frames: number of frames of video that neighbouring windows share:
            ``clip_overlap_frames`` of the denoiser that is to be trained.

    Raises:
        ValueError: latents of this kind cannot overlap, clips have another length or size, latents
            are not finite, or all latents are equal.
        CheckpointError: the folder holds a cache of something else, or a broken one.
    """
    shape = cached_shape(source.plan, autoencoder.spec, overlap_frames)
    windows = shape[1] // autoencoder.spec.shape[1]
    origin = _origin(source, autoencoder, plan, overlap_frames)
    key = digest(origin)
    if (folder / INDEX).exists():
        return _opened(folder, _accepted(folder, origin, source, plan), source, ranks)
    clips = PlannedClips(source, plan)
    total = len(clips)
    folder.mkdir(parents=True, exist_ok=True)
    if ranks.main:
        write_text(folder / ORIGIN, json.dumps(origin, indent=1) + "\n")
    starts = range(0, total, SHARD_ITEMS)
    shards = {start: folder / _shard_name(start // SHARD_ITEMS) for start in ranks.shard(starts)}
    todo = {start for start, path in shards.items() if not _is_ours(path, key)}
    items = chain(*(range(start, min(start + SHARD_ITEMS, total)) for start in sorted(todo)))
    with closing(read_ahead((clips[item] for item in items), CLIPS_AHEAD)) as read:
        for start, path in shards.items():
            if start in todo:
                together = _in_groups(islice(read, SHARD_ITEMS), max(1, plan.batch // windows))
                _write_shard(path, key, together, autoencoder, plan.batch, overlap_frames)
            report(min(start + SHARD_ITEMS * ranks.size, total), total)
    ranks.barrier()
    if ranks.main:
        _write_index(folder, key, len(starts), source.classes)
    ranks.barrier()
    return _opened(folder, key, source, ranks)


def _opened(folder: Path, key: str, source: ClipSource, ranks: Ranks) -> LatentCache:
    """Open a complete cache; captions are those that the source has now.

    Those of synthetic videos are stored with each clip, since their wording is random.
    """
    with ranks.first_on_machine():  # it hashes the shards, the others find the hashes
        return LatentCache(folder, key, None if source.rendered else source.caption)


def _accepted(folder: Path, origin: Mapping[str, Any], source: ClipSource, plan: CachePlan) -> str:
    """Key of a finished cache that was made from ``origin``, by this or by an earlier version.

    Raises:
        CheckpointError: the cache was made from something else; the message says what differs.
    """
    index = read_index(folder)
    key = digest(origin)
    if index.key == key:
        return key
    if plan.copies is not None or not plan.given():
        former = {k: v for k, v in origin.items() if k not in plan.chosen(source)}
        former |= {"source": source.former_identity(), "copies": plan.copies or 1}
        if index.key == digest(former):
            return index.key
    path = folder / ORIGIN
    there = _origin_there(path, origin)
    causes = [
        f"{name} {'is new' if a == 'absent' else 'is gone' if b == 'absent' else 'has changed'}"
        for name, (a, b) in differences(there, json.loads(json.dumps(origin))).items()
    ]
    known = "it does not say what it was made from" if digest(there) != index.key else ""
    more = f" and {len(causes) - CAUSES} more" if len(causes) > CAUSES else ""
    raise CheckpointError(
        f"{folder}: stale latent cache: {known or ', '.join(causes[:CAUSES]) + more}; {REMEDY}"
    )


def _origin_there(path: Path, expected: Mapping[str, Any]) -> Any:
    """Read what a cache was made from, for a message with ``expected``; empty if unreadable."""
    try:
        return read_json_like(path, expected)
    except (OSError, DocumentError):
        return {}


def _write_shard(
    path: Path,
    key: str,
    batches: Iterable[Sequence[Clip]],
    autoencoder: VideoAutoencoder,
    windows: int,
    overlap_frames: int,
) -> None:
    """Encode batches of clips, ``windows`` windows at once, and write them to one shard of a cache.

    Raises:
        ValueError: latents are not finite.
    """
    rows = []
    for clips in batches:
        posteriors = encode_clips(autoencoder, clips, windows, overlap_frames)
        for clip, found in zip(clips, posteriors, strict=True):
            label = ABSENT if clip.label is None else clip.label
            rows.append((found.mean, found.log_variance, label, clip.caption or "", clip.video))
    means, log_variances, labels, captions, videos = zip(*rows, strict=True)
    tensors = {
        "mean": torch.cat(means),
        "log_variance": torch.cat(log_variances),
        "label": torch.tensor(labels),
    }
    texts = {"captions": json.dumps(captions), "videos": json.dumps(videos)}
    write_tensors(path, tensors, {"key": key, **texts})


def _in_groups(clips: Iterable[Clip], most: int) -> Iterator[Sequence[Clip]]:
    """Lists of consecutive clips, each of ``most`` but for the last."""
    rest = iter(clips)
    return iter(lambda: [*islice(rest, most)], [])


def _write_index(folder: Path, key: str, shards: int, classes: tuple[str, ...]) -> None:
    paths = [folder / _shard_name(number) for number in range(shards)]
    entries = []

    def posteriors() -> Iterator[Posterior]:
        for path in paths:
            with safe_open(path, framework="pt") as file:
                names = ("mean", "log_variance")
                found = Posterior(**{name: file.get_tensor(name) for name in names})
            yield found
            items = len(found.mean)
            entries.append(CachedShard(file=path.name, sha256=file_hash(path), items=items))

    mean, std = latent_moments(posteriors(), str(folder))
    index = CacheIndex(key=key, classes=classes, mean=mean, std=std, shards=tuple(entries))
    write_text(folder / INDEX, index.model_dump_json(indent=1) + "\n")


def _is_ours(path: Path, key: str) -> bool:
    """Whether a shard of an interrupted build is complete and belongs to the cache of ``key``."""
    try:
        return path.exists() and read_metadata(path).get("key") == key
    except CheckpointError:
        return False


def _shard_name(number: int) -> str:
    return f"latents_{number:05d}.safetensors"
