"""How long a denoiser's training waits for its batches, with a network that takes a fixed time.

    python benchmarks/loading.py --json docs/results/loading.json

The cache has the sizes of LVDM's short-video preset: latents of 4 x 4 x 32 x 32, of clips
twice as long. A step of the network is a pause in which the main thread computes nothing, as where
a GPU works, so that 290 clips/s pass. Both sides take turns in one process: batches drawn in the
training thread, as before, and ahead in another one.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch

from longtake.checkpoint import file_hash, write_tensors, write_text
from longtake.data.forward import read_ahead
from longtake.data.latent_cache import INDEX, CachedShard, CacheIndex, LatentCache
from longtake.diffusion import Diffusion
from longtake.latents import LatentSpec
from longtake.training.latent_batches import LatentBatches, TrainingClip
from longtake.training.log import environment
from longtake.training.methods.denoising import STEPS_AHEAD

RATE, BATCH, CLIPS = 290, 32, 256
SHAPE = (4, 8, 32, 32)


def write_cache(folder: Path) -> LatentCache:
    """A cache of random latents."""
    folder.mkdir()
    path = folder / "latents_00000.safetensors"
    drawn = torch.randn(CLIPS, *SHAPE, generator=torch.Generator().manual_seed(0))
    tensors = {"mean": drawn, "log_variance": drawn - 8, "label": torch.full((CLIPS,), -1)}
    write_tensors(path, tensors, {"key": "loading", "captions": json.dumps([""] * CLIPS)})
    shard = CachedShard(file=path.name, sha256=file_hash(path), items=CLIPS)
    index = CacheIndex(key="loading", classes=(), mean=0.0, std=1.0, shards=(shard,))
    write_text(folder / INDEX, index.model_dump_json())
    return LatentCache(folder)


def share_waited(batches: Iterator[Any], steps: int) -> float:
    """Share of the time in which the training waits for batches."""
    next(batches)
    waited, began = 0.0, time.perf_counter()
    for _ in range(steps):
        before = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - before
        time.sleep(BATCH / RATE)
    return waited / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        cache = write_cache(Path(name) / "cache")
        spec = LatentSpec(shape=(4, 4, 32, 32), clip=(16, 256, 256), frame_axis=2)
        draw: Callable[[range], Any] = LatentBatches(
            *(cache, spec, TrainingClip(), Diffusion(), cache.latent_scaling),
            seed=0,
            reads=frozenset(),
        )

        def drawn() -> Iterator[Any]:
            for step in count():
                yield draw(range(step * BATCH, (step + 1) * BATCH))

        sides = {"in_turn": drawn, "ahead": lambda: read_ahead(drawn(), STEPS_AHEAD)}
        shares = {side: round(share_waited(make(), given.steps), 4) for side, make in sides.items()}
    result = {
        "waited": shares,
        "clips_per_second": RATE,
        "batch": BATCH,
        "environment": environment(),
    }
    print(json.dumps(shares))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
