"""How much faster our UNets are than the same networks written the plain way.

    python benchmarks/networks.py                      # reduced widths, two CPU threads
    python benchmarks/networks.py --network pvdm --channels 128 --forward   # PVDM-S, whole
    python benchmarks/networks.py --full --forward     # the papers' widths: LVDM and PVDM-L
    python benchmarks/networks.py --device cuda        # full size: ms a step and share of the peak

Both networks hold the same weights and must agree before anything is timed. They are timed in turn,
A B A B, and the ratio is the median of the rounds' ratios. "recomputed" is the plain network with
gradient checkpointing, as LVDM's official configs train it; plain PVDM always recomputes its
attention, as the official code does.

LVDM and PVDM have a process each. Plain PVDM's scores are larger than what the allocator keeps, so
the system allocates their memory again at every call. After another network's training there may be
enough left over, and the same call takes far less time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import torch
from pairs import Pair, triplane_pair, volume_pair
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig
from longtake.diffusion.process import Denoiser
from longtake.training.adamw import AdamW

FULL_WIDTH = 256

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    args = arguments()
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        rows = [row for made in processes.map(measured, args.network, repeat(args)) for row in made]
    print(f"batch of clips, torch {torch.__version__}, {args.device}, {args.threads} threads")
    show(rows)
    if args.json:
        about = {"torch": torch.__version__, "device": args.device, "threads": args.threads}
        about |= {"rounds": args.rounds, "clock": args.clock, "cpu": cpu()}
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=2) + "\n")


def measured(network: str, args: argparse.Namespace) -> list[dict]:
    """Rows of a network."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    width = FULL_WIDTH if args.full or device.type == "cuda" else args.channels
    rows: list[dict] = []
    for batch in args.batch or ([1, 8, 64] if device.type == "cuda" else [1]):
        pair = PAIRS[network](width, batch)
        about = {"network": f"{network} {width}", "batch": batch}
        if device.type == "cuda":
            made = [accelerated(pair, device, args.rounds, args.peak)]
        else:
            made = compared(pair, args.rounds, CLOCKS[args.clock], training=not args.forward)
        rows += [about | row for row in made]
    return rows


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", nargs="+", choices=[*PAIRS], default=[*PAIRS])
    parser.add_argument("--full", action="store_true", help=f"{FULL_WIDTH} channels, as released")
    parser.add_argument("--channels", type=int, default=64, help="of the first level")
    parser.add_argument("--forward", action="store_true", help="no training step, less memory")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", help="default: 1; on cuda 1 8 64")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu with --threads 1 hardly notices what else the machine does",
    )
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s in bf16, for cuda")
    parser.add_argument("--json", type=Path, help="write the table here too")
    return parser.parse_args()


def cpu() -> str:
    """What the processor says it is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "")


def volume(width: int, batch: int) -> Pair:
    return volume_pair(VolumeUNetConfig(model_channels=width, zero_init=False), batch)


def triplane(width: int, batch: int) -> Pair:
    return triplane_pair(TriplaneUNetConfig(model_channels=width, zero_init=False), batch)


PAIRS = {"lvdm": volume, "pvdm": triplane}


def compared(pair: Pair, rounds: int, clock: Clock, *, training: bool) -> list[dict]:
    """Ours against plain on a CPU: forward, and a training step against each plain network."""
    pair.check()
    plain = next(iter(pair.plain.values()))
    ours = pair.run(pair.ours)
    rows = [row("forward", in_turn(forward(ours), forward(pair.run(plain)), rounds, clock))]
    if training:
        step = training_step(pair.ours, ours)
        for name, network in pair.plain.items():
            other = training_step(network, pair.run(network))
            rows.append(row(f"training step{name}", in_turn(step, other, rounds, clock)))
    return rows


def accelerated(pair: Pair, device: torch.device, rounds: int, peak: float) -> dict:
    """Milliseconds and share of the peak in bf16; a training step counts as three forwards."""
    network = pair.ours.to(device)
    pair.plain.clear()
    run = pair.run(network, device)

    def apply() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return run()

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        apply()
    tera = counter.get_total_flops() / 1e12
    forward_s = median(forward(apply), rounds, device)
    step_s = median(training_step(network, apply), rounds, device)
    return {
        "what": "bf16",
        "forward_ms": 1e3 * forward_s,
        "forward_mfu": tera / forward_s / peak,
        "step_ms": 1e3 * step_s,
        "step_mfu": 3 * tera / step_s / peak,
    }


def forward(apply: Callable[[], Tensor]) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            apply()

    return run


def training_step(network: nn.Module, apply: Callable[[], Tensor]) -> Callable[[], None]:
    """Forward, backward, AdamW; the plain network's is torch's default, ours is that of fit."""
    ours = isinstance(network, Denoiser)
    made = partial(AdamW, fused=True) if ours else torch.optim.AdamW
    optimizer = made(network.parameters(), 1e-6)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        apply().square().mean().backward()
        optimizer.step()

    return run


def in_turn(
    ours: Callable[[], None], plain: Callable[[], None], rounds: int, clock: Clock
) -> list[tuple[float, float]]:
    """Seconds of ours and plain, A B A B."""
    for run in (ours, plain):
        run()
    return [(timed(ours, clock), timed(plain, clock)) for _ in range(rounds)]


def median(run: Callable[[], None], rounds: int, device: torch.device) -> float:
    for _ in range(5):
        run()
    times = []
    for _ in range(max(rounds, 20)):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        run()
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def timed(run: Callable[[], None], clock: Clock) -> float:
    start = clock()
    run()
    return clock() - start


def row(what: str, pairs: list[tuple[float, float]]) -> dict:
    ratios = sorted(plain / ours for ours, plain in pairs)
    quarter = len(ratios) // 4
    return {
        "what": what,
        "ours_ms": 1e3 * statistics.median(ours for ours, _ in pairs),
        "plain_ms": 1e3 * statistics.median(plain for _, plain in pairs),
        "ratio": statistics.median(ratios),
        "ratio_from": ratios[quarter],
        "ratio_to": ratios[-1 - quarter],
    }


def show(rows: list[dict]) -> None:
    names = list(rows[0])
    cells = [[f"{v:.2f}" if isinstance(v, float) else str(v) for v in r.values()] for r in rows]
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    for line in [names, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


if __name__ == "__main__":
    main()
