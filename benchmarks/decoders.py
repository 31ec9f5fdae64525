"""Decoders of the shipped models: speed, and what each makes of the same latents of true videos.

    python benchmarks/decoders.py --clips 128 --json docs/results/decoders.json

Speed: CPU time of a frame of a long video, decoded as `longtake generate` does; one thread, all
decoders of a model in turns in one process. Quality: clips of 16 frames of the sky world's test
videos, rendered at the size of a decoder's frames and, for the encoder, averaged to its own size.
Frames of other sizes are compared at both: the full decoder's are enlarged (bicubic), larger
ones averaged.

- PSNR in dB of the mean squared error of all clips; RFVD: FVD to the true clips (protocol longtake)
- jerk: mean absolute second difference in time; sharp: mean absolute difference of neighbouring
  pixels; both x 1000 of pixels in [0, 1], and of the true clips beside them
- seam: jerk across the boundaries of the encoder's clips in a long video, over jerk elsewhere
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.autoencoders import VideoAutoencoder
from longtake.config import parse
from longtake.data.synthetic import SkyWorld
from longtake.evaluation.extraction import FeatureNetwork, network_of
from longtake.evaluation.protocols import protocol
from longtake.metrics.frechet import fvd
from longtake.model import VideoModel
from longtake.video import to_model, to_pixels

MODELS = ("lvdm-sky", "pvdm-sky")
START = 40  # first frame of each test clip
SPEED_CLIPS = 9  # of the encoder, in the long video that is timed
Decoders = Mapping[str, VideoAutoencoder]


def main() -> None:
    """Print tables, and write them as JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS, help="names or folders")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-fvd", action="store_true", help="leave out RFVD")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    network = None if chosen.no_fvd else network_of(protocol("longtake"))
    results = {}
    for name in chosen.models:
        model = VideoModel.from_pretrained(name)
        decoders = {key: model.autoencoder_with(key) for key in ("full", *model.decoders)}
        speed = speeds(name, decoders, chosen.rounds)
        found = quality(decoders, chosen.clips, network)
        results[Path(name).name] = {"speed": speed, "quality": found}
        show(name, speed, found)
    if chosen.json:
        about = {"torch": torch.__version__, "clips": chosen.clips, "models": results}
        chosen.json.write_text(json.dumps(about, indent=1) + "\n")


def world(size: int) -> SkyWorld:
    """Test videos of the sky at a size in pixels."""
    plan = {"height": size, "width": size}
    return parse(SkyWorld, {"kind": "sky", "videos": 4096, "split": "test", "plan": plan})


def read(size: int, video: int, start: int, count: int) -> Tensor:
    """A true clip, ``(1, 3, t, h, w)``."""
    return to_model(world(size).read(video, start, count))[None]


def latents(decoder: VideoAutoencoder) -> list[Tensor]:
    """Latents of a long video, a clip of the encoder after the other."""
    frames, size, _ = decoder.spec.clip
    video = read(size, 0, 0, frames * SPEED_CLIPS)
    return [decoder.encode(part).mean for part in video.split(frames, 2)]


@torch.no_grad()
def speeds(name: str, decoders: Decoders, rounds: int) -> dict[str, Any]:
    """CPU milliseconds of a frame by decoder and precision, all in turns."""
    half = VideoModel.from_pretrained(name, dtype=torch.bfloat16)
    ways = {
        **{key: (each, latents(each)) for key, each in decoders.items()},
        **{f"{k}, bfloat16": (half.autoencoder_with(k), latents(decoders[k])) for k in decoders},
    }
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds + 1):
        for key, (decoder, z) in ways.items():
            began = time.process_time()
            frames = sum(part.shape[2] for part in decoder.stream_decode(z))
            times[key].append((time.process_time() - began) / frames * 1000)
    middle = {key: statistics.median(each[1:]) for key, each in times.items()}
    return {
        key: {
            "ms": value,
            "speed": middle["full"] / value,
            "rounds": [a / b for a, b in zip(times["full"][1:], times[key][1:], strict=True)],
        }
        for key, value in middle.items()
    }


@torch.no_grad()
def quality(
    decoders: Decoders, clips: int, network: FeatureNetwork | None
) -> dict[str, dict[str, float]]:
    """Measures of each decoder at each size of frames, by ``decoder at size``."""
    sizes = sorted({each.spec.clip[1] for each in decoders.values()})
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    features: dict[str, list[Tensor]] = defaultdict(list)
    for video in range(clips):
        largest = read(sizes[-1], video, START, 16)
        true = {size: pooled(largest, size) for size in sizes}
        z = decoders["full"].encode(true[sizes[0]]).mean
        made = {
            f"{name} at {size}": at_size(each.decode(z), size).clamp(-1, 1)
            for name, each in decoders.items()
            for size in sizes
        }
        made |= {f"truth at {size}": true[size] for size in sizes}
        for key, pixels in made.items():
            target = true[pixels.shape[-1]]
            sums[key]["error"] += ((pixels - target) / 2).square().mean().item() / clips
            for measure, function in MEASURES.items():
                sums[key][measure] += function(pixels) / clips
            if network is not None:
                treated = network.treat(torch.from_numpy(to_pixels(pixels[0])))
                features[key].append(network.network(treated[None]))
    for key, found in features.items():
        size = key.rpartition(" ")[2]
        sums[key]["rfvd"] = fvd(torch.cat(features[f"truth at {size}"]), torch.cat(found))
    for found in sums.values():
        error = found.pop("error")
        found["psnr"] = -10 * torch.tensor(error).log10().item() if error else float("inf")
    for name, decoder in decoders.items():
        key = f"{name} at {decoder.spec.clip[1]}"
        sums[key]["seam"] = seam(decoder)
    return {
        key: {k: v for k, v in found.items() if v != float("inf")} for key, found in sums.items()
    }


def pooled(video: Tensor, size: int) -> Tensor:
    """Frames averaged to a smaller size."""
    factor = video.shape[-1] // size
    return F.avg_pool3d(video, (1, factor, factor))


def at_size(video: Tensor, size: int) -> Tensor:
    """Frames enlarged (bicubic) or averaged to a size."""
    if video.shape[-1] >= size:
        return pooled(video, size)
    frames = F.interpolate(video[0].transpose(0, 1), size=(size, size), mode="bicubic")
    return frames.transpose(0, 1)[None]


def jerk(video: Tensor) -> float:
    """Mean absolute second difference in time of pixels in [0, 1], x 1000."""
    return video.diff(n=2, dim=2).abs().mean().item() * 500


def sharp(video: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels in [0, 1], x 1000."""
    return (video.diff(dim=3).abs().mean() + video.diff(dim=4).abs().mean()).item() * 250


MEASURES: Mapping[str, Callable[[Tensor], float]] = {"jerk": jerk, "sharp": sharp}


def seam(decoder: VideoAutoencoder) -> float:
    """Jerk across the boundaries of the encoder's clips over jerk elsewhere, of one long video."""
    video = torch.cat([*decoder.stream_decode(latents(decoder))], 2)
    each = video.diff(n=2, dim=2).abs().mean((0, 1, 3, 4))
    window = decoder.spec.clip[0]
    across = torch.tensor([(i + 1) % window in (0, window - 1) for i in range(len(each))])
    return (each[across].mean() / each[~across].mean()).item()


def show(name: str, speed: dict[str, Any], found: dict[str, dict[str, float]]) -> None:
    """Print the tables of one model."""
    print(f"\n{name}\n\n| decoder | CPU ms a frame | times the full one's speed |")
    print("| --- | ---: | ---: |")
    for key, row in speed.items():
        least, most = min(row["rounds"]), max(row["rounds"])
        print(f"| {key} | {row['ms']:.2f} | {row['speed']:.1f} ({least:.1f} to {most:.1f}) |")
    columns = ("psnr", "rfvd", "jerk", "sharp", "seam")
    print(f"\n| decoder | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    for key, row in found.items():
        print(f"| {key} | {' | '.join(f'{row[c]:.2f}' if c in row else '' for c in columns)} |")


if __name__ == "__main__":
    main()
