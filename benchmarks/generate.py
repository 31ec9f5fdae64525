"""Frames that `longtake generate` makes per CPU second, beside those of another revision.

    python benchmarks/generate.py --against cf41d99 --json docs/results/generate.json

Both revisions run the command with their own defaults in turn, round after round, on one thread and
with this environment's packages; the other revision's source is checked out beside. The cost of a
frame is the difference in CPU time between a video of 248 frames and one of 56, over the 192 frames
between: start, first clip, a next clip, and the export and compiling of programs are not in it,
encoding by x264 is.
"""

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
SHORT, LONG = 56, 248
OPENVINO = ("--backend", "openvino")
WAYS = {
    "torch": (),
    "openvino": OPENVINO,
    "openvino bfloat16": (*OPENVINO, "--precision", "bfloat16"),
}


class Row(NamedTuple):
    """What is timed: a model, and how this revision samples it."""

    model: str
    way: str


def main() -> None:
    """Run both revisions in turn, and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--against", required=True, help="a revision")
    parser.add_argument("--models", nargs="*", default=["lvdm-sky", "pvdm-sky"])
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    parser.add_argument("--extra", default="", help="more options of this revision's command")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with TemporaryDirectory() as temporary:
        tree = Path(temporary) / "tree"
        git("worktree", "add", "--detach", str(tree), chosen.against)
        try:
            rows = timed(chosen, tree, Path(temporary) / "out")
        finally:
            git("worktree", "remove", "--force", str(tree))
    result = {
        "against": git("rev-parse", chosen.against),
        "revision": git("rev-parse", "HEAD"),
        "extra": chosen.extra,
        "frames": LONG - SHORT,
        "rounds": chosen.rounds,
        "rows": rows,
    }
    print_table(rows)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def git(*words: str) -> str:
    """Output of a git command in this repository."""
    found = subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def timed(chosen: argparse.Namespace, tree: Path, out: Path) -> list[dict[str, Any]]:
    """CPU milliseconds a frame of each row and round, and of the other revision in that round."""
    rows = [Row(model, way) for model in chosen.models for way in chosen.ways]
    extra = shlex.split(chosen.extra)
    for row in rows:  # exports the programs, and fills the disk cache
        cpu_seconds(ROOT, row.model, LONG, [*WAYS[row.way], *extra], out)
    ours: dict[Row, list[float]] = {row: [] for row in rows}
    theirs: dict[str, list[float]] = {model: [] for model in chosen.models}
    for _ in range(chosen.rounds):
        for model in chosen.models:
            theirs[model].append(frame_cost(tree, model, (), out))
            for row in rows:
                if row.model == model:
                    ours[row].append(frame_cost(ROOT, model, [*WAYS[row.way], *extra], out))
                    print(row, ours[row][-1], theirs[model][-1], flush=True)
    return [described(row, ours[row], theirs[row.model]) for row in rows]


def described(row: Row, ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """A row of the result."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {
        "model": row.model,
        "by": row.way,
        "ms_a_frame": [round(1000 * x, 2) for x in ours],
        "ms_a_frame_against": [round(1000 * x, 2) for x in theirs],
        "frames_per_cpu_second": round(1 / statistics.median(ours), 2),
        "frames_per_cpu_second_against": round(1 / statistics.median(theirs), 2),
        "factor": round(statistics.median(ratios), 2),
        "factors": [round(x, 2) for x in ratios],
    }


def frame_cost(tree: Path, model: str, options: Sequence[str], out: Path) -> float:
    """CPU seconds of a frame beyond the start."""
    short, long = (cpu_seconds(tree, model, n, options, out) for n in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def cpu_seconds(tree: Path, model: str, frames: int, options: Sequence[str], out: Path) -> float:
    """CPU time of the command that makes one video."""
    words = ["generate", model, "--frames", str(frames), "-o", str(out), "--overwrite", *options]
    paths = {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "longtake.cli", *words]
    subprocess.run(command, check=True, env={**os.environ, **paths}, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """As Markdown."""
    print("| model | by | frames per CPU second | before | factor |")
    print("| --- | --- | ---: | ---: | ---: |")
    for row in rows:
        now, before = row["frames_per_cpu_second"], row["frames_per_cpu_second_against"]
        print(f"| `{row['model']}` | {row['by']} | {now} | {before} | {row['factor']} |")


if __name__ == "__main__":
    main()
