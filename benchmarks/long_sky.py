"""What becomes of a long video of the sky world: does it keep its light, clouds, wind and ridge?

    python benchmarks/long_sky.py lvdm-sky --frames 512 --json docs/results/lvdm_sky.json

Measured by the world's own measures, without a network, in windows from the beginning to the end.
The rows "world" are the same for videos of the world itself, the best that can be measured; the
rows "reconstruction" for these through the autoencoder, the best that it lets a denoiser reach.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtake.backends import OpenVINO
from longtake.config import to_dict
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.data.synthetic.sky_measures import light, ridge, wind
from longtake.generate import LongVideo
from longtake.model import VideoModel
from longtake.reconstruct import reconstruct_frames
from longtake.rollout import Request
from longtake.video import to_model

WINDOW = 32


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--frames", type=int, default=512)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--students", action="store_true", help="sample with the students")
    parser.add_argument("--openvino", action="store_true", help="run the networks by OpenVINO")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    model = VideoModel.from_pretrained(chosen.model, students=chosen.students)
    backend = OpenVINO() if chosen.openvino else None
    size = model.autoencoder.spec.clip[1]
    world = SkyWorld(
        plan=ClipPlan(frames=chosen.frames, height=size, width=size), split="test", videos=48
    )
    seeds = range(chosen.videos)
    labels = [seed * 5 % len(world.classes) for seed in seeds]
    began = time.perf_counter()
    video = model.long_video(backend=backend)
    made = [
        generated(model.request([seed], str(label)), video, chosen.frames)
        for seed, label in enumerate(labels)
    ]
    seconds = time.perf_counter() - began
    classes = [world.label(index) for index in range(len(world))]
    real = [world.video(classes.index(label), 0, chosen.frames).frames for label in labels]
    through = [
        reconstruct_frames(
            model.autoencoder,
            video,
            overlap_frames=model.denoisers["first"].spec.clip_overlap_frames,
        )
        for video in real
    ]
    result = {
        "model": chosen.model,
        "weights": model.index.weights,
        "sampling": to_dict(model.index.sampling),
        "frames": chosen.frames,
        "videos": chosen.videos,
        "backend": dict(backend.identity) if backend else "torch",
        "threads": torch.get_num_threads(),
        "frames_per_second": round(chosen.videos * chosen.frames / seconds, 2),
        "psnr": round(psnr(model, world), 2),
        "rows": [
            *rows("model", made, labels, world, chosen.windows),
            *rows("reconstruction", through, labels, world, chosen.windows),
            *rows("world", real, labels, world, chosen.windows),
        ],
    }
    print_table(result)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def generated(request: Request, video: LongVideo, frames: int) -> np.ndarray:
    """Frames of one video."""
    parts = [part.frames[0] for part in video(request, frames)]
    return np.concatenate(parts)[:frames]


def psnr(model: VideoModel, world: SkyWorld) -> float:
    """Of clips that the autoencoder has not seen, in dB."""
    errors = []
    for index in range(24):
        clip = to_model(world.video(index, 0, model.autoencoder.spec.clip[0]).frames)[None]
        errors.append(-10 * ((decoded(model, clip) - clip) / 2).square().mean().log10().item())
    return statistics.mean(errors)


def decoded(model: VideoModel, clip: Tensor) -> Tensor:
    """A clip through the autoencoder."""
    with torch.inference_mode():
        return model.autoencoder.decode(model.autoencoder.encode(clip).mean).clamp(-1, 1)


def rows(
    name: str, videos: list[np.ndarray], labels: list[int], world: SkyWorld, windows: int
) -> Iterator[dict[str, float | str | int]]:
    """One row per window: shares of videos that show what their class says, and distances."""
    starts = np.linspace(0, len(videos[0]) - WINDOW, windows).astype(int)
    lines = [ridge(video[:WINDOW]).median(0).values for video in videos]
    for start in starts.tolist():
        parts = [video[start : start + WINDOW] for video in videos]
        seen = [light(part) for part in parts]
        steps = [wind(part) for part in parts]
        speeds = [wind(part, lags=(8, 12, 16)) for part in parts]
        truth = [world.classes[label] for label in labels]
        moved = [
            (ridge(part).median(0).values - line).abs().mean().item()
            for part, line in zip(parts, lines, strict=True)
        ]
        yield {
            "of": name,
            "from_frame": start,
            "time_of_day": share(s.time_of_day in t for s, t in zip(seen, truth, strict=True)),
            "cover": share(s.cover in t for s, t in zip(seen, truth, strict=True)),
            "wind": share(("right" in t) == (v > 0) for v, t in zip(speeds, truth, strict=True)),
            "speed": round(statistics.median(abs(v) for v in speeds), 4),
            "step": round(statistics.median(abs(v) for v in steps), 4),
            "ridge_px": round(statistics.median(moved), 2),
            "strangeness": round(statistics.median(s.strangeness.mean().item() for s in seen), 2),
        }


def share(flags: Iterator[bool]) -> float:
    """Of those that are true."""
    return round(statistics.mean(map(float, flags)), 3)


def print_table(result: dict) -> None:
    """As Markdown."""
    print(f"reconstruction {result['psnr']} dB; {result['frames_per_second']} frames/s")
    names = list(result["rows"][0])
    print("| " + " | ".join(names) + " |\n|" + " --- |" * len(names))
    for row in result["rows"]:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
