"""Clips a second that `longtake evaluate` takes in, from mp4 files to sums, stage by stage.

    python benchmarks/evaluation.py --threads 1 --clock cpu --json docs/results/evaluation.json
    python benchmarks/evaluation.py --device cuda --clips 512 --batch 8 32 64  # a GPU

Videos of the sky world are written as mp4 files, and clips of 16 frames cut from them at random.
Each stage is timed alone: reading on one thread, treatment (resize to 224), I3D, the sums and the
distance. "all" is what users get: several threads read ahead of the network. "plain" is the same
written as in the PyTorch ports that papers used (``plain.i3d``), its network's features compared
with ours before it is timed; both sides take turns. I3D's weights are drawn, since times do not
depend on them. ``--memory 16 128`` prints the process's peak memory after as many clips instead;
with ``--random-features`` after whole evaluations, both sides and their intervals, by a small
network with as many features as I3D and clips of 64 x 64 pixels, so that thousands of clips take a
minute.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain import i3d as plain
from torch import Tensor, nn

from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.source import ClipPosition, VideoSource
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.extraction import FeatureCache, FeatureNetwork, FeatureRequest, extract
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import Protocol, protocol
from longtake.evaluation.selection import choose_clips, usable_videos
from longtake.features.i3d import I3D, I3DConfig
from longtake.metrics.frechet import frechet_distance, gaussian
from longtake.video import VideoWriter

FRAMES, VIDEO_FRAMES = 16, 32
I3D_FEATURES = 400

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    bench = Bench(device, CLOCKS[args.clock], args.rounds)
    rows = []
    for size in args.size:
        with tempfile.TemporaryDirectory() as folder:
            write_videos(Path(folder), size, args.videos)
            if args.memory and args.random_features:
                rows += [memory_of_whole(Path(folder), size, clips) for clips in args.memory]
            elif args.memory:
                rows += [bench.memory(Path(folder), size, clips) for clips in args.memory]
            else:
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
    parser.add_argument("--memory", type=int, nargs="+", help="peak memory after these clips")
    parser.add_argument("--random-features", action="store_true", help="with --memory: no I3D")
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


class Networks:
    """I3D of ours, in both precisions, and the plain one, which have the same weights."""

    def __init__(self, device: torch.device) -> None:
        ours = {"": I3DConfig(epsilon=1e-5), "bfloat16": I3DConfig(precision="bfloat16")}
        self.ours = {name: I3D(config) for name, config in ours.items()}
        weights = drawn_weights(self.ours[""].shapes())
        for network in self.ours.values():
            network.load(weights)
            network.to(device)
        self.plain = plain.InceptionI3d().eval().requires_grad_(False)
        self.plain.load_state_dict(weights, strict=False)
        self.plain.to(device)

    @torch.no_grad()
    def check(self, clip: np.ndarray, treated: Tensor) -> None:
        """Refuse networks that do not compute the same."""
        device = treated.device
        want = self.plain(plain.prepared(clip[None]).to(device))
        error = float((self.ours[""](treated[None]) - want).norm() / want.norm())
        assert error < 2e-5, f"features differ by {error:.1e}; times would mean nothing"


def drawn_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random weights that keep the size of values from layer to layer."""
    weights = {}
    for name, shape in shapes.items():
        if name.endswith(("bn.weight", "running_var")):
            weights[name] = torch.ones(shape)
        elif len(shape) == 1:
            weights[name] = torch.zeros(shape)
        else:
            weights[name] = torch.randn(shape) * (2 / np.prod(shape[1:])) ** 0.5
    return weights


class Bench:
    """Times stages; every number is the median of some rounds."""

    def __init__(self, device: torch.device, clock: Callable[[], float], rounds: int) -> None:
        self.device, self.clock, self.rounds = device, clock, rounds

    @cached_property
    def networks(self) -> Networks:
        """The networks, unless none is timed."""
        return Networks(self.device)

    def rows(
        self, folder: Path, size: int, clips: int, batches: Sequence[int]
    ) -> Iterator[dict[str, Any]]:
        """Milliseconds a clip of each stage, clips a second, and how often plain takes as long."""
        source, chosen, positions = clips_of(folder, clips)
        read = [source.read(*position, FRAMES) for position in positions]
        treated = chosen.treat(torch.from_numpy(read[0]).to(self.device))
        self.networks.check(read[0], treated)
        rows = torch.randn(clips, 400)
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
        files = [(source.info(video).path, start) for video, start in positions]
        for batch in batches:
            video = treated.expand(batch, -1, -1, -1, -1).contiguous()
            networks = {**self.networks.ours, "plain": self.networks.plain}
            stages: dict[str, dict[str, Callable[[int], object]]] = {"I3D": {}, "all": {}}
            for kind, network in networks.items():
                stages["I3D"][kind] = partial(self._features, network, video)
            for kind, network in self.networks.ours.items():
                stages["all"][kind] = lambda count, network=network, batch=batch: self._all(
                    network, source, chosen, positions[:count], batch
                )
            stages["all"]["plain"] = lambda count, batch=batch: gaussian(
                plain.features(self.networks.plain, files[:count], FRAMES, batch)
            )
            for stage, calls in stages.items():
                for row in self._in_turns(calls, clips):
                    yield {"size": size, "stage": stage, "batch": batch} | row

    def memory(self, folder: Path, size: int, clips: int) -> dict[str, Any]:
        """The process's peak memory after the features of some clips."""
        source, chosen, positions = clips_of(folder, clips)
        self._all(self.networks.ours[""], source, chosen, positions, 1)
        return {"size": size, "stage": "all", "clips": clips, "peak_mb": peak_mb()}

    def _treat(self, clips: Iterable[np.ndarray], chosen: Protocol) -> None:
        for clip in clips:
            chosen.treat(torch.from_numpy(clip).to(self.device))

    @torch.no_grad()
    def _features(self, network: nn.Module, video: Tensor, clips: int) -> None:
        for _ in range(0, clips, len(video)):
            network(video).cpu()

    def _all(
        self,
        network: I3D,
        source: VideoSource,
        chosen: Protocol,
        positions: Sequence[ClipPosition],
        batch: int,
    ) -> None:
        asked = FeatureRequest(
            source=source,
            side="real",
            protocol=chosen,
            positions=positions,
            seed=0,
            network=FeatureNetwork(network=network, treat=chosen.treat, identity="drawn"),
        )
        cache, ranks = FeatureCache(folder=None), Ranks(device=self.device)
        gaussian(extract(asked, cache=cache, ranks=ranks, batch=batch))

    def _in_turns(
        self, calls: Mapping[str, Callable[[int], object]], clips: int
    ) -> Iterator[dict[str, Any]]:
        """Rows of calls that take turns, each with plain's time over its own in every round.

        Two clips come first that are not counted, since memory is slower when it is first used.
        """
        taken: dict[str, list[float]] = {kind: [] for kind in calls}
        for _ in range(self.rounds):
            for kind, call in calls.items():
                call(2)
                taken[kind].append(self._once(partial(call, clips)))
        for kind, seconds in taken.items():
            ratios = sorted(p / own for p, own in zip(taken["plain"], seconds, strict=True))
            yield {
                "kind": kind,
                **rates(statistics.median(seconds), clips),
                "plain_over_this": round(statistics.median(ratios), 2),
                "of_rounds": [round(ratios[0], 2), round(ratios[-1], 2)],
            }

    def _rate(self, call: Callable[[], object], clips: int) -> dict[str, float]:
        return rates(self._seconds(call), clips)

    def _seconds(self, call: Callable[[], object]) -> float:
        """Of one call, after one that is not counted where kernels have to be chosen."""
        if self.device.type == "cuda":
            call()
        return statistics.median(self._once(call) for _ in range(self.rounds))

    def _once(self, call: Callable[[], object]) -> float:
        self._wait()
        began = self.clock()
        call()
        self._wait()
        return self.clock() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def memory_of_whole(folder: Path, size: int, clips: int) -> dict[str, Any]:
    """The process's peak memory after FVD and KVD of some clips, with random features."""
    changes = [f"clips_per_video={clips}", "treatment.size=64"]
    changes.append(f"network={{kind: random_features, width: {I3D_FEATURES}}}")
    chosen = protocol("longtake", changes, n=clips)
    source = VideoFolder(path=folder, plan=ClipPlan(frames=1))
    evaluate(source, source, chosen, ["fvd", "kvd"], EvaluationSettings(floor=False))
    stage = "whole evaluation, random features"
    return {"size": size, "stage": stage, "clips": clips, "peak_mb": peak_mb()}


def peak_mb() -> int:
    """Peak memory of this process so far, MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def clips_of(folder: Path, clips: int) -> tuple[VideoFolder, Protocol, Sequence[ClipPosition]]:
    """Clips of a folder of videos, chosen as ``longtake evaluate`` does."""
    source = VideoFolder(path=folder, plan=ClipPlan(frames=1))
    chosen = protocol("longtake", [f"clips_per_video={clips}"], n=clips)
    return source, chosen, choose_clips(usable_videos(source, chosen, "real"), count=clips)


def rates(seconds: float, clips: int) -> dict[str, float]:
    """Milliseconds a clip, and clips a second."""
    return {
        "ms": round(1000 * seconds / clips, 3),
        "clips_per_second": round(clips / seconds, 2),
    }


def show(about: dict, rows: Sequence[dict]) -> None:
    """The table of docs/results.md."""
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    if "peak_mb" in rows[0]:
        print("\n| pixels | clips | peak memory, MB |\n| ---: | ---: | ---: |")
        print("\n".join(f"| {r['size']} | {r['clips']} | {r['peak_mb']} |" for r in rows))
        return
    print("\n| pixels | stage | batch | ms a clip | clips/s | plain over this |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        stage = ", ".join(filter(None, (row["stage"], row.get("kind"))))
        low, high = row.get("of_rounds", ("", ""))
        ratio = f"{row['plain_over_this']} ({low} to {high})" if "plain_over_this" in row else ""
        rate = row.get("clips_per_second", "")
        print(
            f"| {row['size']} | {stage} | {row.get('batch', '')} | {row['ms']} | {rate} | {ratio} |"
        )


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
