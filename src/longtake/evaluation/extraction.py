"""Features of clips: computed once, cached on disk, equal for any number of processes."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from longtake.checkpoint import CheckpointError, read_tensors, write_tensors, write_text
from longtake.config import digest, to_dict
from longtake.data.source import ClipPosition, Frames, VideoSource
from longtake.distributed import Ranks
from longtake.evaluation.protocols import Protocol, Role
from longtake.features.i3d import cache_path
from longtake.progress import ProgressCallback, no_progress

SHARD = 64
"""Number of clips whose features are one file: the most that an interruption loses."""


@dataclass(frozen=True, kw_only=True)
class FeatureNetwork:
    """A feature network and its preprocessing.

    Attributes:
        network: module on its device; its ``width`` is the number of features.
        treat: converts the frames of a clip to the network's input.
        identity: plain data that differs wherever features may: settings and hash of the weights.
    """

    network: nn.Module
    treat: Callable[[UInt8[Tensor, "_ _ _ 3"]], Float[Tensor, "3 _ _ _"]]
    identity: Any

    @property
    def width(self) -> int:
        """Number of features of a clip."""
        width: Any = self.network.width
        return width


@dataclass(frozen=True, kw_only=True)
class FeatureRequest:
    """Features of some clips of a source.

    Attributes:
        source: source of the videos.
        role: role of the source under the protocol.
        protocol: decides length and stride of clips.
        positions: the clips, in order.
        seed: seed that selected the clips.
        network: network of the features.
    """

    source: VideoSource
    role: Role
    protocol: Protocol
    positions: Sequence[ClipPosition]
    seed: int
    network: FeatureNetwork

    def key(self) -> str:
        """Hash of everything that the features depend on."""
        return digest(
            {
                "network": self.network.identity,
                "protocol": to_dict(self.protocol),
                "source": self.source.identity(),
                "role": self.role,
                "seed": self.seed,
                "positions": [list(position) for position in self.positions],
            }
        )

    def clips(self, numbers: Sequence[int]) -> Iterator[Frames]:
        """Frames of the clips of these indices."""
        chosen = [self.positions[number] for number in numbers]
        return self.source.read_clips(chosen, self.protocol.frames, self.protocol.stride(self.role))

    def features(self, clips: Sequence[Frames]) -> Float[Tensor, "b d"]:
        """Features of a batch of clips, on the CPU."""
        network = self.network.network
        device = next(chain(network.parameters(), network.buffers())).device
        treated = [self.network.treat(torch.from_numpy(clip).to(device)) for clip in clips]
        return network(torch.stack(treated)).float().cpu()


@dataclass(frozen=True, kw_only=True)
class FeatureCache:
    """Features on disk: a folder for each key, a file for each shard, each complete or absent.

    Attributes:
        folder: folder of all keys; None caches nothing.
    """

    folder: Path | None

    def read(self, key: str, shard: int, rows: int, width: int) -> Float[Tensor, "n d"] | None:
        """A shard; None if it is absent or damaged."""
        if self.folder is None or not (path := self._path(key, shard)).exists():
            return None
        try:
            found = read_tensors(path).get("features")
        except CheckpointError:
            return None
        return found if found is not None and found.shape == (rows, width) else None

    def write(self, key: str, shard: int, rows: Float[Tensor, "n d"]) -> None:
        """Cache a shard."""
        if self.folder is None:
            return
        path = self._path(key, shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, {"features": rows})

    def describe(self, key: str, about: dict[str, Any]) -> None:
        """Write a readable description of a key beside its shards."""
        if self.folder is not None and (self.folder / key).is_dir():
            write_text(self.folder / key / "about.json", json.dumps(about, indent=2) + "\n")

    def _path(self, key: str, shard: int) -> Path:
        assert self.folder is not None
        return self.folder / key / f"{shard:05d}.safetensors"


def default_cache() -> Path:
    """Folder of cached features unless the user names another."""
    return cache_path().parent / "features"


@torch.no_grad()
def extract(
    request: FeatureRequest,
    *,
    cache: FeatureCache,
    ranks: Ranks,
    batch: int = 16,
    report: ProgressCallback = no_progress,
) -> Float[Tensor, "n d"]:
    """Features in the order of the positions: read from the cache, or computed and cached.

    Each process computes every ``ranks.size``-th shard; all return all features.

    Args:
        request: clips and network.
        cache: features on disk.
        ranks: processes that work together.
        batch: number of clips in a forward pass; the features do not depend on it.
        report: called with the number of clips that are done and their total, of this process.
    """
    key, total, width = request.key(), len(request.positions), request.network.width
    shards = [range(first, min(first + SHARD, total)) for first in range(0, total, SHARD)]
    mine = ranks.shard(list(enumerate(shards)))
    features = torch.zeros(total, width)
    missing = []
    for number, numbers in mine:
        rows = cache.read(key, number, len(numbers), width)
        if rows is None:
            missing.append((number, numbers))
        else:
            features[numbers.start : numbers.stop] = rows
    own = sum(len(numbers) for _, numbers in mine)
    done = own - sum(len(numbers) for _, numbers in missing)
    report(done, own)
    clips = request.clips([n for _, numbers in missing for n in numbers])
    for number, numbers in missing:
        parts, shard = [], islice(clips, len(numbers))
        while chosen := list(islice(shard, batch)):
            parts.append(request.features(chosen))
            done += len(chosen)
            report(done, own)
        features[numbers.start : numbers.stop] = torch.cat(parts)
        cache.write(key, number, features[numbers.start : numbers.stop])
    if ranks.main:
        about = {"source": request.source.name, "network": request.network.identity}
        cache.describe(key, {**about, "protocol": to_dict(request.protocol)})
    return ranks.gather(features[None].to(ranks.device)).sum(0).cpu()
