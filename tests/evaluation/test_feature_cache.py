"""Features are computed once, survive an interruption, and depend on their clips alone."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ranks import run_ranks
from safetensors.torch import load_file, save_file

from longtake.config import to_dict
from longtake.data.arrays import ArrayVideos
from longtake.data.source import ClipPosition, Preparation, unchanged
from longtake.distributed import Ranks
from longtake.evaluation.extraction import (
    SHARD,
    FeatureCache,
    FeatureNetwork,
    FeatureRequest,
    extract,
)
from longtake.evaluation.protocols import protocol

PROTOCOL = protocol("trial", ["treatment.size=8", "frames=2", "network.width=4"])
NETWORK = FeatureNetwork(
    network=PROTOCOL.build(), treat=PROTOCOL.treat, identity=to_dict(PROTOCOL.network)
)
ALONE = Ranks()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clips.npy"
    random = np.random.default_rng(0)
    np.save(path, random.integers(0, 256, (SHARD + 6, 2, 8, 8, 3), dtype=np.uint8))
    return path


def wanted(path: Path, numbers: Sequence[int] | None = None) -> FeatureRequest:
    source = ArrayVideos(path)
    positions = [ClipPosition(number, 0) for number in numbers or range(len(source))]
    return FeatureRequest(
        source=source, side="real", protocol=PROTOCOL, positions=positions, seed=0, network=NETWORK
    )


def test_what_is_kept_is_not_computed_again(file: Path, tmp_path: Path):
    cache = FeatureCache(folder=tmp_path)
    first = extract(wanted(file), cache=cache, ranks=ALONE)
    shards = sorted(tmp_path.rglob("*.safetensors"))
    assert [len(load_file(shard)["features"]) for shard in shards] == [SHARD, 6]
    save_file({"features": torch.zeros(6, 4)}, shards[1])
    second = extract(wanted(file), cache=cache, ranks=ALONE)
    assert torch.equal(second[:SHARD], first[:SHARD])
    assert not second[SHARD:].any()


def test_a_damaged_file_of_features_is_made_again(file: Path, tmp_path: Path):
    cache = FeatureCache(folder=tmp_path)
    first = extract(wanted(file), cache=cache, ranks=ALONE)
    for shard in tmp_path.rglob("*.safetensors"):
        shard.write_bytes(b"torn")
    assert torch.equal(extract(wanted(file), cache=cache, ranks=ALONE), first)


def test_features_do_not_depend_on_batch_or_order(file: Path):
    keep = FeatureCache(folder=None)
    whole = extract(wanted(file), cache=keep, ranks=ALONE, batch=16)
    single = extract(wanted(file), cache=keep, ranks=ALONE, batch=1)
    turned = extract(wanted(file, range(69, -1, -1)), cache=keep, ranks=ALONE, batch=5)
    torch.testing.assert_close(single, whole)
    torch.testing.assert_close(turned.flip(0), whole)


class Stopped(ArrayVideos):
    """An array whose reading is interrupted."""

    def read_clips(
        self,
        positions: Sequence[ClipPosition],
        count: int,
        stride: int,
        prepare: Preparation = unchanged,
    ) -> Iterator[np.ndarray]:
        for number, clip in enumerate(super().read_clips(positions, count, stride, prepare)):
            if number == SHARD + 1:
                raise KeyboardInterrupt
            yield clip


def test_an_interruption_loses_one_shard_at_most(file: Path, tmp_path: Path):
    cache = FeatureCache(folder=tmp_path)
    asked = wanted(file)
    stopped = replace(asked, source=Stopped(file))
    with pytest.raises(KeyboardInterrupt):
        extract(stopped, cache=cache, ranks=ALONE)
    assert [path.name for path in tmp_path.rglob("*.safetensors")] == ["00000.safetensors"]
    reported: list[Any] = []
    report = lambda done, total: reported.append((done, total))  # noqa: E731
    extract(asked, cache=cache, ranks=ALONE, report=report)
    assert reported == [(SHARD, SHARD + 6), (SHARD + 6, SHARD + 6)]


SCRIPT = """
import sys
import threading
from pathlib import Path
from safetensors.torch import save_file
from longtake.data.arrays import ArrayVideos
from longtake.data.source import ClipPosition, Preparation, unchanged
from longtake.distributed import join
from longtake.evaluation.extraction import FeatureCache, FeatureNetwork, FeatureRequest, extract
from longtake.evaluation.protocols import protocol

chosen = protocol("trial", ["treatment.size=8", "frames=2", "network.width=4"])
source = ArrayVideos(Path(sys.argv[1]))
wanted = FeatureRequest(
    source=source,
    side="real",
    protocol=chosen,
    positions=[ClipPosition(number, 0) for number in range(len(source))],
    seed=0,
    network=FeatureNetwork(network=chosen.build(), treat=chosen.treat, identity=None),
)
with join() as ranks:
    found = extract(wanted, cache=FeatureCache(folder=None), ranks=ranks)
    save_file({"features": found}, f"{sys.argv[2]}/{ranks.rank}")
"""


@pytest.mark.slow
def test_two_processes_have_the_features_of_one(file: Path, tmp_path: Path):
    run_ranks(tmp_path, SCRIPT, file, tmp_path)
    alone = extract(wanted(file), cache=FeatureCache(folder=None), ranks=ALONE)
    for rank in ("0", "1"):
        torch.testing.assert_close(load_file(tmp_path / rank)["features"], alone)


def test_clips_are_read_and_prepared_while_the_network_runs(file: Path):
    """The first forward pass ends only when the clips of the next one are prepared."""
    second = threading.Event()

    class Watched(ArrayVideos):
        def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> np.ndarray:
            clip = super().read(index, start_frame, count, stride)
            if index == 1:
                second.set()
            return clip

    class Waiting(torch.nn.Module):
        width = 4

        def __init__(self) -> None:
            super().__init__()
            self.inner = NETWORK.network

        def forward(self, video: torch.Tensor) -> torch.Tensor:
            assert second.wait(timeout=60)
            return self.inner(video)

    network = replace(NETWORK, network=Waiting())
    asked = replace(wanted(file, range(3)), source=Watched(file), network=network)
    got = extract(asked, cache=FeatureCache(folder=None), ranks=ALONE, batch=1)
    want = extract(wanted(file, range(3)), cache=FeatureCache(folder=None), ranks=ALONE)
    torch.testing.assert_close(got, want)
