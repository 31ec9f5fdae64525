"""Arithmetic of training on many GPUs: memory, computation and communication of a step.

    python benchmarks/scale.py --json docs/results/scale.json

Nothing is trained: the networks of presets lie on the meta device, where their weights and the
operations of a forward pass are counted. The rest is arithmetic with the numbers of a GPU that are
given as arguments, by default an H100 SXM: its peak in bfloat16, the share of it that is reached,
and the bandwidths of its links within and between machines.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from longtake.checkpoint import write_text
from longtake.diffusion import ScaledLinear
from longtake.meta_device import build_empty
from longtake.runs import DiffusionRun, read_run

PRESETS = ("lvdm_sky_short", "pvdm_sky_l")
NUMBERS = (1, 8, 512)  # of GPUs
PER_NODE = 8
TITLES = (
    "| preset | GPUs | weights | GB per GPU, replicated | GB per GPU, split | ms to compute a clip "
    "| ms to exchange gradients | clips per GPU for 90 % |"
)
# float32 weights, gradients, two moments and the moving average.
STATE_BYTES, GRADIENT_BYTES = 20, 4


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A GPU and its links: TFLOP/s, the share that is reached, GB, and GB/s in one direction."""

    peak: float
    share: float
    memory: float
    within: float
    between: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peak", type=float, default=989, help="TFLOP/s in bf16, dense")
    parser.add_argument("--share", type=float, default=0.35, help="of the peak that is reached")
    parser.add_argument("--memory", type=float, default=80, help="GB of a GPU")
    parser.add_argument("--within", type=float, default=450, help="GB/s between GPUs of a machine")
    parser.add_argument("--between", type=float, default=50, help="GB/s of a GPU to others")
    parser.add_argument("--json", type=Path)
    options = vars(parser.parse_args())
    path = options.pop("json")
    machine = Machine(**options)
    rows = [row for preset in PRESETS for row in rows_of(preset, machine)]
    if path:
        write_text(path, json.dumps({"machine": asdict(machine), "rows": rows}, indent=1) + "\n")
    print(TITLES)
    print("| --- |" + 7 * " ---: |")
    for row in rows:
        print(
            f"| `{row['preset']}` | {row['gpus']} | {row['parameters'] / 1e6:.0f} M "
            f"| {row['replicated_gb']:.1f} | {row['sharded_gb']:.1f} | {row['clip_ms']:.1f} "
            f"| {row['exchange_ms']:.1f} | {row['clips']} |"
        )


def rows_of(preset: str, machine: Machine) -> list[dict]:
    """One row for each number of GPUs."""
    run = read_run(preset)
    assert isinstance(run, DiffusionRun)
    parameters, flops = counted(run)
    clip_s = 3 * flops / (machine.peak * machine.share * 1e12)  # backward counts as two forwards
    rows = []
    for gpus in NUMBERS:
        exchange_s = exchange(parameters, gpus, machine)
        rows.append(
            {
                "preset": preset,
                "gpus": gpus,
                "parameters": parameters,
                "forward_tflop": flops / 1e12,
                "replicated_gb": parameters * STATE_BYTES / 1e9,
                "sharded_gb": parameters * STATE_BYTES / min(gpus, PER_NODE) / 1e9,
                "clip_ms": 1e3 * clip_s,
                "exchange_ms": 1e3 * exchange_s,
                "clips": max(1, int(-(-9 * exchange_s // clip_s))),
            }
        )
    return rows


def counted(run: DiffusionRun) -> tuple[int, int]:
    """Weights of a run's denoiser, and floating-point operations of its forward pass on a clip."""
    network = build_empty(run.denoiser)
    z = torch.empty(1, *network.spec.shape, device="meta")
    prepared = network.prepare({}, ScaledLinear().embedding)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(z, torch.empty(1, device="meta"), prepared)
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops()


def exchange(parameters: int, gpus: int, machine: Machine) -> float:
    """Seconds in which gradients are averaged, each GPU with every weight.

    A ring of n GPUs sends 2 (n - 1) / n times the gradients over each of its links. Between
    machines there are as many links as GPUs in one, and as many rings share the gradients.
    """
    link = machine.within if gpus <= PER_NODE else min(machine.within, PER_NODE * machine.between)
    return 2 * (gpus - 1) / gpus * GRADIENT_BYTES * parameters / (link * 1e9)


if __name__ == "__main__":
    main()
