"""Clips a second that `longtake evaluate` takes in, from mp4 files to sums, stage by stage.

    python benchmarks/evaluation.py --json docs/results/evaluation.json        # this CPU
    python benchmarks/evaluation.py --device cuda --clips 512 --batch 8 32 64  # a GPU

Videos of the sky world are written as mp4 files, and clips of 16 frames cut from them at random.
Each stage is timed alone: reading on one thread, treatment (resize to 224), I3D, the sums and the
distance. "all" is what users get: several threads read ahead of the network. I3D's weights are
drawn, since times do not depend on them.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.source import ClipPosition, VideoSource
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.evaluation.extraction import FeatureCache, FeatureNetwork, FeatureRequest, extract
from longtake.evaluation.protocols import Protocol, protocol
from longtake.evaluation.selection import choose_clips, usable_videos
from longtake.features.i3d import I3D, I3DConfig
from longtake.metrics.frechet import frechet_distance, gaussian
from longtake.video import VideoWriter

FRAMES, VIDEO_FRAMES = 16, 32

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    network = I3D(I3DConfig()).to(device)
    bench = Bench(network, device, CLOCKS[args.clock], args.rounds)
    rows = []
    for size in args.size:
        with tempfile.TemporaryDirectory() as folder:
            write_videos(Path(folder), size, args.videos)
            rows += list(bench.rows(Path(folder), size, args.clips, args.batch))
    about = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu(),
        "threads": torch.get_num_threads(),
        "clock": args.clock,
        "frames": FRAMES,
        "clips": args.clips,
        "rounds": args.rounds,
    }
    show(about, rows)
    if args.json:
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--clips", type=int, default=32, help="of each measurement")
    parser.add_argument("--videos", type=int, default=8, help="files that clips are cut from")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its own number")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: of a busy machine")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def write_videos(folder: Path, size: int, videos: int) -> None:
    """Videos of the sky world as mp4."""
    plan = ClipPlan(frames=VIDEO_FRAMES, height=size, width=size)
    world = SkyWorld(plan=plan, videos=videos, video_frames=VIDEO_FRAMES)
    for video in range(videos):
        with VideoWriter(folder / f"{video:03d}.mp4", world.fps) as writer:
            writer.write(world.video(video, 0, VIDEO_FRAMES).frames)


class Bench:
    """Times stages; every number is the median of some rounds."""

    def __init__(
        self, network: I3D, device: torch.device, clock: Callable[[], float], rounds: int
    ) -> None:
        self.network, self.device, self.clock, self.rounds = network, device, clock, rounds

    def rows(
        self, folder: Path, size: int, clips: int, batches: Sequence[int]
    ) -> Iterator[dict[str, float | int | str]]:
        """Milliseconds a clip of each stage, and clips a second."""
        source = VideoFolder(path=folder, plan=ClipPlan(frames=1))
        chosen = protocol("longtake", [f"clips_per_video={clips}"], n=clips)
        usable = usable_videos(source, chosen, "real")
        positions = choose_clips(usable, count=clips)
        read = [source.read(*position, FRAMES) for position in positions]
        treated = chosen.treat(torch.from_numpy(read[0]).to(self.device))
        rows = torch.randn(clips, self.network.width)
        alone: dict[str, Callable[[], object]] = {
            "read, one thread": lambda: [source.read(*each, FRAMES) for each in positions],
            "treatment": lambda: self._treat(read, chosen),
            "sums": lambda: gaussian(rows),
        }
        for stage, call in alone.items():
            yield {"size": size, "stage": stage} | self._rate(call, clips)
        both = [gaussian(rows * scale) for scale in (1, 2)]
        whole = self._seconds(lambda: frechet_distance(*both))
        yield {"size": size, "stage": "distance, once", "ms": round(1000 * whole, 2)}
        for batch in batches:
            count = max(batch, clips // batch * batch)
            video = treated.expand(batch, -1, -1, -1, -1).contiguous()
            for stage, call, of in (
                ("I3D", partial(self._features, video, count), count),
                ("all", partial(self._all, source, chosen, positions, batch), clips),
            ):
                yield {"size": size, "stage": stage, "batch": batch} | self._rate(call, of)

    def _treat(self, clips: Iterable[np.ndarray], chosen: Protocol) -> None:
        for clip in clips:
            chosen.treat(torch.from_numpy(clip).to(self.device))

    def _features(self, video: Tensor, count: int) -> None:
        for _ in range(count // len(video)):
            self.network(video).cpu()

    def _all(
        self, source: VideoSource, chosen: Protocol, positions: Sequence[ClipPosition], batch: int
    ) -> None:
        network = FeatureNetwork(network=self.network, treat=chosen.treat, identity="drawn")
        found = extract(
            FeatureRequest(
                source=source,
                role="real",
                protocol=chosen,
                positions=positions,
                seed=0,
                network=network,
            ),
            cache=FeatureCache(folder=None),
            ranks=Ranks(device=self.device),
            batch=batch,
        )
        gaussian(found)

    def _rate(self, call: Callable[[], object], clips: int) -> dict[str, float]:
        seconds = self._seconds(call)
        return {
            "ms": round(1000 * seconds / clips, 3),
            "clips_per_second": round(clips / seconds, 2),
        }

    def _seconds(self, call: Callable[[], object]) -> float:
        """Of one call, after one that is not counted where kernels have to be chosen."""
        if self.device.type == "cuda":
            call()
        taken = []
        for _ in range(self.rounds):
            self._wait()
            began = self.clock()
            call()
            self._wait()
            taken.append(self.clock() - began)
        return statistics.median(taken)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def show(about: dict, rows: Sequence[dict]) -> None:
    """The table of docs/results.md."""
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print("\n| pixels | stage | batch | ms a clip | clips/s |\n| ---: | --- | ---: | ---: | ---: |")
    for row in rows:
        rate = row.get("clips_per_second", "")
        print(f"| {row['size']} | {row['stage']} | {row.get('batch', '')} | {row['ms']} | {rate} |")


def cpu() -> str:
    """Name of the processor, and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
