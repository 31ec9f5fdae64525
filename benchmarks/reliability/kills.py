"""Kills every command that writes, repeats it, and compares what it leaves with an undisturbed run.

    python benchmarks/reliability/kills.py [--json docs/results/kills.json] [--only generate drift]

Each command of toy size is killed before each change of the disk (or as many of them as stated), in
its own process and with every second kill a power cut that halves what was not forced to the disk;
then by SIGKILL at random times in a process that is forked from this one. After each kill the same
command runs again, and every file below its folder must be equal, byte for byte.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from disk_kills import Outcome, Run, Tree, Trial, command, function

sys.path.append(str(Path(__file__).parents[1]))
from memory import volume

from longtake.config import parse
from longtake.data import latents
from longtake.data.cache_plan import CachePlan
from longtake.data.clips import ClipPlan
from longtake.data.synthetic.marbles import MarblesWorld
from longtake.distributed import Ranks
from longtake.evaluation.extraction import FeatureCache
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.model import VideoModel
from longtake.reproduce.measure import measure_table
from longtake.reproduce.requirements import Folders
from longtake.reproduce.table import Table
from longtake.training.log import environment
from longtake.video import VideoWriter

MOST_KILLS = 60  # before changes of the disk, of each command
FEWER_KILLS = {"drift": 10}  # it draws for seconds, and changes the disk at its end alone
TINY = ("frames=4", "rates=any", "treatment.size=16", "network.width=4")
TIMES = re.compile(rb'"(seconds|made)": (\{[^}]*\}|[\d.]+)')


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of commands")
    parser.add_argument("--random", type=int, default=12, help="kills at random times, a command")
    parser.add_argument("--every", action="store_true", help="before every change, however many")
    args = parser.parse_args()
    torch.set_num_threads(1)
    began, memory = time.perf_counter(), Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    rows = []
    with TemporaryDirectory(dir=place) as folder, opened_once():
        for name, trial in trials(Path(folder)).items():
            if name.startswith(tuple(args.only)):
                most = 1 << 30 if args.every else FEWER_KILLS.get(name, MOST_KILLS)
                rows.append({"command": name, **measure(trial, args.random, most)})
                print(line(rows[-1]), flush=True)
    if args.json:
        write(args.json, rows, round(time.perf_counter() - began))


def measure(trial: Trial, at_random: int, most: int) -> dict[str, Any]:
    """Kill a command before changes of the disk and at random times, and count how it ended."""
    expected, changes = trial.undisturbed()
    every = -(-(len(changes) + 1) // most)
    before = trial.everywhere(every)
    after = killed_at_random(trial, expected, at_random)
    kinds = Counter(outcome.kind for outcome in (*before, *after))
    faulty = [outcome for outcome in (*before, *after) if outcome.kind == "fault"]
    faults = [f"{o.where}: exit code {o.code} {o.said} {o.differs}" for o in faulty]
    return {
        "changes": len(changes),
        "kills_before_changes": len(before),
        "kills_at_random": len(after),
        "equal": kinds["equal"],
        "complete": kinds["complete"],
        "faults": faults,
    }


def write(path: Path, rows: list[dict[str, Any]], seconds: int) -> None:
    """Write rows to a file, and keep its rows of other commands."""
    before = json.loads(path.read_text()) if path.exists() else {"seconds": 0, "rows": []}
    known = {row["command"]: row for row in (*before["rows"], *rows)}
    seconds += before["seconds"] if len(known) > len(rows) else 0
    about = {"environment": environment(), "seconds": seconds, "rows": [*known.values()]}
    path.write_text(json.dumps(about, indent=1) + "\n")


def line(row: Mapping[str, Any]) -> str:
    """A row of the table in docs/reliability.md."""
    kills = row["kills_before_changes"], row["kills_at_random"]
    counts = row["changes"], *kills, row["equal"], row["complete"], len(row["faults"])
    return f"| `{row['command']}` | {' | '.join(map(str, counts))} |"


def killed_at_random(trial: Trial, expected: Tree, kills: int) -> list[Outcome]:
    """SIGKILL the command at random times of its duration, each in a new process."""
    draws, outcomes = random.Random(0), []
    trial.reset()
    began = time.perf_counter()
    forked(trial.run).wait()
    duration = time.perf_counter() - began
    for _ in range(kills):
        trial.reset()
        process = forked(trial.run)
        seconds = draws.uniform(0, duration)
        process.kill_after(seconds)
        outcomes.append(trial.repeated(expected, f"{seconds:.2f} of {duration:.2f} seconds"))
    return outcomes


class forked:  # noqa: N801
    """A command in a process that is forked from this one, whose imports are done."""

    def __init__(self, run: Run) -> None:
        self._number = os.fork()
        if self._number == 0:
            code = 1
            try:
                with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
                    code, _ = run()
            finally:
                os._exit(code)

    def wait(self) -> None:
        """Let it end."""
        _, status = os.waitpid(self._number, 0)
        assert os.waitstatus_to_exitcode(status) == 0

    def kill_after(self, seconds: float) -> None:
        """Kill it."""
        time.sleep(seconds)
        os.kill(self._number, signal.SIGKILL)
        os.waitpid(self._number, 0)


@contextmanager
def opened_once() -> Iterator[None]:
    """Open each model once, which takes most of the time of a command of toy size."""
    load = cache(VideoModel.from_pretrained)
    with mock.patch.object(VideoModel, "from_pretrained", load):
        yield


def trials(folder: Path) -> dict[str, Trial]:
    """Every command that writes, at toy size."""
    model, films, disk = folder / "model", folder / "films", folder / "disk"
    out, long = disk / "out", folder / "long.mkv"
    volume().save_pretrained(model)
    for number in range(4):
        write_film(films / f"{number}.mkv", number, 20)
    write_film(long, 5, 40)
    new = partial(Trial, root=disk, clean=without_times)
    settings = ("--frames", 20, "sampler.steps=1", "-o")
    generate = ("generate", model, *settings, out)
    export = ("data", "export", "marbles", "-o", out, "--videos", 2, "--frames", 6, "--size", 16)
    results = (
        "--protocol",
        "trial",
        "--n",
        4,
        *TINY,
        "--cache",
        disk / "features",
        "--json",
        disk / "a.json",
    )
    measured = ("evaluate", "marbles:test:16", model, "sampler.steps=1", "--keep", disk / "kept")
    joined = ("convert", "join", model, model, "-o", disk / "model")
    several = ("--seed", "0..2", "--batch", 2, "--format", "png")
    return {
        "generate --seed 0..1 --sheet": new(run=command(*generate, "--seed", "0..1", "--sheet")),
        "generate --seed 0..2 --batch 2 --format png": new(run=command(*generate, *several)),
        "generate --format gif": new(run=command(*generate, "--format", "gif")),
        "generate -o film.mkv": new(run=command(*generate[:-1], disk / "film.mkv")),
        "generate --overwrite": new(
            run=command(*generate, "--overwrite"),
            prepare=lambda root: write_film(root / "out" / "seed_0000.mp4", 7, 3),
        ),
        "reconstruct": new(run=command("reconstruct", model, films, "-o", out)),
        "data export": new(run=command(*export)),
        "latent cache": new(run=function(partial(build_latents, model, disk / "latents"))),
        "evaluate --json": new(run=command("evaluate", "marbles:test:16", films, *results)),
        "evaluate MODEL --keep": new(run=at_one_time(command(*measured, *results))),
        "reproduce": new(run=function(partial(measure_row, folder))),
        "drift": new(run=command("drift", long, "--window", 9, "-o", out)),
        "convert join": new(run=command(*joined)),
        "convert join --overwrite": new(
            run=command(*joined, "--overwrite"),
            prepare=lambda root: shutil.copytree(model, root / "model"),
        ),
    }


def at_one_time(run: Run) -> Run:
    """Kept videos, and with them keys of features, are known by the time when they were begun."""

    def frozen() -> tuple[int, str]:
        with mock.patch.object(time, "time_ns", return_value=0):
            return run()

    return frozen


def build_latents(model: Path, place: Path) -> None:
    """The latent cache that `longtake fit` builds first, of three shards."""
    source = MarblesWorld(videos=5, plan=ClipPlan(frames=16, height=16, width=16))
    autoencoder = VideoModel.from_pretrained(model).autoencoder
    with mock.patch.object(latents, "SHARD_ITEMS", 2):
        latents.build_cache(place, source, autoencoder, CachePlan(copies=1), Ranks())


def measure_row(folder: Path) -> None:
    """What `longtake reproduce` does for a table of one row."""
    row = {
        "kind": "generation",
        "name": "row",
        "title": "a row",
        "real": "marbles:test:16",
        "trainings": [{"preset": "model"}],
        "protocol": "trial",
        "changes": ["n=4", *TINY],
        "sampling": ["sampler.steps=1"],
        "published": {"fvd": {"absent": "not published"}},
    }
    tiny = {"real": row["real"], "trainings": row["trainings"], "changes": {}}
    table = parse(Table, {"name": "t", "title": "t", "paper": "p", "rows": [row], "tiny": tiny})
    disk = folder / "disk"
    folders = Folders(data=folder, models=folder, out=disk / "table")
    cache = FeatureCache(folder=disk / "features")
    found = measure_table(table, folders, EvaluationSettings(cache=cache), tiny=False)
    assert found.measured, found


def write_film(path: Path, seed: int, frames: int) -> None:
    """A video of 16 x 16 pixels of slowly changing noise."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randint(-9, 10, (frames, 16, 16, 3), generator=random).cumsum(0) + 128
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 8.0) as writer:
        writer.write(noise.clamp(0, 255).to(torch.uint8).numpy())


def without_times(name: str, data: bytes) -> bytes:
    """A result without the seconds that it took, and without the time when videos were kept."""
    return TIMES.sub(b"", data) if name.endswith(".json") else data


if __name__ == "__main__":
    main()
