"""CPU time of a sampling step without the network: longtake's clip sampler and the official DDIM.

    python benchmarks/sampler_alone.py --json docs/results/sampler_alone.json

Both make the same steps on latents of LVDM's size (4 x 4 x 32 x 32) and of PVDM's (4 x 2048), in
turn, in one process on one thread, with a network that returns its input: the official scripts'
loops as in ``benchmarks/plain``, and longtake's with all that it does once for a clip, such as
seeds, tables of coefficients and signals.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from networks import cpu
from plain.ddim import Steps, ddim_lvdm, ddim_pvdm
from torch import Tensor

from longtake.diffusion import DDIM, ClipSampler, Denoiser, Diffusion, ScaledLinear
from longtake.diffusion.process import Embedding
from longtake.diffusion.timesteps import grid_times
from longtake.latents import LatentSpec

SPECS = {
    "LVDM, 50 steps": LatentSpec(shape=(4, 4, 32, 32), clip=(16, 256, 256), frame_axis=2),
    "PVDM, 400 steps, eta 1": LatentSpec(
        shape=(4, 2048), clip=(16, 256, 256), frame_axis=None, bounds=(-1.0, 1.0)
    ),
}
SAMPLERS = {
    "LVDM, 50 steps": DDIM(steps=50, grid="leading"),
    "PVDM, 400 steps, eta 1": DDIM(steps=400, grid="linspace", eta=1.0),
}


class Same(Denoiser):
    """A network that returns its input."""

    def __init__(self, spec: LatentSpec) -> None:
        super().__init__()
        self.spec = spec

    def prepare(self, signals: Mapping[str, Tensor], embedding: Embedding) -> Any:
        del signals, embedding

    def forward(self, z: Tensor, t: Tensor, prepared: Any) -> Tensor:
        del t, prepared
        return z


def main() -> None:
    """Print a table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [compared(name, chosen.rounds) for name in SPECS]
    print("| clip | longtake, us per step | official, us per step | ratio | quartiles |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        cells = row["clip"], row["longtake_us"], row["official_us"], row["ratio"], row["quartiles"]
        print("| {} | {} | {} | {} | {} |".format(*cells))
    if chosen.json:
        about = {"processor": cpu(), "torch": torch.__version__, "rounds": chosen.rounds}
        chosen.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def compared(name: str, rounds: int) -> dict[str, Any]:
    """A row: medians of the rounds, and quartiles of their ratios."""
    spec, rule = SPECS[name], SAMPLERS[name]
    diffusion = Diffusion(schedule=ScaledLinear(), prediction="v")
    sampler = ClipSampler(denoiser=Same(spec), diffusion=diffusion, sampler=rule)
    times = torch.tensor(grid_times(rule.grid, rule.steps), dtype=torch.float64)
    alphas = diffusion.schedule(times).alpha.square().numpy()
    embedded = diffusion.schedule.embedding(times[:-1]).tolist()
    steps = Steps(t=embedded, alphas=alphas[:-1], alphas_prev=alphas[1:])
    network = [lambda x, t: x]
    if spec.bounds is None:
        walk = partial(ddim_lvdm, network, steps=steps)
    else:
        walk = partial(ddim_pvdm, network, steps=steps, bounds=spec.bounds)

    def official() -> Tensor:
        return walk(x=torch.randn(1, *spec.shape))

    def ours() -> Tensor:
        return sampler({}, [0]).z

    for run in (ours, official):
        run()
    pairs = [
        (step_us(ours, len(times) - 1), step_us(official, len(times) - 1)) for _ in range(rounds)
    ]
    ratios = sorted(theirs / own for own, theirs in pairs)
    own, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {
        "clip": name,
        "longtake_us": round(own, 1),
        "official_us": round(theirs, 1),
        "ratio": round(statistics.median(ratios), 2),
        "quartiles": [round(ratios[at], 2) for at in (rounds // 4, -1 - rounds // 4)],
    }


def step_us(run: Callable[[], Tensor], steps: int) -> float:
    """CPU microseconds of one of the steps of a call."""
    began = time.process_time()
    run()
    return 1e6 * (time.process_time() - began) / steps


if __name__ == "__main__":
    main()
