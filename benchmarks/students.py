"""Distances of students to their teacher, by the way of distillation.

    python benchmarks/students.py lvdm_sky_student_interp --seconds 120 --json students.json

Trains a student in each way for equal CPU seconds of one thread, and measures the distance of its
clips to those that the teacher samples from the same noise in its own number of steps: the root of
the mean square over the latent frames that are sampled, in standard deviations of the latents.
Beside them stand the teacher's own distances at few steps, and that of other students
(``--model``). The clips are held-out ones.
"""

import argparse
import contextlib
import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake import config, run_folder
from longtake.data.cache_plan import CachePlan
from longtake.data.latents import build_cache
from longtake.diffusion import DDIM, ClipSampler
from longtake.diffusion.signals import Signals
from longtake.distributed import Ranks
from longtake.model import VideoModel
from longtake.rollout import Role
from longtake.runs import Callbacks, DistillationRun, read_run
from longtake.training.latent_batches import LatentBatches
from longtake.training.trainer import Interrupted

CLIPS = 64
WAYS = ("progressive", "consistency", "regression")


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("changes", nargs="*", metavar="a.b=value")
    parser.add_argument("--seconds", type=float, default=0.0, help="CPU seconds of each training")
    parser.add_argument("--ways", nargs="*", default=WAYS)
    parser.add_argument("--model", nargs="*", default=[], help="run or model folders of students")
    parser.add_argument("--work", type=Path, default=Path("runs/students"))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    run = read_run(chosen.preset, chosen.changes)
    assert isinstance(run, DistillationRun)
    measure = Distances(run, chosen.work / "held_out")
    rows = [measure.teacher(steps) for steps in (1, 2, 3, 4, 6, 8, 12)]
    print(*rows, sep="\n", flush=True)
    for way in chosen.ways if chosen.seconds else ():
        folder = chosen.work / way
        shutil.rmtree(folder, ignore_errors=True)
        steps = trained(with_variant(run, way), folder, chosen.seconds)
        rows.append(measure.student(way, folder) | {"optimiser_steps": steps})
        print(rows[-1], flush=True)
    for folder in chosen.model:
        rows.append(measure.student(folder, Path(folder)))
        print(rows[-1], flush=True)
    if chosen.json:
        result = {"preset": chosen.preset, "changes": chosen.changes, "clips": CLIPS}
        result |= {"cpu_seconds": chosen.seconds, "rows": rows}
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def with_variant(run: DistillationRun, way: str) -> DistillationRun:
    """The run that learns in this way, without an end of its own."""
    data = config.to_dict(run)
    kept = {k: data["variant"][k] for k in ("segments", "teacher_steps")}
    data["variant"] = {"kind": way, **kept}
    data["training"] |= {"steps": 100_000, "log_every": 1, "save_every": 100_000}
    data["training"] |= {"export_every": 0, "cooldown_steps": 0}
    return config.parse(DistillationRun, data)


def trained(run: DistillationRun, folder: Path, seconds: float) -> int:
    """Train for a number of CPU seconds from the first step on; returns the number of steps."""
    began, steps = None, 0

    def stop(progress: Any) -> None:
        nonlocal began, steps
        steps, now = progress.step, time.process_time()
        began = began or now
        if now - began > seconds:
            signal.raise_signal(signal.SIGINT)

    with contextlib.suppress(Interrupted):
        run_folder.start(run, folder, Ranks(), Callbacks(training=stop))
    return steps


class Distances:
    """Distances to the clips that the teacher samples of held-out footage."""

    def __init__(self, run: DistillationRun, place: Path) -> None:
        self._role: Role = run.roles[0]
        self._model = model = VideoModel.from_pretrained(run.teacher)
        held_out = run.data.model_copy(update={"split": "test"})
        self._sampler = sampler = model.clip_sampler(self._role)
        spec = sampler.spec
        cache = build_cache(
            *(place, held_out, model.autoencoder, CachePlan(clips=CLIPS), Ranks()),
            overlap_frames=spec.clip_overlap_frames,
        )
        assert model.index.diffusion is not None
        batches = LatentBatches(
            *(cache, spec, run.clip, model.index.diffusion, model.index.latent_scaling),
            seed=1,
            reads=sampler.reads,
        )
        self._signals = batches(range(CLIPS)).signals
        self._sampler = replace(sampler, sampler=ode(sampler.sampler))
        self._fine = sampled(self._sampler, self._signals)

    def teacher(self, steps: int) -> dict[str, Any]:
        """The teacher at fewer steps."""
        few = replace(self._sampler, sampler=DDIM(steps=steps))
        return self._row("teacher", steps, sampled(few, self._signals))

    def student(self, name: str, folder: Path) -> dict[str, Any]:
        """The student of a run's folder."""
        model = VideoModel.from_pretrained(folder)
        sampler = model.clip_sampler(self._role)
        return self._row(name, ode(sampler.sampler).steps, sampled(sampler, self._signals))

    def _row(self, name: str, steps: int, z: Tensor) -> dict[str, Any]:
        error, spec = z - self._fine, self._sampler.spec
        free = torch.ones_like(error)
        if "context_mask" in self._signals:
            free = ~self._signals["context_mask"].value
            free = spec.expand(free.to(error)).expand_as(error)
        distance = ((error.square() * free).sum() / free.sum()).sqrt().item()
        return {"of": name, "evaluations": steps, "distance": round(distance, 4)}


def ode(sampler: Any) -> DDIM:
    """The deterministic sampler with as many steps as the teacher's own."""
    return DDIM(steps=sampler.steps)


def sampled(sampler: ClipSampler, signals: Signals) -> Tensor:
    """Clips, each from its own seed."""
    return sampler(signals, range(CLIPS)).z


if __name__ == "__main__":
    main()
