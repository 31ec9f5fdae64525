"""How wide a denoiser, and how many steps, suit how much footage?

    python benchmarks/data_size.py --json docs/results/data_size.json

A row is a small LVDM denoiser, trained from random weights on a number of videos of the synthetic
data set sky, of one clip each, with a width and a seed. Clips, autoencoder, batch, learning rate
and moving average are those of ``objectives.py``, the loss weights those of its preset; the
learning rate does not fall, so that losses at different steps can be compared. The loss of the
averaged weights on clips of other videos, at fixed noise and times, is taken every
``--every`` steps. Where it rises again, the network has begun to learn its videos by heart.

The JSON file is written after every row; the same command computes rows that it lacks.
"""

import argparse
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from objectives import CHANGES, FRAMES, PRESET, SIZE, Benchmark

from longtake import run_folder
from longtake.checkpoint import write_text
from longtake.distributed import Ranks
from longtake.runs import AnyRun, Callbacks, read_run

VIDEOS, WIDTHS = (8, 32, 128, 512), (16, 32)
HELD_OUT = 64  # clips, of videos of their own
PRECISION = "float32"  # which any CPU is fast in
LAST = 5  # logged losses, whose mean is the training loss at the end
HEAD = ("videos", "width", "lowest held-out loss", "at step", "times each clip was seen")
TABLE = (*HEAD, "held-out loss at the end", "training loss at the end")


def main() -> None:
    """Train, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=VIDEOS, help="numbers of videos")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="channels; of 16")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument("--every", type=int, default=40, help="steps between held-out losses")
    parser.add_argument("--work", type=Path, default=Path("runs/data_size"), help="is kept")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    trial = Trial(work=chosen.work, steps=chosen.steps, every=chosen.every)
    rows = stored_rows(chosen.json, trial)
    for seed, videos, width in itertools.product(range(chosen.seeds), chosen.videos, chosen.widths):
        if any((row["videos"], row["width"], row["seed"]) == (videos, width, seed) for row in rows):
            continue
        rows.append(trial.row(videos, width, seed))
        print(rows[-1], flush=True)
        if chosen.json:
            write_text(chosen.json, json.dumps({**trial.about, "rows": rows}, indent=1) + "\n")
    print("\n".join(table(rows)))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is equal in all rows.

    Attributes:
        work: folder of the autoencoder, the latent caches and the runs.
        steps: number of training steps of each row.
        every: number of steps between losses on held-out clips.
    """

    work: Path
    steps: int
    every: int

    @property
    def about(self) -> dict[str, Any]:
        """What the rows have in common, for the file."""
        return {"preset": PRESET, "changes": list(CHANGES), "steps": self.steps} | {
            "every": self.every,
            "held_out": HELD_OUT,
            "precision": PRECISION,
        }

    def run(self, videos: int, width: int, seed: int) -> AnyRun:
        """Config of the training of a row."""
        plan = f"{{frames: {FRAMES}, height: {SIZE}, width: {SIZE}}}"
        held_out = f"{{kind: sky, split: test, videos: {HELD_OUT}, plan: {plan}}}"
        own = (
            f"model={self.work / 'autoencoder'}",
            f"cache_folder={self.work / f'latents_{videos}'}",
            f"data.videos={videos}",
            f"validation={held_out}",
            "diffusion.weighting=min_snr",
            f"training.precision={PRECISION}",
            f"denoiser.model_channels={width}",
            "sampling.sampler.steps=1",  # of the previews, at which the loss is taken
            "num_previews=1",
            f"training.seed={seed}",
            f"training.steps={self.steps}",
            "training.cooldown_steps=0",
            f"training.sample_every={self.every}",
        )
        return read_run(PRESET, [*CHANGES, *own])

    def row(self, videos: int, width: int, seed: int) -> dict[str, Any]:
        """Train, and read the losses from the run's log."""
        assert Benchmark(work=self.work, steps=self.steps, n=1).autoencoder  # is written
        run, folder = self.run(videos, width, seed), self.work / f"{videos}_{width}_{seed}"
        began = time.process_time()
        run_folder.start(run, folder, Ranks(), Callbacks())
        seconds = round(time.process_time() - began, 1)
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        found = losses(lines, run.training.batch / videos)
        return {"videos": videos, "width": width, "seed": seed, "cpu_seconds": seconds, **found}


def losses(lines: Sequence[Mapping[str, Any]], passes_a_step: float) -> dict[str, Any]:
    """Losses of a run by the lines of its log; ``passes_a_step``: how often a step sees a clip."""
    held_out = {x["step"]: x["validation_loss"] for x in lines if "validation_loss" in x}
    training = [line["loss"] for line in lines if "loss" in line][-LAST:]
    step = min(held_out, key=lambda step: held_out[step])
    return {
        "held_out": {str(step): round(loss, 5) for step, loss in held_out.items()},
        "best": {"step": step, "loss": round(held_out[step], 5)},
        "passes": round(step * passes_a_step, 1),
        "last": round(held_out[max(held_out)], 5),
        "training": round(sum(training) / len(training), 5),
    }


def stored_rows(path: Path | None, trial: Trial) -> list[dict[str, Any]]:
    """Rows that a file holds; a ValueError if they are of other settings."""
    if path is None or not path.exists():
        return []
    stored = json.loads(path.read_text())
    rows = stored.pop("rows")
    if stored != trial.about:
        raise ValueError(f"{path}: its rows are of other settings; name another file")
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows as Markdown."""
    lines = [" | ".join(TABLE), " | ".join(["---:"] * len(TABLE))]
    for row in sorted(rows, key=lambda row: (row["videos"], row["width"], row["seed"])):
        best = row["best"]
        cells = [row["videos"], row["width"], f"{best['loss']:.3f}", best["step"]]
        cells += [f"{row['passes']:g}", f"{row['last']:.3f}", f"{row['training']:.3f}"]
        lines.append(" | ".join(map(str, cells)))
    return [f"| {line} |" for line in lines]


if __name__ == "__main__":
    main()
