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

from longtake.checkpoint import (
    CheckpointError,
    is_finite,
    read_tensors,
    write_tensors,
    write_text,
)
from longtake.config import digest, identity, to_dict
from longtake.data.source import ClipPosition, Frames, VideoSource, unchanged
from longtake.distributed import Ranks
from longtake.evaluation.protocols import Protocol, Role
from longtake.features.i3d import cache_path
from longtake.latents import finite
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


def network_of(protocol: Protocol, weights: str | None = None) -> FeatureNetwork:
    """The network of a protocol, from a file of weights or that in the cache."""
    return FeatureNetwork(
        network=protocol.build(weights), treat=protocol.treat, identity=identity(protocol.network)
    )


@dataclass(frozen=True, kw_only=True)
class FeatureRequest:
    """Clips of a source whose features are wanted.

    The protocol's settings for the source's ``role``, real or generated, apply.

    Attributes:
        positions: the clips, in order.
        seed: seed that selected the clips.
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
                "protocol": identity(self.protocol),
                "source": self.source.identity(),
                "role": self.role,
                "seed": self.seed,
                "positions": [list(position) for position in self.positions],
            }
        )

    def clips(self, numbers: Sequence[int]) -> Iterator[Frames]:
        """Frames of the clips of these indices; real ones as the protocol has them stored."""
        chosen, protocol = [self.positions[number] for number in numbers], self.protocol
        stored = protocol.stored if self.role == "real" else unchanged
        stride = protocol.stride(self.role)
        return self.source.read_clips(chosen, protocol.frames, stride, stored)

    def features(self, clips: Sequence[Frames]) -> Float[Tensor, "b d"]:
        """Features of a batch of clips, on the CPU."""
        network = self.network.network
        device = next(chain(network.parameters(), network.buffers())).device
        treated = [self.network.treat(torch.from_numpy(clip).to(device)) for clip in clips]
        found = network(torch.stack(treated)).float().cpu()
        return finite(found, "features", [f"a clip of {self.source.name}"] * len(found), 0)


@dataclass(frozen=True, kw_only=True)
class FeatureCache:
    """Features on disk: a folder for each key, a file for each shard, each complete or absent.

    Attributes:
        folder: folder of all keys; None caches nothing.
    """

    folder: Path | None

    def read(self, key: str, shard: int, rows: int, width: int) -> Float[Tensor, "n d"] | None:
        """A shard; None if it is absent or damaged."""
        if self.folder is None:
            return None
        try:
            found = read_tensors(self.folder / key / f"{shard:05d}.safetensors").get("features")
        except CheckpointError:
            return None
        fits = found is not None and found.shape == (rows, width) and is_finite(found)
        return found if fits else None

    def write(self, key: str, shard: int, rows: Float[Tensor, "n d"]) -> None:
        """Cache a shard."""
        if self.folder is not None:
            (self.folder / key).mkdir(parents=True, exist_ok=True)
            write_tensors(self.folder / key / f"{shard:05d}.safetensors", {"features": rows})

    def describe(self, key: str, about: dict[str, Any]) -> None:
        """Write a readable description of a key beside its shards."""
        if self.folder is not None and (self.folder / key).is_dir():
            write_text(self.folder / key / "about.json", json.dumps(about, indent=2) + "\n")


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

    Each process computes every ``ranks.size``-th shard, reports its own clips, and returns all
    features. They do not depend on ``batch``, the number of clips in a forward pass.
    """
    key, total = request.key(), len(request.positions)
    width: Any = request.network.network.width
    mine = ranks.shard([range(n, min(n + SHARD, total)) for n in range(0, total, SHARD)])
    features, missing = torch.zeros(total, width), []
    for shard in mine:
        rows = cache.read(key, shard.start // SHARD, len(shard), width)
        if rows is None:
            missing.append(shard)
        else:
            features[shard.start : shard.stop] = rows
    own = sum(map(len, mine))
    done = own - sum(map(len, missing))
    report(done, own)
    clips = request.clips([number for shard in missing for number in shard])
    for shard in missing:
        rows, unread = features[shard.start : shard.stop], islice(clips, len(shard))
        for first in range(0, len(shard), batch):
            chosen = list(islice(unread, batch))
            rows[first : first + batch] = request.features(chosen)
            done += len(chosen)
            report(done, own)
        cache.write(key, shard.start // SHARD, rows)
    if ranks.main:
        about = {"source": request.source.name, "network": request.network.identity}
        cache.describe(key, {**about, "protocol": to_dict(request.protocol)})
    return ranks.gather(features[None].to(ranks.device)).sum(0).cpu()
