"""How fast footage is encoded into a latent cache, against another revision, in one run.

    python benchmarks/encoding.py cf41d99 --json docs/results/encoding.json

Both encode as many clips of 80 frames of the same 720p film, H.264 with a key frame every 250
frames, with the shipped autoencoder lvdm-sky at 64 x 64 pixels: the other revision clips with
random starts, which it had alone, this one clips a third of a clip apart, from the film as it comes
and from its prepared copy. Each measurement is a process of its own, they take turns, and the first
clip is not counted, in whose time the headers are read.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from longtake.data.prepare import PrepareSettings, prepare
from longtake.training.log import environment
from longtake.video import VideoWriter

sys.path.insert(0, str(Path(__file__).parent / "revisions"))
from compare_revisions import checked_out, commit

HEIGHT, WIDTH, KEY_FRAMES = 720, 1280, 250
WORKER = """
import sys, tempfile, time
from pathlib import Path
import torch
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data import latents
footage, clips, new, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "new", int(sys.argv[4])
torch.set_num_threads(threads)
latents.SHARD_ITEMS = 1
if new:
    from longtake.data.cache_plan import CachePlan
    from longtake.distributed import Ranks as Processes
    from longtake.model import VideoModel as Model
    plan = CachePlan()
else:
    from longtake.data.latents import CachePlan
    from longtake.distributed import World as Processes
    from longtake.model import VideoModel as Model
    plan = CachePlan(copies=clips)
autoencoder = Model.from_pretrained("lvdm-sky").autoencoder
source = VideoFolder(path=Path(footage), plan=ClipPlan(frames=80, height=64, width=64))
times = []
with tempfile.TemporaryDirectory() as folder:
    report = lambda done, total: times.append(time.perf_counter())
    place, ranks = Path(folder) / "cache", Processes()
    cache = latents.build_cache(place, source, autoencoder, plan, ranks, report)
print((len(times) - 1) / (times[-1] - times[0]))
"""


def write_film(path: Path, frames: int) -> None:
    """A picture that moves by two pixels a frame, with grain, as cameras have."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (46, 90, 3), dtype=np.uint8)
    picture = coarse.repeat(16, 0).repeat(16, 1)[:HEIGHT]
    with VideoWriter(path, 25, key_frames=KEY_FRAMES) as writer:
        for number in range(frames):
            frame = picture[:, 2 * (number % 30) :][:, :WIDTH].astype(np.int16)
            grain = random.integers(-6, 7, (HEIGHT, WIDTH, 1), dtype=np.int16)
            writer.write((frame + grain).clip(0, 255).astype(np.uint8)[None])


def clips_per_second(tree: Path, footage: Path, clips: int, side: str, threads: int) -> float:
    words = [sys.executable, "-c", WORKER, str(footage), str(clips), side, str(threads)]
    own = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(words, env=own, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    here, clips = Path(__file__).parents[1], (given.frames - 80) // 26 + 1
    with tempfile.TemporaryDirectory() as name, checked_out(given.revision) as before:
        film, ready = Path(name) / "film" / "film.mp4", Path(name) / "prepared"
        film.parent.mkdir()
        write_film(film, given.frames)
        prepare(film, ready, PrepareSettings(size=64, cuts=False), processes=1)
        sides = {
            "before": (before, film.parent, "old"),
            "as it comes": (here, film.parent, "new"),
            "prepared": (here, ready, "new"),
        }
        rates: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(given.rounds):
            for side, (tree, footage, kind) in sides.items():
                found = clips_per_second(tree, footage, clips, kind, given.threads)
                rates[side].append(found)
                print(f"{side}: {found:.2f} clips/s", flush=True)
    median = {side: statistics.median(found) for side, found in rates.items()}
    result = {
        "before": commit(given.revision),
        "clips": clips,
        "threads": given.threads,
        "clips_per_second": {side: round(rate, 3) for side, rate in median.items()},
        "ratio": {k: round(r / median["before"], 2) for k, r in median.items()},
        "environment": environment(),
    }
    print(json.dumps(result["ratio"]))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
