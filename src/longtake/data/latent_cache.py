"""Latents of training clips; those of a cache, if it is complete and fits its index."""

import os
import stat
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic import FiniteFloat, StringConstraints, model_validator
from safetensors import SafetensorError, safe_open

from longtake.autoencoders.base import Posterior
from longtake.checkpoint import CheckpointError, file_hash, is_finite, read_config, read_metadata
from longtake.config import Config, plural
from longtake.data.file_facts import file_facts
from longtake.diffusion.signals import ABSENT
from longtake.documents import parse_json
from longtake.latents import LatentScaling

FORMAT = 1
INDEX = "index.json"
SHARDS_OPEN = 1024  # shards mapped into memory at once
FACTS = "latent shard 1"  # name of what ``_shard_facts`` finds out
REMEDY = "remove it to encode again, or set cache_folder to another"


class CachedShard(Config):
    """One safetensors file of a latent cache, as ``index.json`` lists it.

    Attributes:
        file: name of the file in the cache's folder.
        sha256: SHA-256 of the file, in hexadecimal digits.
        items: number of clips in the file.
    """

    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+\.safetensors$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    items: Annotated[int, Ge(1)]


class CacheIndex(Config):
    """Contents of ``index.json`` of a latent cache; written when the cache is complete.

    Attributes:
        format: version of the cache's format.
        key: hash of everything that the latents depend on: the autoencoder, the videos, and which
            clips of them are encoded.
        classes: name of each class; empty without classes.
        mean: mean over all elements of all latents.
        std: standard deviation over all elements, including the variance of the posterior.
        shards: the files that hold the latents, in the order of the clips.
    """

    renamed: ClassVar[Mapping[str, str]] = {"deviation": "std"}

    format: Literal[1] = FORMAT
    key: str
    classes: tuple[str, ...]
    mean: FiniteFloat
    std: Annotated[FiniteFloat, Gt(0)]
    shards: Annotated[tuple[CachedShard, ...], MinLen(1)]

    @model_validator(mode="after")
    def _different_files(self) -> "CacheIndex":
        name, times = Counter(shard.file for shard in self.shards).most_common(1)[0]
        if times > 1:
            raise ValueError(f"the index lists {name} {times} times; expected each shard once")
        return self


@dataclass(frozen=True, kw_only=True)
class CachedClip:
    """Latents of a clip to train on.

    Attributes:
        posterior: posterior, a batch of 1.
        label: class; -1: no class.
        item: number by which ``ClipLatents.caption`` returns the clip's caption.
    """

    posterior: Posterior
    label: int
    item: int


class ClipLatents(ABC):
    """Latents of the clips that a denoiser is trained on, by the number of the clip."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, places: Sequence[tuple[int, int]]) -> list[CachedClip]:
        """Latents of some clips, each given by an epoch, counted from 0, and its number.

        Raises:
            VideoError: too many videos cannot be read.
            ValueError: latents are not finite.
        """

    @abstractmethod
    def caption(self, item: int) -> str:
        """Caption of clip ``item``; empty if it has none."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of each clip's latent: ``(C, F, h, w)`` of a volume, ``(C, N)`` of planes."""

    @property
    @abstractmethod
    def latent_scaling(self) -> LatentScaling:
        """Shift and scale that give all elements of all latents mean 0 and standard deviation 1."""


class LatentCache(ClipLatents):
    """Read access to a latent cache: memory-mapped, and checked against its index.

    Args:
        folder: folder of the cache.
        key: hash that the cache must have been built with; None accepts any.
        caption_of: returns the present caption of a video by its index in the source, None if it
            has none. Without this function, and in caches of earlier versions, clips have the
            captions that were stored with them.

    Raises:
        CheckpointError: the cache has another key, is incomplete or broken; the message names the
            file.
    """

    def __init__(
        self,
        folder: Path,
        key: str | None = None,
        caption_of: Callable[[int], str | None] | None = None,
    ) -> None:
        self.folder, self._caption_of = folder, caption_of
        self.index = read_index(folder)
        if key is not None and self.index.key != key:
            raise CheckpointError(
                f"{folder}: stale latent cache: its key is {self.index.key}, expected {key}; "
                f"{REMEDY}"
            )
        self._shape = self._checked()
        self._shard = lru_cache(SHARDS_OPEN)(self._open)
        self._captions = lru_cache(SHARDS_OPEN)(self._read_captions)
        self._ends = list(accumulate(shard.items for shard in self.index.shards))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, item: int) -> CachedClip:
        if not 0 <= item < len(self):
            raise IndexError(f"clip {item} of the cache must be from 0 to {len(self) - 1}")
        number = bisect_right(self._ends, item)
        row = item - self._ends[number] + self.index.shards[number].items
        mean, log_variance, label = (
            self._shard(number).get_slice(name)[row : row + 1]
            for name in ("mean", "log_variance", "label")
        )
        posterior = Posterior(mean=mean, log_variance=log_variance)
        return CachedClip(posterior=posterior, label=int(label), item=item)

    def read(self, places: Sequence[tuple[int, int]]) -> list[CachedClip]:
        """Latents of some clips, which are equal in every epoch."""
        return [self[item] for _, item in places]

    def caption(self, item: int) -> str:
        number = bisect_right(self._ends, item)
        row = item - self._ends[number] + self.index.shards[number].items
        captions, videos = self._captions(number)
        if self._caption_of is None or not videos:
            return captions[row]
        return self._caption_of(videos[row]) or ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class; empty without classes."""
        return self.index.classes

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def latent_scaling(self) -> LatentScaling:
        return LatentScaling(shift=-self.index.mean, scale=1 / self.index.std)

    def _read_captions(self, number: int) -> tuple[list[str], list[int]]:
        """Caption of each clip of a shard, and index of its video.

        Earlier versions stored no indices: the list is empty then.
        """
        texts = read_metadata(self.folder / self.index.shards[number].file)
        return parse_json(texts["captions"]), parse_json(texts.get("videos", "[]"))

    def _open(self, number: int) -> Any:
        return safe_open(self.folder / self.index.shards[number].file, framework="pt")

    def _checked(self) -> tuple[int, ...]:
        """Check every shard against the index; return the shape of a clip's latent.

        Raises:
            CheckpointError: a shard is missing, broken, or not as the index says.
        """
        shards = {self.folder / shard.file: shard for shard in self.index.shards}
        again = f"remove {self.folder} to encode again"
        for path in shards:
            if not os.path.lexists(path):
                raise CheckpointError(f"{path}: shard is missing; {again}")
            if not stat.S_ISREG(path.lstat().st_mode):
                raise CheckpointError(f"{path}: is a link or a folder, expected a file; {again}")
        shape = None
        for path, facts in zip(shards, file_facts(FACTS, list(shards), _shard_facts), strict=True):
            items, tensors = shards[path].items, facts["tensors"]
            shape = tensors.get("mean", ["", [0]])[1][1:] if shape is None else shape
            clips = ["F32", [items, *shape]]
            if facts["sha256"] != shards[path].sha256:
                raise CheckpointError(f"{path}: broken shard; {again}")
            if tensors != {"mean": clips, "log_variance": clips, "label": ["I64", [items]]}:
                raise CheckpointError(
                    f"{path}: the shard holds {tensors}, expected mean and log_variance of "
                    f"{plural(items, 'clip')} of one shape, float32, and their label, int64; "
                    f"{again}"
                )
            if not facts["finite"]:
                raise CheckpointError(f"{path}: the shard has latents that are not finite; {again}")
            if not ABSENT <= facts["labels"][0] <= facts["labels"][1] < max(1, len(self.classes)):
                raise CheckpointError(
                    f"{path}: the shard has labels from {facts['labels'][0]} to "
                    f"{facts['labels'][1]} for {plural(len(self.classes), 'class')}; {again}"
                )
        return tuple(shape or ())


def read_index(folder: Path) -> CacheIndex:
    """Read ``index.json`` of a latent cache; a CheckpointError if it is missing or not valid."""
    if not (folder / INDEX).exists():
        raise CheckpointError(
            f"{folder}: no latent cache, or an incomplete one (it has no {INDEX}, which is written "
            "last); name another folder, or encode again"
        )
    try:
        return read_config(folder / INDEX, CacheIndex)
    except ValueError as error:
        raise CheckpointError(f"{folder}: a broken latent cache ({error}); {REMEDY}") from error


def _shard_facts(path: Path) -> dict[str, Any]:
    """Facts of a shard by name: its hash, its tensors' types and shapes, range of its labels.

    Also whether all values are finite. The hash is empty if the shard cannot be opened.
    """
    facts: dict[str, Any] = {"sha256": file_hash(path), "tensors": {}}
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            facts["tensors"] = {n: [s.get_dtype(), s.get_shape()] for n, s in slices.items()}
            if {"mean", "log_variance", "label"} <= slices.keys():
                values = [file.get_tensor(name) for name in ("mean", "log_variance", "label")]
                facts["finite"] = all(map(is_finite, values))
                facts["labels"] = [int(values[2].min()), int(values[2].max())]
    except (SafetensorError, RuntimeError):
        facts["sha256"] = ""
    return facts
