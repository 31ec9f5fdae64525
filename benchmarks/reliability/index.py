"""Indexing a folder of many short videos: speed, memory and threads of two revisions, in one run.

    python benchmarks/reliability/index.py cf41d99 . --json docs/results/index.json

The videos are links to twenty files of 24 frames of 64 x 64 pixels of the sky world. Each step is
a process of its own, and the revisions take turns. A revision that leaks threads is measured on the
smaller folders only (``--most-before``). Seconds are CPU seconds of the process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "revisions"))
from compare_revisions import checked_out, commit

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.video import VideoWriter

DIFFERENT, FRAMES = 20, 24
WORKER = """
import json, resource, sys, threading
from pathlib import Path
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.noise import generator
import torch
torch.set_num_threads(1)

def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

def watch():
    while not done.wait(0.02):
        most[0] = max(most[0], len([*Path("/proc/self/task").iterdir()]) - 1)

done, most = threading.Event(), [0]
watcher = threading.Thread(target=watch)
watcher.start()
began = cpu()
source = VideoFolder(path=sys.argv[1], plan=ClipPlan(frames=16, height=32, width=32))
number = len(source)
if sys.argv[2] == "read":
    for item in range(number):
        source.clip(item, generator(0, "check", item))
seconds = cpu() - began
done.set()
watcher.join()
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
row = {"videos": number, "cpu_seconds": seconds, "peak_mb": peak_mb, "threads": most[0]}
print(json.dumps(row))
"""
STEPS = {"index": "index", "index again": "index", "index and read a clip of each": "read"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("before", help="a revision, or . for the working tree")
    parser.add_argument("after")
    parser.add_argument("--videos", type=int, nargs="+", default=[1000, 5000, 20_000])
    parser.add_argument("--most-before", type=int, default=5000)
    parser.add_argument("--json", type=Path, help="write the table to this file")
    chosen = parser.parse_args()
    about = {name: commit(getattr(chosen, name)) for name in ("before", "after")}
    rows = []
    with (
        checked_out(chosen.before) as before,
        checked_out(chosen.after) as after,
        tempfile.TemporaryDirectory() as temporary,
    ):
        for number in chosen.videos:
            folder = linked(Path(temporary), number)
            for step in STEPS:
                for name, tree in (("before", before), ("after", after)):
                    if name == "after" or number <= chosen.most_before:
                        cache = Path(temporary) / f"cache_{name}_{number}"
                        rows.append(
                            {"revision": name, "step": step, **measure(tree, folder, cache, step)}
                        )
                        print(shown(rows[-1], rows), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def linked(root: Path, number: int) -> Path:
    """A folder with this number of videos, of which some are equal."""
    originals = root / "originals"
    if not originals.exists():
        originals.mkdir()
        sky = SkyWorld(plan=ClipPlan(frames=FRAMES))
        for name in range(DIFFERENT):
            with VideoWriter(originals / f"{name}.mp4", 24) as writer:
                writer.write(sky.read(name, 0, FRAMES))
    folder = root / f"videos_{number}"
    for item in range(number):
        place = folder / f"{item // 1000:03d}" / f"{item:06d}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(originals / f"{item % DIFFERENT}.mp4")
    return folder


def measure(tree: Path, folder: Path, cache: Path, step: str) -> dict[str, float]:
    """One process of a revision; what it finds out about files is kept in ``cache``."""
    environment = os.environ | {
        "PYTHONPATH": str(tree / "src"),
        "XDG_CACHE_HOME": str(cache),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", WORKER, str(folder), STEPS[step]]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def shown(row: dict, rows: list[dict]) -> str:
    """A row of the table, with its speed against that of the revision before."""
    same = [r for r in rows if (r["step"], r["videos"]) == (row["step"], row["videos"])]
    times = same[0]["cpu_seconds"] / row["cpu_seconds"] if len(same) > 1 else 1
    speed = row["videos"] / row["cpu_seconds"]
    return (
        f"{row['revision']:<7} {row['videos']:>6} videos, {row['step']}: {speed:.0f} a CPU second "
        f"({times:.1f}x), {row['peak_mb']:.0f} MB, {row['threads']} threads"
    )


if __name__ == "__main__":
    main()
