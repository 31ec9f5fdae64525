"""How peak memory grows with the work of a command, per 1,000 frames, steps or clips.

    python benchmarks/reliability/slopes.py --json docs/results/slopes.json

Tiny models and frames of 16 x 16 pixels, so that what grows is not hidden below what is large. Each
command runs in a process of its own, of a small and of a large amount of work.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from killed_commands import write_film
from memory import triplane, volume
from training.tiny_runs import autoencoder_run, diffusion_run, train

from longtake.config import to_yaml

AMOUNTS = 200, 1200
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
"""A small process: a child begins with the peak of the one that it is forked from."""

Job = Callable[[int, Path], Sequence[object]]
"""Arguments of a command that does an amount of work in a folder."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, (unit, job) in jobs(Path(temporary)).items():
            peaks_mb = []
            for amount in AMOUNTS:
                with tempfile.TemporaryDirectory() as place:
                    peaks_mb.append(peak_mb(job(amount, Path(place))))
            slope = 1000 * (peaks_mb[1] - peaks_mb[0]) / (AMOUNTS[1] - AMOUNTS[0])
            rows.append({"command": name, "unit": unit, "peak_mb": peaks_mb, "mb_per_1000": slope})
            print(f"{name}: {slope:.2f} MB per 1,000 {unit} ({peaks_mb})", flush=True)
    if chosen.json:
        about = {"amounts": AMOUNTS, "rows": rows}
        chosen.json.write_text(json.dumps(about, indent=1) + "\n")


def jobs(folder: Path) -> dict[str, tuple[str, Job]]:
    """Commands by name, each with the unit of its work."""
    found: dict[str, tuple[str, Job]] = {}
    for make in (volume, triplane):
        make().save_pretrained(model := folder / make.__name__)

        def generate(frames: int, place: Path, model: Path = model) -> Sequence[object]:
            return "generate", model, "--frames", frames, "sampler.steps=1", "-o", place / "a.mp4"

        found[f"generate, {make.__name__}"] = "frames", generate
    train(autoencoder_run(steps=1), folder / "run")
    (folder / "fit.yaml").write_text(to_yaml(autoencoder_run(save_every=500, log_every=10)))
    cached = diffusion_run(folder / "run", steps=1)
    (folder / "cache.yaml").write_text(to_yaml(cached))

    def fit(steps: int, place: Path) -> Sequence[object]:
        return "fit", folder / "fit.yaml", f"training.steps={steps}", "-o", place / "run"

    def cache(clips: int, place: Path) -> Sequence[object]:
        return "fit", folder / "cache.yaml", f"data.videos={clips}", "-o", place / "run"

    def prepare(frames: int, place: Path) -> Sequence[object]:
        write_film(place / "a.mkv", 0, frames)
        return "data", "prepare", place / "a.mkv", "-o", place / "out", "--size", 8

    return found | {
        "fit": ("steps", fit),
        "fit, caching": ("clips", cache),
        "data prepare": ("frames", prepare),
    }


def peak_mb(arguments: Sequence[object]) -> float:
    """Peak resident memory of one command."""
    program = [sys.executable, "-c", "from longtake.cli import main; main()", *map(str, arguments)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *program], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"longtake {' '.join(map(str, arguments))} failed: {done.stderr}")
    return int(done.stdout.splitlines()[-1]) / 1024


if __name__ == "__main__":
    main()
