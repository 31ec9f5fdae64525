"""What a denoiser of footage has learnt after a few steps, from random weights or a sky model's.

    python benchmarks/footage_start.py FOOTAGE [--system pvdm] [--steps 70] [--json FILE]

Trains the denoiser of `longtake train FOOTAGE --budget 20m`, on the latents of the autoencoder that
this starts from, for as many steps from each, one after the other on the same clips, noise and
times, and prints the loss on held-out clips, the mean loss of the last 20 steps, and CPU seconds.
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
from longtake.pipeline.plan import SystemName
from longtake.pipeline.stages import stages_of
from longtake.pipeline.systems import SYSTEMS
from longtake.pipeline.train import Asked, first_plan
from longtake.runs import Callbacks, read_run

LAST = 20
SIZE = 64  # pixels, of both systems' general autoencoders


def trained(
    footage: Path,
    system: SystemName,
    init_from: str | None,
    steps: int,
    precision: str,
    folder: Path,
) -> dict[str, Any]:
    """Train from a start; returns losses and CPU seconds."""
    plan = first_plan(footage, Asked(system=system, size=SIZE, budget_seconds=1200), Ranks())
    stage = stages_of(plan, folder, tuned=False)[-1]
    latents = str(footage.parent / "latents")
    own = {"init_from": init_from, "cache_folder": latents, "training.precision": precision}
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
    parser.add_argument("--system", choices=list(SYSTEMS), default="lvdm")
    parser.add_argument("--steps", type=int, default=70)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {"steps": given.steps}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(given.footage, root / "footage", PrepareSettings(size=SIZE), processes=1)
        for init_from in (None, SYSTEMS[given.system].denoisers_from):
            name = init_from or "random weights"
            place = root / name.replace(" ", "_")
            settings = (given.system, init_from, given.steps, given.precision)
            found[name] = trained(root / "footage", *settings, place)
            print(name, found[name], flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
