"""A latent cache of a million clips: time and memory to open it, and of the order of an epoch.

    python benchmarks/reliability/million.py --json docs/results/million.json

The cache has copies of one shard of 128 clips, whose latents have 16 numbers. Each opening is a
process of its own: the first hashes all shards, later ones find the hashes by size and time of
change. Seconds are CPU seconds; ``wall_seconds`` depends on what else the machine does. Memory is
the growth of resident memory.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from longtake.autoencoders import VolumeAutoencoderConfig
from longtake.checkpoint import write_text
from longtake.config import to_dict
from longtake.data.cache_plan import CachePlan
from longtake.data.clips import ClipPlan
from longtake.data.latent_cache import INDEX, read_index
from longtake.data.latents import SHARD_ITEMS, build_cache
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.training.log import environment

WORKER = """
import json, resource, sys, time
from pathlib import Path
from longtake.data.latent_cache import LatentCache
from longtake.data.order import Order

def now():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return usage.ru_utime + usage.ru_stime, time.perf_counter(), resident / 2**20

def since(before):
    cpu, wall, mb = (after - then for after, then in zip(now(), before))
    return {"cpu_seconds": round(cpu, 3), "wall_seconds": round(wall, 3), "mb": round(mb, 1)}

began = now()
cache = LatentCache(Path(sys.argv[1]))
row = {"clips": len(cache), "open": since(began)}
for name, length in (("order", len(cache)), ("order_of_ten_times", 10 * len(cache))):
    began, order = now(), Order(0, length)
    for number in range(1000):
        order(number)
    row[name] = since(began)
began, order = now(), Order(0, len(cache))
for number in range(1000):
    cache[order(number)[1]]
row["read_1000"] = since(began)
print(json.dumps(row))
"""
OPENINGS = {"first": 1, "again": 3}


def main() -> None:
    """Print each opening."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with TemporaryDirectory() as temporary:
        cache = make(Path(temporary) / "cache", chosen.clips)
        rows = [
            {"opening": name, **measure(cache, Path(temporary) / "facts")}
            for name, times in OPENINGS.items()
            for _ in range(times)
        ]
    for row in rows:
        print(json.dumps(row))
    if chosen.json:
        about = {"environment": environment(), "rows": rows}
        chosen.json.write_text(json.dumps(about, indent=1) + "\n")


def make(folder: Path, clips: int) -> Path:
    """A cache of at least ``clips`` clips, of copies of its first shard."""
    sizes = {"clip": (4, 8, 8), "factors": (2, 4, 4), "hidden": 4, "groups": 4, "z_channels": 2}
    source = SkyWorld(videos=SHARD_ITEMS, plan=ClipPlan(frames=4, height=8, width=8))
    encoder = VolumeAutoencoderConfig.model_validate(sizes).build().eval()
    build_cache(folder, source, encoder, CachePlan(copies=1), Ranks())
    index = read_index(folder)
    (first,) = index.shards
    shards = [first]
    for number in range(1, -(-clips // first.items)):
        shards.append(first.model_copy(update={"file": f"copy_{number:05d}.safetensors"}))
        shutil.copyfile(folder / first.file, folder / shards[-1].file)
    whole = index.model_copy(update={"shards": tuple(shards)})
    write_text(folder / INDEX, json.dumps(to_dict(whole)))
    return folder


def measure(cache: Path, facts: Path) -> dict:
    """One process that opens a cache; what it finds out about files is kept in ``facts``."""
    environment = os.environ | {"XDG_CACHE_HOME": str(facts), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORKER, str(cache)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
