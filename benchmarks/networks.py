"""How much faster our UNet is than the same network written the plain way.

    python benchmarks/networks.py                      # a reduced width, seconds, two CPU threads
    python benchmarks/networks.py --full               # the released width
    python benchmarks/networks.py --device cuda        # full size: ms a step and share of the peak

Both networks hold the same weights and must agree before anything is timed. They are timed in turn,
A B A B, and the ratio is the median of the rounds' ratios. "recomputed" is the plain network with
gradient checkpointing, as the official configs train it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from plain.volume_unet import PlainVolumeUNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from longtake.denoisers import VolumeUNet, VolumeUNetConfig
from longtake.diffusion.condition import Condition
from longtake.export.lvdm_unet_keys import to_official

FULL = VolumeUNetConfig(zero_init=False)
UNCONDITIONAL = Condition()

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--full", action="store_true", help="the released width, 549 million")
    parser.add_argument("--channels", type=int, default=64, help="of the reduced width")
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
    parser.add_argument("--peak", type=float, default=790.0, help="TFLOP/s in bf16, for cuda")
    parser.add_argument("--json", type=Path, help="write the table here too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    reduced = FULL.model_copy(update={"model_channels": args.channels})
    config = FULL if args.full or device.type == "cuda" else reduced
    batches = args.batch or ([1, 8, 64] if device.type == "cuda" else [1])
    if device.type == "cuda":
        rows = [accelerated(config, batch, device, args.rounds, args.peak) for batch in batches]
    else:
        rows = [
            row
            for batch in batches
            for row in compared(config, batch, args.rounds, CLOCKS[args.clock])
        ]
    width = f"{config.model_channels} channels" + ("" if config is FULL else ", a reduced width")
    print(f"LVDM UNet, {width}, latent {config.latent}, torch {torch.__version__}, {device}")
    show(rows)
    if args.json:
        about = {"config": config.model_dump(mode="json"), "torch": torch.__version__}
        about |= {"device": str(device), "threads": args.threads, "rounds": args.rounds}
        about |= {"clock": args.clock}
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=2) + "\n")


def compared(config: VolumeUNetConfig, batch: int, rounds: int, clock: Clock) -> list[dict]:
    """Ours against plain on a CPU: forward, a training step, and one with recomputation."""
    ours = config.build()
    plain, recomputed = (twin(ours, checkpointed) for checkpointed in (False, True))
    z, t = inputs(config, batch)
    agree(ours, plain, z, t)
    apply = {"ours": lambda: ours(z, t, UNCONDITIONAL), "plain": lambda: plain(z, t)}
    pairs = in_turn(forward(apply["ours"]), forward(apply["plain"]), rounds, clock)
    rows = [row("forward", batch, pairs)]
    step = training_step(ours, apply["ours"])
    against = {
        "training step": training_step(plain, apply["plain"]),
        "training step, recomputed": training_step(recomputed, lambda: recomputed(z, t)),
    }
    for name, other in against.items():
        rows.append(row(name, batch, in_turn(step, other, rounds, clock)))
    return rows


def accelerated(
    config: VolumeUNetConfig, batch: int, device: torch.device, rounds: int, peak: float
) -> dict:
    """Milliseconds and share of the peak in bf16; a training step counts as three forwards."""
    unet = config.build().to(device)
    z, t = (x.to(device) for x in inputs(config, batch))

    def apply() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return unet(z, t, UNCONDITIONAL)

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        apply()
    tera = counter.get_total_flops() / 1e12
    forward_s = median(forward(apply), rounds, device)
    step_s = median(training_step(unet, apply), rounds, device)
    return {
        "what": "bf16",
        "batch": batch,
        "forward_ms": 1e3 * forward_s,
        "forward_mfu": tera / forward_s / peak,
        "step_ms": 1e3 * step_s,
        "step_mfu": 3 * tera / step_s / peak,
    }


def twin(ours: VolumeUNet, checkpointed: bool) -> PlainVolumeUNet:
    """The plain network with the weights of ours."""
    config = ours.config
    attention = config.attention
    assert attention.kind == "st_attention"
    assert attention.relative_position is not None
    plain = PlainVolumeUNet(
        config.latent[0],
        config.model_channels,
        config.channel_mult,
        blocks=config.num_res_blocks,
        attend=config.attention_resolutions,
        heads=attention.num_heads,
        reach=attention.relative_position.reach,
        checkpointed=checkpointed,
    )
    plain.load_state_dict(to_official(ours.state_dict(), config))
    return plain


def inputs(config: VolumeUNetConfig, batch: int) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, *config.latent), torch.rand(batch) * 999


@torch.no_grad()
def agree(ours: VolumeUNet, plain: PlainVolumeUNet, z: Tensor, t: Tensor) -> None:
    got, want = ours(z, t, UNCONDITIONAL), plain(z, t)
    error = ((got - want).norm() / want.norm()).item()
    assert error < 1e-4, f"the networks differ by {error:.1e}; their times would mean nothing"


def forward(apply: Callable[[], Tensor]) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            apply()

    return run


def training_step(network: nn.Module, apply: Callable[[], Tensor]) -> Callable[[], None]:
    """Forward, backward, AdamW; the plain network's is torch's default, ours is fused as in fit."""
    fused = True if isinstance(network, VolumeUNet) else None
    optimizer = torch.optim.AdamW(network.parameters(), 1e-6, fused=fused)

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


def row(what: str, batch: int, pairs: list[tuple[float, float]]) -> dict:
    ratios = sorted(plain / ours for ours, plain in pairs)
    quarter = len(ratios) // 4
    return {
        "what": what,
        "batch": batch,
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
