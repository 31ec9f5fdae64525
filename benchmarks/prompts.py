"""How often videos of a text model of the data set sky show what their prompts say.

    python benchmarks/prompts.py lvdm-sky --json docs/results/prompts_lvdm_sky.json

Four kinds of prompts, ``--n`` of each: *captions* of test videos of the classes that the training
videos had; *unseen* are captions of the classes that the preset leaves out; *reordered* are
sentences of the words of captions in orders that no caption has, of all classes; *short* captions
state one or two of the three attributes. The videos of *class* are given a class, which each seed
draws, instead of a prompt. The seed of prompt i is i. What a video shows is read by the measures of
sky, without a network; intervals of shares are Wilson's, 95 %. The row *real* reads test videos and
their own captions.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from guidance import made, motion, obeyed, reordered, share

from longtake.backends import OpenVINO
from longtake.config import to_dict
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.model import VideoModel, sampling_with
from longtake.model_videos import ModelVideos
from longtake.runs import read_run

PRESET = "lvdm_laptop_text"  # pvdm_laptop_text leaves out the same classes
FULL = 10  # wordings of short_captions that state all attributes come before those that do not


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", help="a text model of the sky world")
    parser.add_argument("changes", nargs="*", metavar="a.b=value", help="changes of its sampling")
    parser.add_argument("--n", type=int, default=96, help="prompts of each kind")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--work", type=Path, default=Path("runs/prompts"), help="keeps videos")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    model = VideoModel.from_pretrained(chosen.model)
    backend = OpenVINO(precision=chosen.precision)
    result = {"model": chosen.model, "weights": model.index.weights, "n": chosen.n}
    sampling = sampling_with(model.index.sampling, chosen.changes)
    result |= {"sampling": to_dict(sampling)}
    result |= {"frames": chosen.frames, "backend": dict(backend.identity)}
    height, width = model.autoencoder.spec.clip[1:]
    plan = ClipPlan(frames=chosen.frames, height=height, width=width)
    world = SkyWorld(plan=plan, split="test", videos=chosen.n)
    real = np.stack([world.video(i, 0, chosen.frames).frames for i in range(chosen.n)])
    rows = {"real": stated(real, [world.caption(i) for i in range(chosen.n)])}
    print("real", rows["real"], flush=True)
    kinds = prompts_of(chosen.n) | ({"class": ()} if model.index.classes else {})
    for kind, prompts in kinds.items():
        videos = ModelVideos(
            model_name=chosen.model,
            model=model,
            sampling=sampling,
            videos=chosen.n,
            frames=chosen.frames,
            prompts=prompts,
            batch=8,
            backend=backend,
        )
        rows[kind] = stated(
            made(videos, chosen.work / f"{Path(chosen.model).name}_{kind}.npy"),
            [str(videos.caption(i)) for i in range(chosen.n)],
        )
        print(kind, rows[kind], flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")


def prompts_of(n: int) -> dict[str, tuple[str, ...]]:
    """Prompts of each kind."""
    trained = getattr(read_run(PRESET), "data", None)
    assert isinstance(trained, SkyWorld)
    every = SkyWorld(split="test", videos=n)
    seen = SkyWorld(split="test", videos=n, without=trained.without)
    others = tuple(name for name in every.classes if name not in trained.without)
    unseen = SkyWorld(split="test", videos=n, without=others)
    short = SkyWorld(split="test", videos=n, short_captions=True)
    return {
        "captions": tuple(seen.caption(i, wording=i) for i in range(n)),
        "unseen": tuple(unseen.caption(i, wording=i) for i in range(n)),
        "reordered": tuple(reordered(every.attributes(i), i // 2) for i in range(n)),
        "short": tuple(short.caption(i, wording=FULL + i % 6) for i in range(n)),
    }


def stated(clips: np.ndarray, prompts: Sequence[str]) -> dict[str, Any]:
    """Motion, and for each attribute the share of videos that show it, where prompts state it."""
    right = obeyed(clips, prompts)
    shares = {name: share(flags) | {"n": len(flags)} for name, flags in right.items()}
    return {**shares, "motion": motion(clips)}


if __name__ == "__main__":
    main()
