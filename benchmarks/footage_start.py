"""What a denoiser of footage has learnt after a few steps, from random weights or `lvdm-sky`'s.

    python benchmarks/footage_start.py FOOTAGE [--steps 70] [--json FILE]

Trains the denoiser of `longtake train FOOTAGE --budget 20m` for as many steps from each, one after
the other on the same clips, noise and times, and prints the loss on held-out clips, the mean loss
of the last 20 steps, and CPU seconds.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from longtake import run_folder
from longtake.data.prepare import PrepareSettings, prepare
from longtake.distributed import Ranks
from longtake.pipeline.calibration import scheduled, with_settings
from longtake.pipeline.stages import stages_of
from longtake.pipeline.train import Asked, first_plan
from longtake.runs import Callbacks, read_run

LAST = 20
STARTS = {"random weights": None, "lvdm-sky": "lvdm-sky"}


def trained(footage: Path, init_from: str | None, steps: int, folder: Path) -> dict[str, Any]:
    """Train from a start; returns losses and CPU seconds."""
    plan = first_plan(footage, Asked(system="lvdm", budget_seconds=1200), Ranks())
    stage = stages_of(plan, folder, tuned=False)[-1]
    latents = str(footage.parent / "latents")
    own = {"init_from": init_from, "cache_folder": latents, "training.precision": "bfloat16"}
    run = with_settings(read_run(stage.preset), {**stage.settings, **own})
    run = with_settings(run, scheduled(run, steps, stage.cooldown))
    run = with_settings(run, {"training.log_every": 1, "training.sample_every": steps})
    began = time.process_time()
    run_folder.start(run, folder, Ranks(), Callbacks())
    seconds = time.process_time() - began
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    (held_out,) = (line["validation_loss"] for line in lines if "validation_loss" in line)
    return {
        "validation_loss": held_out,
        "last_losses": sum(losses[-LAST:]) / LAST,
        "cpu_seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("footage", type=Path)
    parser.add_argument("--steps", type=int, default=70)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {"steps": given.steps}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(given.footage, root / "footage", PrepareSettings(size=64), processes=1)
        for name, init_from in STARTS.items():
            place = root / name.replace(" ", "_")
            found[name] = trained(root / "footage", init_from, given.steps, place)
            print(name, found[name], flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
