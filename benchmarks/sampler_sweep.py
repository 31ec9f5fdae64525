"""Long videos of a model by other samplers and fewer steps, beside those of its own sampling.

    python benchmarks/sampler_sweep.py lvdm-sky --json docs/results/sampler_sweep_lvdm_sky.json

A row is a sampler with its number of evaluations for all clips, ``unipc:8``, or one for next clips
and one for clips between keyframes, ``unipc:8+ddim:6``, where the first clip is sampled as the
model's settings say. All rows make the same videos (seeds and classes), of which
``few_steps.py`` says how they are measured; the difference of FVD to the first row has the interval
of a bootstrap over videos that draws both rows alike. The rows take turns, video by video, and the
videos are kept: an interrupted sweep continues, and one of fewer ``--videos`` than are there
measures those.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_steps import CLIPS_PER_VIDEO, difference, kept, owners, smoothness, stated, world_videos

from longtake.backends import OpenVINO
from longtake.generate import LongVideo
from longtake.metrics.uncertainty import fvd_interval, kvd_interval
from longtake.model import Sampling, VideoModel, sampling_with

SAMPLERS = {
    "ddim": "{{kind: ddim, steps: {}}}",
    "ddim-eta1": "{{kind: ddim, eta: 1.0, steps: {}}}",
    "unipc": "{{kind: diffusers, scheduler: UniPCMultistep, steps: {}}}",
    "dpm": "{{kind: diffusers, scheduler: DPMSolverMultistep, steps: {}}}",
}
ROLES = ("next", "interpolator")
REAL_VIDEOS = 64
ROWS = {
    "lvdm-sky": ("ddim:24", "ddim:8+ddim:8", "unipc:8+unipc:8", "unipc:8+ddim:8"),
    "pvdm-sky": ("ddim-eta1:32", "ddim-eta1:16", "unipc:16", "unipc:10"),
}


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model")
    parser.add_argument(
        "rows", nargs="*", help="such as unipc:8+ddim:6; the first is compared with"
    )
    parser.add_argument("--videos", type=int, default=32)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--no-fvd", action="store_true", help="motion, jerk and sharpness alone")
    parser.add_argument("--work", type=Path, default=Path("runs/sampler_sweep"), help="is kept")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    names = chosen.rows or ROWS[chosen.model]
    model = VideoModel.from_pretrained(chosen.model)
    result = {"model": chosen.model, "videos": chosen.videos, "frames": chosen.frames}
    result |= {
        "clips": chosen.videos * CLIPS_PER_VIDEO,
        "real_clips": REAL_VIDEOS * CLIPS_PER_VIDEO,
    }
    result |= {"precision": chosen.precision, "weights": model.index.weights}
    videos = made(model, names, chosen)
    rows: dict[str, dict[str, Any]] = {name: {**smoothness(x)} for name, x in videos.items()}
    rows["world"] = {**smoothness(world_videos(model, chosen, chosen.videos))}
    if not chosen.no_fvd:
        add_fvd(rows, videos, model, chosen)
    result["rows"] = rows
    print_table(rows)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def made(
    model: VideoModel, names: Sequence[str], chosen: argparse.Namespace
) -> Mapping[str, np.ndarray]:
    """Videos of each row, ``(v, t, h, w, 3)``, of the seeds from 0 on."""
    own = model.index.sampling
    whole = model.long_video(own, OpenVINO(precision=chosen.precision))
    rows = {name: sampled_by(whole, sampling_with(own, changes(name))) for name in names}
    videos: dict[str, list[np.ndarray]] = {name: [] for name in names}
    chosen.work.mkdir(parents=True, exist_ok=True)
    for seed in range(chosen.videos):
        for name, video in rows.items():
            path = chosen.work / f"{Path(chosen.model).name}_{name}_{seed}.npy"
            if not path.exists():
                parts = [part.frames for part in video(model.request([seed]), chosen.frames)]
                np.save(path, np.concatenate(parts, 1)[0, : chosen.frames])
                print(path, flush=True)
            videos[name].append(np.load(path))
    return {name: np.stack(each) for name, each in videos.items()}


def sampled_by(video: LongVideo, sampling: Sampling) -> LongVideo:
    """The same networks by the samplers of other settings."""
    samplers = {
        role: replace(each, sampler=sampling.of(role).sampler)
        for role, each in video.samplers.items()
    }
    return replace(video, samplers=samplers)


def changes(name: str) -> Sequence[str]:
    """Overrides of the sampling of a row."""
    samplers = [SAMPLERS[kind].format(n) for kind, n in (x.split(":") for x in name.split("+"))]
    if len(samplers) == 1:
        return [f"sampler={samplers[0]}"]
    return [f"{role}={{sampler: {x}}}" for role, x in zip(ROLES, samplers, strict=True)]


def add_fvd(
    rows: dict[str, dict[str, Any]],
    videos: Mapping[str, np.ndarray],
    model: VideoModel,
    chosen: argparse.Namespace,
) -> None:
    """FVD and KVD of each row, and how much FVD is above that of the first."""
    shared = argparse.Namespace(**{**vars(chosen), "videos": REAL_VIDEOS})
    clips = REAL_VIDEOS * CLIPS_PER_VIDEO
    real = kept(shared, model, "world", lambda: world_videos(model, shared, clips), 1)
    first = None
    for name, frames in videos.items():
        features = torch.cat(
            [
                kept(chosen, model, f"{name}_{seed}", lambda x=x: x[None], CLIPS_PER_VIDEO)
                for seed, x in enumerate(frames)
            ]
        )
        rows[name] |= {
            "fvd": stated(fvd_interval(real, features, generated_videos=owners(features)))
        }
        rows[name] |= {
            "kvd": stated(kvd_interval(real, features, generated_videos=owners(features)))
        }
        if first is None:
            first = features
        else:
            rows[name] |= {"fvd_difference": difference(real, features, first)}
        print(name, rows[name], flush=True)


def print_table(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """As Markdown."""
    print("| sampling | FVD | less the first's | KVD | motion | jerk | sharpness |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, row in rows.items():
        fvd, kvd = (row.get(k, {}).get("value", "") for k in ("fvd", "kvd"))
        less = row.get("fvd_difference")
        less = f"{less['value']:+.1f} ({less['low']:.1f} to {less['high']:.1f})" if less else ""
        smooth = " | ".join(f"{row[k]:.2f}" for k in ("motion", "jerk", "sharpness"))
        print(f"| `{name}` | {fvd} | {less} | {kvd} | {smooth} |")


if __name__ == "__main__":
    main()
