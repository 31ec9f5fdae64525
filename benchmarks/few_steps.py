"""Long videos of a model's students beside those of their teachers, and of the world.

    python benchmarks/few_steps.py lvdm-sky --json docs/results/few_steps_lvdm_sky.json

Both sides make the same videos (seeds and classes), and are measured on the same clips, four from
each video, after its first clip: FVD and KVD to test clips of the world at n = 256, with the
difference between the sides under a bootstrap over videos that draws both sides alike. Beside them,
on whole videos, in thousandths of the range of levels: *motion*, the mean difference from frame to
frame; *jerk*, that of second differences in time; *sharpness*, that from pixel to pixel. An
interpolator or a student that flickers is seen in motion and jerk long before FVD shows it.
"""

import argparse
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtake.backends import OpenVINO
from longtake.config import to_dict
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.evaluation.extraction import network_of
from longtake.evaluation.protocols import protocol
from longtake.metrics.frechet import Gaussian, frechet_distance, fvd
from longtake.metrics.uncertainty import fvd_interval, kvd_interval
from longtake.model import VideoModel, sampling_with

CLIP, CLIPS_PER_VIDEO, REDRAWS = 16, 4, 40


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", help="a model with students")
    parser.add_argument("changes", nargs="*", metavar="a.b=value", help="of the students' sampling")
    parser.add_argument("--videos", type=int, default=64)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--only", choices=["teacher", "students"])
    parser.add_argument("--work", type=Path, default=Path("runs/few_steps"), help="keeps videos")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    result: dict[str, Any] = {"model": chosen.model, "videos": chosen.videos}
    result |= {"frames": chosen.frames, "clips": chosen.videos * CLIPS_PER_VIDEO}
    result |= {"precision": chosen.precision}
    features, rows = {}, {}
    model = VideoModel.from_pretrained(chosen.model)
    for side in ("teacher", "students") if chosen.only is None else (chosen.only,):
        model = VideoModel.from_pretrained(chosen.model, students=side == "students")
        changes = chosen.changes if side == "students" else []
        videos = made(model, changes, chosen, side)
        features[side] = kept(chosen, model, side, lambda v=videos: v, CLIPS_PER_VIDEO)
        sampling = to_dict(sampling_with(model.index.sampling, changes))
        rows[side] = {"weights": model.index.weights, "sampling": sampling, **smoothness(videos)}
    clips = chosen.videos * CLIPS_PER_VIDEO
    real = kept(chosen, model, "world", lambda: world_videos(model, chosen, clips), 1)
    rows["world"] = smoothness(world_videos(model, chosen, chosen.videos))
    for side, found in features.items():
        rows[side] |= {"fvd": stated(fvd_interval(real, found, generated_videos=owners(found)))}
        rows[side] |= {"kvd": stated(kvd_interval(real, found, generated_videos=owners(found)))}
    if chosen.only is None:
        result["fvd_difference"] = difference(real, features["students"], features["teacher"])
    result["rows"] = rows
    text = json.dumps(result, indent=1)
    print(text)
    if chosen.json:
        chosen.json.write_text(text + "\n")


def made(
    model: VideoModel, changes: Sequence[str], chosen: argparse.Namespace, side: str
) -> np.ndarray:
    """Videos of the seeds from 0 on, ``(v, t, h, w, 3)``; those in the folder are read."""
    path = chosen.work / f"{Path(chosen.model).name}_{side}.npy"
    if path.exists():
        return np.load(path)
    sampling = sampling_with(model.index.sampling, changes)
    video = model.long_video(sampling, OpenVINO(precision=chosen.precision))
    rows = []
    for first in range(0, chosen.videos, chosen.batch):
        request = model.request(range(first, min(first + chosen.batch, chosen.videos)))
        parts = [part.frames for part in video(request, chosen.frames)]
        rows.append(np.concatenate(parts, 1)[:, : chosen.frames])
        print(side, first, flush=True)
    videos = np.concatenate(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, videos)
    return videos


def world(model: VideoModel, chosen: argparse.Namespace) -> SkyWorld:
    """The test videos, of the model's size."""
    size = model.autoencoder.spec.clip[1]
    plan = ClipPlan(frames=chosen.frames, height=size, width=size)
    return SkyWorld(plan=plan, split="test", videos=2**16)


def world_videos(
    model: VideoModel, chosen: argparse.Namespace, number: int, first: int = 0
) -> np.ndarray:
    """Test videos of the world, from number ``first`` on."""
    source, shown = world(model, chosen), range(first, first + number)
    return np.stack([source.video(i, 0, chosen.frames).frames for i in shown])


def kept(
    chosen: argparse.Namespace,
    model: VideoModel,
    side: str,
    videos: Callable[[], np.ndarray],
    per_video: int,
) -> Tensor:
    """I3D features of one side, kept beside its videos."""
    size = model.autoencoder.spec.clip[1]
    name = f"world_{size}" if side == "world" else f"{Path(chosen.model).name}_{side}"
    path = chosen.work / f"{name}_features.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, clip_features(videos(), per_video).numpy())
    return torch.from_numpy(np.load(path))


@functools.cache
def i3d() -> Any:
    """The network of the features, with its treatment of clips."""
    return network_of(protocol("longtake", [], None))


@torch.no_grad()
def clip_features(videos: np.ndarray, per_video: int) -> Tensor:
    """I3D features of the last clips of each video."""
    network = i3d()
    first = videos.shape[1] - per_video * CLIP
    clips = videos[:, first:].reshape(-1, CLIP, *videos.shape[2:])
    found = []
    for part in torch.from_numpy(clips).split(4):
        treated = torch.stack([network.treat(clip) for clip in part])
        found.append(network.network(treated).float())
    return torch.cat(found)


def owners(features: Tensor) -> Sequence[int]:
    """Video of each clip, as ``clip_features`` orders them."""
    return [clip // CLIPS_PER_VIDEO for clip in range(len(features))]


def stated(interval: Any) -> Mapping[str, float]:
    """A metric and its 95 % interval."""
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: round(value, 2) for name, value in ends.items()}


def difference(real: Tensor, students: Tensor, teacher: Tensor) -> Mapping[str, float]:
    """FVD of the students less that of the teachers, over draws of videos that both sides share."""
    random = torch.Generator().manual_seed(0)
    videos = len(teacher) // CLIPS_PER_VIDEO
    found = []
    for _ in range(REDRAWS):
        u = torch.empty(16, len(real)).double().exponential_(generator=random).sum(0)
        v = torch.empty(16, videos).double().exponential_(generator=random).sum(0)
        v = v.repeat_interleave(CLIPS_PER_VIDEO)
        x = weighted(real, u)
        pair = [frechet_distance(x, weighted(side, v)) for side in (students, teacher)]
        found.append(pair[0] - pair[1])
    error = 4 * float(np.std(found, ddof=1))  # weights of a concentration of 16 vary a quarter
    value = fvd(real, students) - fvd(real, teacher)
    ends = {"value": value, "low": value - 1.96 * error, "high": value + 1.96 * error}
    return {name: round(x, 2) for name, x in ends.items()}


def weighted(features: Tensor, weights: Tensor) -> Gaussian:
    """Mean and covariance under weights."""
    share = (weights / weights.sum())[:, None]
    mean = (share * features.double()).sum(0)
    centred = features.double() - mean
    unbiased = 1 - float(share.square().sum())
    return Gaussian(mean=mean, covariance=centred.T @ (share * centred) / unbiased)


def smoothness(videos: np.ndarray) -> Mapping[str, float]:
    """Motion, jerk and sharpness."""
    x = torch.from_numpy(videos).float() / 255
    step = x.diff(dim=1)
    across = (x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean()) / 2
    values = {"motion": step.abs().mean(), "jerk": step.diff(dim=1).abs().mean()}
    return {k: round(1000 * v.item(), 3) for k, v in {**values, "sharpness": across}.items()}


if __name__ == "__main__":
    main()
