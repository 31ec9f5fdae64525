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
    read_metadata,
    read_tensors,
    tensors_hash,
    write_tensors,
    write_text,
)
from longtake.config import digest, identity, to_dict
from longtake.data.source import ClipPosition, Frames, VideoSource, unchanged
from longtake.distributed import Ranks
from longtake.evaluation.protocols import Protocol, Side
from longtake.files import user_cache
from longtake.latents import finite
from longtake.progress import ProgressCallback, no_progress

HASH = "sha256"
SHARD = 64
"""Number of clips whose features are one file: the most that an interruption loses."""


@dataclass(frozen=True, kw_only=True)
class FeatureNetwork:
    """A network that turns clips into features, with its preprocessing.

    Attributes:
        network: module on its device; its ``width`` is the number of features.
        treat: converts the frames of a clip to the network's input.
        identity: JSON data that differs whenever features may: settings and hash of the weights.
    """

    network: nn.Module
    treat: Callable[[UInt8[Tensor, "_ _ _ 3"]], Float[Tensor, "3 _ _ _"]]
    identity: Any


def network_of(protocol: Protocol, weights: str | None = None) -> FeatureNetwork:
    """Load the feature network of a protocol.

    ``weights`` is the file of its weights; None: the file in the user's cache folder.

    Raises:
        CheckpointError: weights are missing, or are not those that the protocol names.
    """
    return FeatureNetwork(
        network=protocol.build(weights), treat=protocol.treat, identity=identity(protocol.network)
    )


@dataclass(frozen=True, kw_only=True)
class FeatureRequest:
    """Clips of a source whose features are to be extracted.

    Attributes:
        source: the videos.
        side: ``real`` or ``generated``; selects among the protocol's settings.
        protocol: how videos become clips and features.
        positions: video and first frame of each clip.
        seed: seed with which the clips were chosen.
        network: the network and its preprocessing.
    """

    source: VideoSource
    side: Side
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
                "role": self.side,
                "seed": self.seed,
                "positions": [list(position) for position in self.positions],
            }
        )

    def clips(self, numbers: Sequence[int]) -> Iterator[Frames]:
        """Yield the frames of the clips ``numbers``, indices into ``positions``.

        Real frames are first resized and compressed as the protocol's authors stored theirs.
        """
        chosen, protocol = [self.positions[number] for number in numbers], self.protocol
        stored = protocol.stored if self.side == "real" else unchanged
        stride = protocol.stride(self.side)
        return self.source.read_clips(chosen, protocol.frames, stride, stored)

    def features(self, clips: Sequence[Frames]) -> Float[Tensor, "b d"]:
        """Features of a batch of clips, on the CPU.

        Raises:
            FloatingPointError: a feature is not finite.
        """
        network = self.network.network
        device = next(chain(network.parameters(), network.buffers())).device
        treated = [self.network.treat(torch.from_numpy(clip).to(device)) for clip in clips]
        found = network(torch.stack(treated)).float().cpu()
        return finite(found, "features", [f"a clip of {self.source.name}"] * len(found), 0)


@dataclass(frozen=True, kw_only=True)
class FeatureCache:
    """A cache of features on disk: a folder for each key, in it a file for each 64 clips (shard).

    Attributes:
        folder: folder that holds the folders of all keys; None: nothing is cached.
    """

    folder: Path | None

    def read(self, key: str, shard: int, rows: int, width: int) -> Float[Tensor, "n d"] | None:
        """Read the features of shard number ``shard``, 64 of the clips whose hash is ``key``.

        They must be of ``rows`` clips and ``width`` features; None if they are missing or damaged.
        """
        if self.folder is None:
            return None
        path = self.folder / key / f"{shard:05d}.safetensors"
        try:
            tensors, stored = read_tensors(path), read_metadata(path).get(HASH)
        except CheckpointError:
            return None
        found = tensors.get("features")
        fits = found is not None and found.shape == (rows, width) and is_finite(found)
        # Files of earlier versions have no hash.
        return found if fits and stored in (None, tensors_hash(tensors)) else None

    def write(self, key: str, shard: int, rows: Float[Tensor, "n d"]) -> None:
        """Store ``rows``, the features of shard number ``shard``, 64 of the clips of hash ``key``.

        Raises:
            OSError: its folder cannot be made.
            CheckpointError: the file cannot be written.
        """
        if self.folder is not None:
            (self.folder / key).mkdir(parents=True, exist_ok=True)
            path, tensors = self.folder / key / f"{shard:05d}.safetensors", {"features": rows}
            write_tensors(path, tensors, {HASH: tensors_hash(tensors)})

    def describe(self, key: str, about: dict[str, Any]) -> None:
        """Store ``about``, a readable description of what ``key`` stands for, beside its shards.

        Raises:
            CheckpointError: the file cannot be written.
        """
        if self.folder is not None and (self.folder / key).is_dir():
            write_text(self.folder / key / "about.json", json.dumps(about, indent=2) + "\n")


def default_cache() -> Path:
    """Default folder of the feature cache, in the user's cache folder."""
    return user_cache() / "features"


@torch.no_grad()
def extract(
    request: FeatureRequest,
    *,
    cache: FeatureCache,
    ranks: Ranks,
    batch: int = 16,
    report: ProgressCallback = no_progress,
) -> Float[Tensor, "n d"]:
    """Features of the clips of a request, a row per position; cached ones are read from disk.

    Clips are divided into shards of 64; each process computes every ``ranks.size``-th shard and
    returns the features of all clips.

    Args:
        request: the clips.
        cache: where features are stored.
        ranks: processes that share the work.
        batch: number of clips in a forward pass; does not change the features.
        report: called with the number of clips that this process has done and their total.

    Raises:
        FloatingPointError: a feature is not finite.
        OSError: a folder of the cache cannot be made.
        CheckpointError: a file of the cache cannot be written.
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
