"""Which network of an LVDM model costs how much FVD.

    python benchmarks/error_sources.py lvdm-sky --json docs/results/error_sources_lvdm_sky.json

Test videos of the data set sky are encoded. Row *autoencoder* decodes them again. Row
*interpolator* keeps the keyframes of their latents and samples the latent frames between. Row
*model* samples everything, of the seeds from 0 on, as ``benchmarks/few_steps.py`` does. All are
measured as there: FVD and KVD of the last four clips of each video to 256 test clips, motion, jerk,
sharpness. The differences between rows are what each network adds. The test clips are of other
videos than those that are encoded, whose classes are in the order of the sampled videos'.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_steps import (
    CLIPS_PER_VIDEO,
    clip_features,
    kept,
    made,
    owners,
    smoothness,
    stated,
    world,
    world_videos,
)
from torch import Tensor

from longtake.backends import OpenVINO
from longtake.data.synthetic.sky import CLASSES
from longtake.diffusion.signals import label_signal
from longtake.metrics.uncertainty import fvd_interval, kvd_interval
from longtake.model import VideoModel
from longtake.rollout.strategies import fill_pairs
from longtake.video.pixels import to_model, to_pixels


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", help="a model with the role interpolator, of the data set sky")
    parser.add_argument("--videos", type=int, default=64)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--work", type=Path, default=Path("runs/few_steps"), help="keeps videos")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    model = VideoModel.from_pretrained(chosen.model)
    clips = chosen.videos * CLIPS_PER_VIDEO
    real = world_videos(model, chosen, chosen.videos, encoded_from(chosen.videos))
    reference = kept(chosen, model, "world", lambda: world_videos(model, chosen, clips), 1)
    latents = encoded(model, real)
    filled = torch.cat(list(interpolated(model, latents, chosen)))
    rows = {
        "autoencoder": decoded(model, latents),
        "interpolator": decoded(model, filled),
        "model": made(model, [], chosen, "teacher"),
    }
    result: dict[str, Any] = {
        "model": chosen.model,
        "weights": model.index.weights,
        "videos": chosen.videos,
    }
    result |= {"frames": chosen.frames, "precision": chosen.precision}
    result["encoded_from"] = encoded_from(chosen.videos)
    scored: dict[str, Any] = {"real": smoothness(real)}
    for name, videos in rows.items():
        found = clip_features(videos, CLIPS_PER_VIDEO)
        intervals = {
            name: interval(reference, found, generated_videos=owners(found))
            for name, interval in (("fvd", fvd_interval), ("kvd", kvd_interval))
        }
        scores = {key: stated(interval) for key, interval in intervals.items()}
        scored[name] = {**smoothness(videos), **scores}
        print(name, scored[name], flush=True)
    if chosen.json:
        result["rows"] = scored
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def encoded_from(videos: int) -> int:
    """First test video that is encoded: after those of the clips, of the class of video 0."""
    return math.ceil(videos * CLIPS_PER_VIDEO / len(CLASSES)) * len(CLASSES)


@torch.no_grad()
def encoded(model: VideoModel, videos: np.ndarray) -> Tensor:
    """Scaled latents of videos, each of the autoencoder's clips by itself."""
    pixels = torch.stack([to_model(video) for video in videos])
    clips = pixels.split(model.autoencoder.spec.clip[0], 2)
    latents = torch.cat([model.autoencoder.encode(clip).mean for clip in clips], 2)
    return model.index.latent_scaling.forward(latents)


@torch.no_grad()
def decoded(model: VideoModel, latents: Tensor) -> np.ndarray:
    """Frames of scaled latents, decoded as those of a long video."""
    parts = model.index.latent_scaling.inverse(latents).split(1)  # a video at a time, for memory
    frames = [torch.cat(list(model.autoencoder.stream_decode([z])), 2)[0] for z in parts]
    return np.stack([to_pixels(video) for video in frames])


def interpolated(
    model: VideoModel, latents: Tensor, chosen: argparse.Namespace
) -> Iterator[Tensor]:
    """Latents whose keyframes are kept, and the frames between neighbouring ones sampled."""
    source, start = world(model, chosen), encoded_from(chosen.videos)
    sample = model.clip_sampler("interpolator", backend=OpenVINO(precision=chosen.precision))
    stride = sample.spec.frames - 1
    for first in range(0, chosen.videos, chosen.batch):
        videos = range(first, min(first + chosen.batch, chosen.videos))
        request = model.request(videos)
        labels = torch.tensor([source.label(start + i) for i in videos])
        request = replace(request, signals={**request.signals, **label_signal(labels)})
        z = latents[first : first + chosen.batch]
        keyframes = list(z[:, :, ::stride].unbind(2))
        between = fill_pairs(sample, request, keyframes, 0)
        yield torch.cat([between, z[:, :, between.shape[2] :]], 2)
        print("interpolator", first, flush=True)


if __name__ == "__main__":
    main()
