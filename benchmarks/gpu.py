"""Speed and memory on one GPU: the networks of LVDM and PVDM-L at full size, ours beside plain.

    python benchmarks/gpu.py --json gpu.json           # under eight minutes on an H100 or H200
    python benchmarks/gpu.py --dry-run                 # toy sizes on a CPU, a test of this program

One process, weights equal on both sides, outputs compared before anything is timed:

- what the GPU gives at most: bfloat16 and float32 products, and a copy in memory;
- a sampling step of each denoiser at batch 1, 8 and 64: A, the network written as the official code
  is (benchmarks/plain), in float32 and under autocast; B, ours, in float32, with weights in
  bfloat16, and replayed from a CUDA graph; milliseconds, share of the measured peak, memory;
- a training step on latents as a cache gives them: clips per second, memory;
- decoding of a clip by each autoencoder;
- 1024 frames by the hierarchical rollout with decoding to 8-bit frames on the host, without CUDA
  graphs and with them.

Needs torch, and longtake with its plain Python dependencies; not PyAV. When the time of --budget is
over, the rows that are left are named and not measured.
"""

import argparse
import contextlib
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import without_video_packages
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

without_video_packages.install()

from pairs import Pair, triplane_pair, volume_pair  # noqa: E402

from longtake.autoencoders import TriplaneAutoencoderConfig, VolumeAutoencoderConfig  # noqa: E402
from longtake.backends import CudaGraphs  # noqa: E402
from longtake.backends.cuda_graphs import record  # noqa: E402
from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig  # noqa: E402
from longtake.diffusion import ClipSampler, Denoiser, Diffusion, ScaledLinear  # noqa: E402
from longtake.diffusion.samplers import DDIM  # noqa: E402
from longtake.rollout import Request  # noqa: E402
from longtake.rollout.strategies import Hierarchical  # noqa: E402
from longtake.training.adamw import AdamW  # noqa: E402
from longtake.video.host_copy import HostCopy  # noqa: E402
from longtake.video.pixels import to_bytes  # noqa: E402

FULL: dict[str, Any] = {
    "batches": (1, 8, 64),
    "volume": {},
    "triplane": {},
    "volume_autoencoder": {},
    "triplane_autoencoder": {},
    "train": 64,
    "frames": 1024,
    "steps": 50,
    "clips_per_step": 4,
    "product": 8192,
    "rounds": 10,
}
LEVELS = {"model_channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1}
TOY: dict[str, Any] = {
    "batches": (1,),
    "volume": {"latent": (4, 4, 4, 4), "clip": (16, 16, 16), "attention_resolutions": (2,)}
    | LEVELS,
    "triplane": {"latent": (4, 4, 4, 4), "clip": (4, 16, 16), **LEVELS},
    "volume_autoencoder": {"clip": (16, 16, 16), "factors": (4, 4, 4), "hidden": 2, "groups": 2},
    "triplane_autoencoder": {
        **{"clip": (4, 16, 16), "patch": 4, "width": 16, "depth": 1, "heads": 2},
        **{"head_channels": 8, "pool_depth": 1, "pool_heads": 1, "pool_head_channels": 8},
    },
    "train": 2,
    "frames": 40,
    "steps": 2,
    "clips_per_step": 1,
    "product": 64,
    "rounds": 1,
}
AGREE = 5e-3
"""Greatest relative difference of two networks, whose convolutions may be in TF32 on a GPU."""


@dataclass
class Report:
    """Rows as they are measured, within a time."""

    device: torch.device
    sizes: dict[str, Any]
    ends: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def measure(self, what: str, seconds: float, measured: Callable[[], dict[str, Any]]) -> None:
        """Add a row, unless it would take longer than is left; an error becomes a row too."""
        if time.monotonic() + seconds > self.ends:
            self.skipped.append(what)
            return
        try:
            row = {"what": what} | measured()
        except (RuntimeError, AssertionError) as error:  # out of memory, too
            row = {"what": what, "error": str(error).partition("\n")[0]}
        self.rows.append(row)
        print(" | ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def peak(self, dtype: str) -> float:
        """Measured TFLOP/s of products."""
        found = [row["tflops"] for row in self.rows if row["what"] == f"products, {dtype}"]
        return found[0] if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="toy sizes, on a CPU without a GPU")
    parser.add_argument("--budget", type=float, default=460, help="seconds")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    if not cuda and not args.dry_run:
        parser.error("there is no CUDA device here; --dry-run runs toy sizes on a CPU")
    device = torch.device("cuda" if cuda else "cpu")
    report = Report(device, TOY if args.dry_run else FULL, time.monotonic() + args.budget)
    torch.manual_seed(0)
    ceilings(report)
    for name, build in NETWORKS.items():
        denoiser(report, name, build)
    autoencoders(report)
    report.measure("long video", 30, partial(long_video, report))
    report.measure("long video, graphs", 20, partial(long_video, report, graphs=True))
    print("not measured:", ", ".join(report.skipped) or "nothing was left out")
    if args.json:
        about = {"torch": torch.__version__, "device": name_of(device), "toy": args.dry_run}
        rows = {"rows": report.rows, "skipped": report.skipped}
        args.json.write_text(json.dumps(about | rows, indent=1) + "\n")


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def volume(sizes: dict[str, Any]) -> Pair:
    return volume_pair(VolumeUNetConfig(**sizes["volume"], zero_init=False), 1)


def triplane(sizes: dict[str, Any]) -> Pair:
    return triplane_pair(TriplaneUNetConfig(**sizes["triplane"], zero_init=False), 1)


NETWORKS: dict[str, Callable[[dict[str, Any]], Pair]] = {"LVDM": volume, "PVDM-L": triplane}


def ceilings(report: Report) -> None:
    """Products and copies, the most that the GPU gives in this process."""
    size = report.sizes["product"]
    for dtype in (torch.bfloat16, torch.float32):
        name = str(dtype).removeprefix("torch.")

        def product(dtype: torch.dtype = dtype) -> dict[str, Any]:
            x = torch.randn(size, size, device=report.device, dtype=dtype)
            seconds = timed(report, lambda: x @ x)
            return {"tflops": float(f"{2 * size**3 / seconds / 1e12:.4g}")}

        report.measure(f"products, {name}", 2, product)

    def copied() -> dict[str, Any]:
        x = torch.zeros(size * size * 4, device=report.device)
        return {"gb_per_s": round(2 * 4 * x.numel() / timed(report, x.clone) / 1e9, 1)}

    report.measure("copy in memory", 2, copied)


def timed(report: Report, run: Callable[[], Any], most: int | None = None) -> float:
    """Median seconds of a call."""
    rounds: int = most or report.sizes["rounds"]
    wait = partial(torch.cuda.synchronize, report.device)
    if report.device.type != "cuda":
        wait = lambda: None  # noqa: E731
    for _ in range(min(3, rounds)):
        run()
    seconds = []
    for _ in range(rounds):
        wait()
        start = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def memory(device: torch.device) -> Callable[[], float]:
    """Starts to watch; the result returns the greatest GB allocated since."""
    if device.type != "cuda":
        return lambda: 0.0
    torch.cuda.reset_peak_memory_stats(device)
    return lambda: round(torch.cuda.max_memory_allocated(device) / 1e9, 2)


def denoiser(report: Report, name: str, build: Callable[[dict[str, Any]], Pair]) -> None:
    """A step of one denoiser in every way, then its training steps."""
    with torch.device(report.device):
        pair = build(report.sizes)
    plain = next(iter(pair.plain.values())).to(report.device)
    report.measure(f"{name}, difference of A and B", 3, partial(agreement, pair, plain))
    half, shape = torch.bfloat16, pair.ours.spec.shape
    for batch in report.sizes["batches"]:
        cost = 0.4 * batch + 3
        step = partial(sampling_step, report, shape, batch)
        for what, network, precision in (
            ("A, float32", plain, contextlib.nullcontext),
            ("A, autocast", plain, partial(torch.autocast, report.device.type, half)),
            ("B, float32", pair.ours, contextlib.nullcontext),
        ):
            report.measure(f"{name}, {batch}: {what}", cost, partial(step, network, precision))
    train = partial(training_step, report, shape)
    report.measure(f"{name}, training: A, autocast", 12, partial(train, plain))
    report.measure(f"{name}, training: B, autocast", 12, partial(train, pair.ours))
    del plain
    pair.plain.clear()
    ours = pair.ours.to(half)
    for batch in report.sizes["batches"]:
        step = partial(sampling_step, report, shape, batch, ours, contextlib.nullcontext)
        report.measure(f"{name}, {batch}: B, bfloat16", 0.1 * batch + 3, step)
        if report.device.type == "cuda":
            report.measure(f"{name}, {batch}: B, graph", 0.1 * batch + 5, partial(step, graph=True))


@torch.no_grad()
def agreement(pair: Pair, plain: nn.Module) -> dict[str, Any]:
    got, want = (pair.run(network, pair.z.device)() for network in (pair.ours, plain))
    error = float((got - want).norm() / want.norm())
    assert error < AGREE, f"the networks differ by {error:.1e}; times would mean nothing"
    return {"relative": f"{error:.1e}"}


def call(
    network: nn.Module, shape: Sequence[int], batch: int, device: torch.device
) -> Callable[[], Tensor]:
    """An evaluation on random latents."""
    dtype = next(network.parameters()).dtype
    t = torch.full((batch,), 500.0, device=device)
    z = torch.randn(batch, *shape, device=device, dtype=dtype)
    if isinstance(network, Denoiser):
        prepared = network.prepare({}, ScaledLinear().embedding)
        return lambda: network(z, t / 1000, prepared)
    return lambda: network(z, t)


@torch.no_grad()
def sampling_step(
    report: Report,
    shape: Sequence[int],
    batch: int,
    network: nn.Module,
    precision: Any,
    *,
    graph: bool = False,
) -> dict[str, Any]:
    """Milliseconds of an evaluation, share of the peak, memory."""
    evaluate, watch = call(network, shape, batch, report.device), memory(report.device)

    def run() -> Tensor:
        with precision():
            return evaluate()

    with FlopCounterMode(display=False) as counter:
        run()
    seconds = timed(report, record(run)[0] if graph else run)
    tera = counter.get_total_flops() / 1e12
    return {
        "ms": round(1e3 * seconds, 3),
        "share_of_bf16_peak": round(tera / seconds / report.peak("bfloat16"), 4),
        "gb": watch(),
    }


def training_step(report: Report, shape: Sequence[int], network: nn.Module) -> dict[str, Any]:
    """Clips per second of forward, backward and AdamW under autocast."""
    batch = report.sizes["train"]
    evaluate, watch = call(network, shape, batch, report.device), memory(report.device)
    made = partial(AdamW, fused=True) if isinstance(network, Denoiser) else torch.optim.AdamW
    optimizer = made(network.parameters(), 1e-6)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(report.device.type, torch.bfloat16):
            loss = evaluate().float().square().mean()
        loss.backward()
        optimizer.step()

    seconds = timed(report, run, min(5, report.sizes["rounds"]))
    found = {"clips_per_s": round(batch / seconds, 2), "batch": batch, "gb": watch()}
    optimizer.zero_grad(set_to_none=True)
    return found


def autoencoders(report: Report) -> None:
    """Decoding of a clip."""
    sizes = report.sizes
    configs = {
        "LVDM": VolumeAutoencoderConfig(**sizes["volume_autoencoder"]),
        "PVDM": TriplaneAutoencoderConfig(**sizes["triplane_autoencoder"]),
    }
    for name, config in configs.items():
        for dtype in (torch.float32, torch.bfloat16):
            kind = str(dtype).removeprefix("torch.")
            decode = partial(decoded, report, config, dtype)
            report.measure(f"{name}'s autoencoder decodes a clip, {kind}", 4, decode)


@torch.no_grad()
def decoded(report: Report, config: Any, dtype: torch.dtype) -> dict[str, Any]:
    with torch.device(report.device):
        network = config.build().to(dtype)
        z, watch = torch.randn(1, *network.spec.shape), memory(report.device)
    seconds = timed(report, lambda: network.decode(z))
    return {"ms": round(1e3 * seconds, 2), "gb": watch()}


@torch.inference_mode()
def long_video(report: Report, *, graphs: bool = False) -> dict[str, Any]:
    """Seconds of a whole long video: keyframes, the frames between, decoding, bytes on the host.

    With ``graphs`` denoisers and decoder are replayed from CUDA graphs, which recording is part of.
    """
    sizes, device = report.sizes, report.device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    five = {**sizes["volume"], "mask_channel": True}
    latent = (4, 5, *sizes["volume"].get("latent", (4, 4, 32, 32))[2:])
    clip = (20, *sizes["volume"].get("clip", (16, 256, 256))[1:])
    between = {**five, "latent": latent, "clip": clip}
    with torch.device(device):
        keys, filler = (VolumeUNetConfig(**some).build().to(dtype) for some in (five, between))
        decoder = VolumeAutoencoderConfig(**sizes["volume_autoencoder"]).build().to(dtype)
    if graphs:
        backend = CudaGraphs()
        keys, filler = backend.denoiser(keys), backend.denoiser(filler)
        decoder = backend.autoencoder(decoder)
    sampler = DDIM(steps=sizes["steps"], grid="leading" if sizes["steps"] > 2 else "trailing")
    first, filled = (
        ClipSampler(denoiser=network, diffusion=Diffusion(), sampler=sampler)
        for network in (keys, filler)
    )
    samplers: Any = {"first": first, "next": first, "interpolator": filled}
    rollout, watch = Hierarchical(clips_per_step=sizes["clips_per_step"]), memory(device)
    start, done, parts = time.perf_counter(), 0, []
    stream = decoder.stream_decoder()
    for chunk in rollout(samplers, Request(seeds=(0,))):
        pixels = stream.push(chunk.z)
        if pixels is not None:
            parts.append(HostCopy(to_bytes(pixels)))
            done += pixels.shape[2]
        if done >= sizes["frames"]:
            break
    for part in parts:
        part.wait()
    seconds = time.perf_counter() - start
    return {"frames": done, "seconds": round(seconds, 2), "gb": watch(), "dtype": str(dtype)}


if __name__ == "__main__":
    main()
