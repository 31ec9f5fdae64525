"""What each sampler makes of two known denoisers, at every number of steps from 1 to 200.

    python benchmarks/step_counts.py --json docs/results/step_counts.json

The first denoiser always answers 0.7: a sampler should arrive there. The second one knows that the
data are normal with a standard deviation (std) of 1: samples of few steps have less, as any
discretisation contracts them, but none should have more, and with enough steps none should have
less. For each schedule a row has the greatest error of the constant, the greatest std at any number
of steps, and the fewest steps from which on the std stays within 3 %.

Names of schedules measure only these; the JSON file then keeps its rows of the others.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from longtake.diffusion import (
    DDIM,
    DDPM,
    EDM,
    Cosine,
    DiffusersSampler,
    Linear,
    NoiseSchedule,
    RectifiedFlow,
    Sampler,
    ScaledLinear,
)
from longtake.diffusion.diffusers_sampler import SCHEDULERS
from longtake.noise import SampleNoise

CONSTANT, STEPS, NEAR = 0.7, range(1, 201), 0.03

SCHEDULES: Mapping[str, NoiseSchedule] = {
    "scaled linear (LVDM)": ScaledLinear(),
    "scaled linear (PVDM)": ScaledLinear(beta_end=0.0195),
    "linear": Linear(),
    "cosine": Cosine(),
    "cosine, shift 0.25": Cosine(shift=0.25),
    "rectified flow": RectifiedFlow(),
    "EDM": EDM(),
    "scaled linear (LVDM), zero SNR": ScaledLinear(rescale_betas_zero_snr=True),
    "linear, zero SNR": Linear(rescale_betas_zero_snr=True),
}

SAMPLERS: Mapping[str, Any] = {
    "ddim": lambda steps: DDIM(steps=steps),
    "ddim, linspace": lambda steps: DDIM(steps=steps, grid="linspace"),
    "ddim, eta 1": lambda steps: DDIM(steps=steps, eta=1),
    **{
        name: lambda steps, n=name: DiffusersSampler(scheduler=n, steps=steps)
        for name in SCHEDULERS
    },
}


def outcome(sampler: Sampler, schedule: NoiseSchedule, side: int = 96) -> tuple[float, float]:
    """Greatest error of the constant; std of the samples of normal data."""
    noise = SampleNoise((3, 4))
    z = noise.normal((1, 1, side, side))

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (float(x) for x in schedule(t[0].double()))
        return torch.stack([torch.full_like(z[0], CONSTANT), alpha / (alpha**2 + sigma**2) * z[1]])

    times = sampler.times(schedule)[:, None].expand(-1, 2)
    constant, normal = sampler(denoise, z, times, schedule, noise)
    return float((constant - CONSTANT).abs().max()), float(normal.std() / z[1].std())


def measure(name: str, schedule: NoiseSchedule, counts: Sequence[int]) -> dict[str, Any]:
    """A row: all numbers of steps of a sampler on a schedule, or why it refuses them all."""
    found: dict[int, tuple[float, float]] = {}
    refused: dict[int, str] = {}
    for steps in counts:
        try:
            found[steps] = outcome(SAMPLERS[name](steps), schedule)
        except ValueError as error:
            refused[steps] = str(error)
    row: dict[str, Any] = {"counts": len(found), "refused": len(refused)}
    if refused:
        row["reason"] = next(iter(refused.values()))
    if found:
        errors, stds = ([pair[i] for pair in found.values()] for i in (0, 1))
        off = [steps for steps, (_, std) in found.items() if not abs(std - 1) <= NEAR]
        later = [steps for steps in found if steps > max(off, default=0)]
        finite = all(torch.tensor([*errors, *stds]).isfinite().tolist())
        row |= {"finite": finite, "error": max(errors), "greatest_std": max(stds)}
        row["steps_within_3_percent"] = later[0] if later else None
    return row


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of docs/results.md."""
    print("| sampler | schedule | error of a constant | greatest std | steps for std within 3 % |")
    print("| --- | --- | ---: | ---: | ---: |")
    for row in rows:
        if row["counts"]:
            few = row["steps_within_3_percent"] or "over 200"
            values = f"{row['error']:.0e} | {row['greatest_std']:.3f} | {few}"
        else:
            values = "refused | |"
        print(f"| {row['sampler']} | {row['schedule']} | {values} |")


def kept(path: Path | None, versions: Mapping[str, str], chosen: Sequence[str]) -> list[Any]:
    """Rows of a JSON file that are not measured again; a ValueError if of other versions."""
    stored = json.loads(path.read_text()) if path and path.exists() else {"rows": []}
    rows = [row for row in stored["rows"] if row["schedule"] not in chosen]
    if rows and any(stored[name] != version for name, version in versions.items()):
        raise ValueError(f"{path}: its rows are of other versions than {versions}; measure all")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("schedules", nargs="*", help="some of: " + "; ".join(SCHEDULES))
    parser.add_argument("--most", type=int, default=max(STEPS), help="greatest number of steps")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__}
    chosen, began = args.schedules or list(SCHEDULES), time.perf_counter()
    rows = kept(args.json, versions, chosen)
    for schedule_name in chosen:
        schedule = SCHEDULES[schedule_name]
        for name in SAMPLERS:
            found = measure(name, schedule, range(1, args.most + 1))
            rows.append({"sampler": name, "schedule": schedule_name, **found})
        error, std = outcome(DDPM(), schedule)
        at_1000 = {"counts": 1, "refused": 0, "finite": True, "error": error, "greatest_std": std}
        enough = 1000 if abs(std - 1) <= NEAR else None
        of_ddpm = {"sampler": "ddpm, 1000 steps", "schedule": schedule_name}
        rows.append({**of_ddpm, **at_1000, "steps_within_3_percent": enough})
    show(rows)
    print(f"{time.perf_counter() - began:.0f} s")
    if args.json:
        order = list(SCHEDULES)
        rows.sort(key=lambda row: order.index(row["schedule"]))
        args.json.write_text(json.dumps({**versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
