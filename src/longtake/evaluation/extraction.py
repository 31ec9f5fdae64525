"""Features of the clips of a side: computed once, kept on the disk, the same from any processes."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.checkpoint import CheckpointError, read_tensors, write_tensors, write_text
from longtake.config import digest, to_dict
from longtake.distributed import Ranks
from longtake.evaluation.protocols import Network, Protocol, Role
from longtake.evaluation.sides import Pick, Side
from longtake.features.c3d import C3D
from longtake.features.i3d import cache_path
from longtake.progress import ProgressCallback, no_progress

SHARD = 64
"""Clips whose features are one file: what an interrupted command loses at most."""


@dataclass(frozen=True, kw_only=True)
class FeatureNetwork:
    """A network besides the protocol's that is shown the same clips.

    Attributes:
        network: on the device where it computes.
        treat: what is done to a clip first.
        settings: plain data that differs where the network's outputs may.
    """

    network: C3D
    treat: Callable[[UInt8[Tensor, "_ _ _ 3"]], Float[Tensor, "3 _ _ _"]]
    settings: Any


@dataclass(frozen=True, kw_only=True)
class FeatureRequest:
    """Features that are wanted.

    Attributes:
        side: whose.
        role: of the side under the protocol.
        protocol: how clips become features.
        picks: the clips, in order.
        seed: that picked them.
        eyes: that see the clips; the protocol's own network where None.
    """

    side: Side
    role: Role
    protocol: Protocol
    picks: Sequence[Pick]
    seed: int
    eyes: FeatureNetwork | None = None

    def key(self) -> str:
        """Of everything that the features depend on."""
        return digest(
            {
                "protocol": to_dict(self.protocol),
                "side": self.side.identity(),
                "role": self.role,
                "seed": self.seed,
                "picks": [list(pick) for pick in self.picks],
                "eyes": None if self.eyes is None else self.eyes.settings,
            }
        )

    def treat(self, clip: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "3 _ _ _"]:
        """A clip as the network takes it."""
        return (self.protocol if self.eyes is None else self.eyes).treat(clip)

    def clips(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """Some of the clips."""
        chosen = [self.picks[number] for number in numbers]
        return self.side.clips(chosen, self.protocol.frames, self.protocol.stride(self.role))


@dataclass(frozen=True, kw_only=True)
class FeatureCache:
    """Features on the disk, by key; a folder a key and a file a shard, each whole or not there.

    Attributes:
        folder: of all keys; None keeps nothing.
    """

    folder: Path | None

    def read(self, key: str, shard: int, rows: int, width: int) -> Float[Tensor, "n d"] | None:
        """A shard; None where it is not there, or damaged."""
        if self.folder is None or not (path := self._path(key, shard)).exists():
            return None
        try:
            found = read_tensors(path).get("features")
        except CheckpointError:
            return None
        return found if found is not None and found.shape == (rows, width) else None

    def write(self, key: str, shard: int, rows: Float[Tensor, "n d"]) -> None:
        """Keep a shard."""
        if self.folder is None:
            return
        path = self._path(key, shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, {"features": rows})

    def describe(self, key: str, about: dict[str, Any]) -> None:
        """Write what a key stands for beside its shards, for people."""
        if self.folder is not None and (self.folder / key).is_dir():
            write_text(self.folder / key / "about.json", json.dumps(about, indent=2) + "\n")

    def _path(self, key: str, shard: int) -> Path:
        assert self.folder is not None
        return self.folder / key / f"{shard:05d}.safetensors"


def default_cache() -> Path:
    """Where features are kept unless the user says otherwise."""
    return cache_path().parent / "features"


@torch.no_grad()
def extract(
    network: Network | C3D,
    wanted: FeatureRequest,
    *,
    cache: FeatureCache,
    ranks: Ranks,
    batch: int = 16,
    report: ProgressCallback = no_progress,
) -> Float[Tensor, "n d"]:
    """Features, in the order of the picks: from the cache, and those it lacks computed.

    Each process computes every ``ranks.size``-th shard; all get all features.

    Args:
        network: on the device where it computes.
        wanted: what.
        cache: where features are looked up and kept.
        ranks: of the processes that work together.
        batch: clips that the network sees at once; the features do not depend on it.
        report: hears clips done and clips in all, of this process.
    """
    key, total = wanted.key(), len(wanted.picks)
    shards = [range(first, min(first + SHARD, total)) for first in range(0, total, SHARD)]
    mine = ranks.shard(list(enumerate(shards)))
    features = torch.zeros(total, network.width)
    missing = []
    for number, numbers in mine:
        rows = cache.read(key, number, len(numbers), network.width)
        if rows is None:
            missing.append((number, numbers))
        else:
            features[numbers.start : numbers.stop] = rows
    own = sum(len(numbers) for _, numbers in mine)
    done = own - sum(len(numbers) for _, numbers in missing)
    report(done, own)
    clips = wanted.clips([n for _, numbers in missing for n in numbers])
    for number, numbers in missing:
        parts = []
        for rows in _batches(network, islice(clips, len(numbers)), wanted, batch):
            parts.append(rows)
            done += len(rows)
            report(done, own)
        features[numbers.start : numbers.stop] = torch.cat(parts)
        cache.write(key, number, features[numbers.start : numbers.stop])
    if ranks.main:
        cache.describe(key, {"side": wanted.side.name, "protocol": to_dict(wanted.protocol)})
    return ranks.gather(features[None].to(ranks.device)).sum(0).cpu()


def _batches(
    network: Network | C3D, clips: Iterator[np.ndarray], wanted: FeatureRequest, batch: int
) -> Iterator[Float[Tensor, "b d"]]:
    device = next(chain(network.parameters(), network.buffers())).device
    while chosen := list(islice(clips, batch)):
        treated = [wanted.treat(torch.from_numpy(clip).to(device)) for clip in chosen]
        yield network(torch.stack(treated)).float().cpu()
