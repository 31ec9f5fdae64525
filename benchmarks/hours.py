"""Peak memory of preparing, caching and training, with ten minutes and with five hours of footage.

    python benchmarks/hours.py --json docs/results/hours.json

The footage is files of an hour (or of the ten minutes) of 32 x 32 pixels at 10 frames/s, the same
minute over and over, joined without encoding it again. Each measurement is a process of its own
whose index of files is empty. A cache takes a clip every 16 seconds, so 30 times as many of the
long footage.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from longtake.training.log import environment
from longtake.video import VideoWriter, concatenate

FPS, SIZE, MINUTE = 10, 32, 600
WORKER = """
import resource, sys
from pathlib import Path
from longtake import run_folder
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.config import parse
from longtake.data.cache_plan import CachePlan
from longtake.data.folders import VideoFolder
from longtake.data.latents import build_cache
from longtake.data.prepare import PrepareSettings, prepare
from longtake.distributed import Ranks
from longtake.runs import AutoencoderRun, Callbacks
what, footage, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
plan = {"frames": 16, "height": 32, "width": 32}
network = VolumeAutoencoderConfig(
    clip=(16, 32, 32), factors=(4, 4, 4), hidden=4, z_channels=2, groups=4
)
source = {"kind": "folder", "path": str(footage), "plan": plan}
if what == "prepare":
    prepare(footage, out, PrepareSettings(size=32), processes=1)
elif what == "cache":
    build_cache(out, parse(VideoFolder, source), network.build(), CachePlan(every=160), Ranks())
else:
    loop = {"steps": 100, "batch": 4, "log_every": 10, "save_every": 50, "sample_every": 50}
    run = {"data": source, "autoencoder": network, "loss": {"reduction": "mean"}, "training": loop}
    run_folder.start(parse(AutoencoderRun, run), out, Ranks(), Callbacks())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_footage(folder: Path, files: int, minutes: int) -> Path:
    folder.mkdir()
    minute = folder.parent / "minute.mp4"
    if not minute.exists():
        write_minute(minute)
    parts = [minute] * minutes
    for number in range(files):
        concatenate(parts, folder / f"{number}.mp4")
    return folder


def write_minute(path: Path) -> None:
    """A picture that moves by a pixel a frame, and another one every ten seconds."""
    random = np.random.default_rng(0)
    with VideoWriter(path, FPS) as writer:
        for scene in range(6):
            picture = random.integers(0, 255, (8, 24, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
            del scene
            starts = range(MINUTE // 6)
            frames = [picture[:, start % 60 :][:, :SIZE] for start in starts]
            writer.write(
                np.stack([np.pad(f, ((0, 0), (0, SIZE - f.shape[1]), (0, 0))) for f in frames])
            )


def peak_mib(what: str, footage: Path, place: Path) -> float:
    own = {**os.environ, "XDG_CACHE_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", WORKER, what, str(footage), str(place / "out")]
    done = subprocess.run(words, env=own, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=5)
    parser.add_argument("--what", nargs="*", default=["prepare", "cache", "train"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        sides = {
            "ten_minutes": write_footage(root / "short", 1, 10),
            "hours": write_footage(root / "long", given.hours, 60),
        }
        for what in given.what:
            found = {}
            for side, footage in sides.items():
                place = root / f"{what}_{side}"
                place.mkdir()
                found[side] = round(peak_mib(what, footage, place), 1)
            rows[what] = {**found, "ratio": round(found["hours"] / found["ten_minutes"], 3)}
            print(what, json.dumps(rows[what]), flush=True)
    result = {"hours": given.hours, "peak_mib": rows, "environment": environment()}
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
