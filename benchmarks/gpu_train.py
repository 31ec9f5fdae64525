"""Train the shipped models of the sky world again within twelve minutes of one GPU.

    python benchmarks/gpu_train.py --out trained          # on an H100 or H200
    python benchmarks/gpu_train.py --dry-run --out toy    # two toy steps of each stage, on a CPU

Each stage is a preset that ships with longtake, trained for its share of the time that is left: a
few steps are timed first, and the number of steps, the schedule of the learning rate and the EMA
follow from them. A stage that another begins from runs before it. Models are in
OUT/runs/STAGE/model, what was done in OUT/training.json. ``lvdm-general`` is not among them, as its
footage is not in this repository, nor are students and light decoders: their presets are trained
from the shipped models.

Needs longtake with its Python dependencies and the package of EfficientNet's weights; without PyAV
no previews are written.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import without_video_packages

without_video_packages.install()

from longtake import run_folder  # noqa: E402
from longtake.distributed import Ranks  # noqa: E402
from longtake.pipeline.calibration import scheduled, with_settings  # noqa: E402
from longtake.runs import AnyRun, read_run  # noqa: E402
from longtake.training.callbacks import Callbacks  # noqa: E402

COOLDOWN = 0.3  # share of the steps over which the learning rate falls
TRIAL_STEPS, UNTIMED = 12, 4
SPARE = 0.9  # share of a stage's time that its steps may take


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A preset, its share of the time, and settings of it in a dry run."""

    preset: str
    share: float
    settings: tuple[str, ...] = ()
    toy: tuple[str, ...] = ()


VOLUME_TOY = ("autoencoder.hidden=4", "autoencoder.groups=4", "data.videos=8")
UNET_TOY = ("denoiser.model_channels=16", "denoiser.channel_mult=[1]", "data.videos=4")
PLANES_TOY = ("autoencoder.width=32", "autoencoder.depth=1", "data.videos=8")
LARGER = ("training.batch=64",)
PLANES_CACHE = "cache_folder=runs/pvdm_laptop_latents"
WORKERS = ("training.workers=12",)
STAGES = (
    Stage(preset="lvdm_laptop_autoencoder", share=16, settings=WORKERS, toy=VOLUME_TOY),
    Stage(preset="lvdm_laptop_autoencoder_whole", share=10, settings=WORKERS, toy=VOLUME_TOY),
    Stage(preset="lvdm_laptop_pred", share=20, settings=LARGER, toy=UNET_TOY),
    Stage(preset="lvdm_laptop_interp", share=16, settings=LARGER, toy=UNET_TOY),
    Stage(preset="pvdm_laptop_autoencoder", share=10, settings=WORKERS, toy=PLANES_TOY),
    Stage(preset="pvdm_laptop_autoencoder_slow", share=10, settings=WORKERS, toy=PLANES_TOY),
    Stage(preset="pvdm_laptop", share=18, settings=(*LARGER, PLANES_CACHE), toy=UNET_TOY),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--budget", type=float, default=690, help="seconds for all stages")
    parser.add_argument("--dry-run", action="store_true", help="two toy steps of each stage")
    parser.add_argument("--only", nargs="+", choices=[stage.preset for stage in STAGES])
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    if not cuda and not args.dry_run:
        parser.error("there is no CUDA device here; --dry-run takes toy steps on a CPU")
    ends = time.monotonic() + args.budget
    args.out.mkdir(parents=True, exist_ok=True)
    os.chdir(args.out)  # presets name the models that they begin from as runs/STAGE
    ranks = Ranks(device=torch.device("cuda" if cuda else "cpu"))
    chosen = [stage for stage in STAGES if stage.preset in (args.only or [stage.preset])]
    rows = []
    for number, stage in enumerate(chosen):
        left = sum(other.share for other in chosen[number:])
        seconds = (ends - time.monotonic()) * stage.share / left
        rows.append(trained(stage, ranks, None if args.dry_run else seconds))
        Path("training.json").write_text(json.dumps(rows, indent=1) + "\n")
        print(" | ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)


def trained(stage: Stage, ranks: Ranks, seconds: float | None) -> dict[str, Any]:
    """Train one stage within ``seconds``; None: two toy steps."""
    start = time.monotonic()
    common = ("training.sample_every=0", "training.evaluate_every=0", "training.export_every=0")
    if seconds is None:
        run = read_run(stage.preset, [*common, *stage.toy, "training.batch=2"])
        run = with_settings(run, scheduled(run, 2, COOLDOWN) | {"training.sample_every": 0})
    else:
        run = read_run(stage.preset, [*common, *stage.settings])
        step = step_seconds(run, Path("trial") / stage.preset, ranks)
        left = SPARE * (seconds - (time.monotonic() - start))
        settings = scheduled(run, max(10, int(left / step)), COOLDOWN)
        run = with_settings(run, settings | {"training.sample_every": 0})
    values: dict[str, float] = {}
    calls = Callbacks(training=lambda at: values.update(at.values))
    run_folder.start(run, Path("runs") / stage.preset, ranks, calls)
    return {
        "stage": stage.preset,
        "steps": run.training.steps,
        "batch": run.training.batch,
        "seconds": round(time.monotonic() - start, 1),
        "values": values,
    }


def step_seconds(run: AnyRun, folder: Path, ranks: Ranks) -> float:
    """Seconds of a training step, by a short run, which leaves the cache of latents to the next."""
    settings = scheduled(run, TRIAL_STEPS, 0.0)
    settings |= {"training.log_every": 1, "training.sample_every": 0}
    times: list[float] = []
    calls = Callbacks(training=lambda at: times.append(time.monotonic()))
    run_folder.start(with_settings(run, settings), folder, ranks, calls)
    return (times[-1] - times[UNTIMED]) / (len(times) - 1 - UNTIMED)


if __name__ == "__main__":
    main()
