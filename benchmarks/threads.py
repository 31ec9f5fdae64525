"""How long two threads wait for each other: a video's time on idle cores and beside other work.

    python benchmarks/threads.py [--rounds 3] [--busy 3] [--json out.json]

Each setting makes the same video in processes of its own, in turn: with the default of GNU OpenMP
(300,000 turns of a loop before a thread sleeps), with the setting of the command line, without any
spinning, and on one thread; alone, and beside processes that compute without a pause, each in a
session of its own, as the work of other users and terminals is (Linux shares cores by session).
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from longtake.cli import SPIN_COUNT

SETTINGS = {
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000"},
    "longtake": {"GOMP_SPINCOUNT": SPIN_COUNT},
    "no spinning": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
VIDEO = """
import sys, time
from longtake.model import VideoModel, sampling_with
model = VideoModel.from_pretrained("pvdm-sky")
video = model.long_video(sampling_with(model.index.sampling, ["sampler.steps=10"]))
next(iter(video(model.request([0]), 16)))
started = time.perf_counter()
for part in video(model.request([0]), 48):
    pass
print(time.perf_counter() - started)
"""


def seconds(setting: str) -> float:
    """Time of a video of 48 frames, after a first clip."""
    names = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"}
    environment = {k: v for k, v in os.environ.items() if k not in names} | SETTINGS[setting]
    done = subprocess.run(
        [sys.executable, "-c", VIDEO], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@contextmanager
def busy(processes: int) -> Generator[None]:
    """Processes that compute until the end of the block."""
    started = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measure(rounds: int, busy_processes: int) -> dict[str, Any]:
    """Seconds of every setting, alone and beside other work, in turn."""
    found: dict[str, dict[str, list[float]]] = {}
    for others in (0, busy_processes):
        name = f"{others} busy processes"
        found[name] = {setting: [] for setting in SETTINGS}
        with busy(others):
            for _ in range(rounds):
                for setting, values in found[name].items():
                    values.append(round(seconds(setting), 2))
    return {"cores": os.cpu_count(), "seconds": found}


def lines(result: dict[str, Any]) -> list[str]:
    """The rows of a Markdown table: medians, and how many times as fast as the default."""
    rows = [
        "| setting | beside | seconds | speed against the default |",
        "| --- | --- | ---: | ---: |",
    ]
    for beside, settings in result["seconds"].items():
        default = median(settings["OpenMP's default"])
        for setting, values in settings.items():
            middle = median(values)
            rows.append(f"| {setting} | {beside} | {middle:.1f} | {default / middle:.2f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how OpenMP's threads should wait.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=3, help="processes that compute beside")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.rounds, arguments.busy)
    print("\n".join(lines(result)))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
