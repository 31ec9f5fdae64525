"""How often videos of a text model of sky or marbles show what their prompts say.

    python benchmarks/prompts.py lvdm-sky --json docs/results/prompts_lvdm_sky.json
    python benchmarks/prompts.py pvdm-marbles --preset pvdm_marbles_text

Four kinds of prompts, ``--n`` of each: *captions* of test videos of the classes that the training
videos had; *unseen* are captions of the classes that the preset leaves out; *reordered* are
sentences of the words of captions in orders that no caption has, of all classes; *short* captions
leave out some of the attributes. The videos of *class* are given a class, which each seed draws,
instead of a prompt, if the model has classes. The seed of prompt i is i. What a video shows is read
by the measures of its data set, without a network; intervals of shares are Wilson's, 95 %. The row
*real* reads test videos and their own captions.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from guidance import made, motion, obeyed, reordered, share

from longtake.backends import OpenVINO
from longtake.config import to_dict
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import MarblesWorld, SkyWorld
from longtake.data.synthetic.marbles import TINTS, listed
from longtake.model import VideoModel, sampling_with
from longtake.model_videos import ModelVideos
from longtake.runs import read_run

PRESET = "lvdm_laptop_text"  # pvdm_laptop_text leaves out the same classes
PRESETS = (PRESET, "pvdm_laptop_text", "lvdm_marbles_text", "pvdm_marbles_text")
FULL = 10  # with short_captions, wordings below this number are those of whole captions
REORDERED = (
    "rolling {speed} on {ground}, {colours}: {number} {marbles}",
    "on {ground}, {colours} {marbles}, {number}, rolling {speed}",
    "{speed} rolling {marbles} on {tint} {ground}: {colours}, {number}",
    "{colours} on {tint} {ground}: {speed} rolling {number} {marbles}",
)

World = SkyWorld | MarblesWorld


def reordered_marbles(truth: Mapping[str, str], wording: int) -> str:
    """A sentence of the words of captions of marbles, in an order that no caption has."""
    colours = listed(truth["colours"].replace(" and ", ", ").split(", ")[::-1])
    marbles = "marble" if truth["number"] == "one" else "marbles"
    words = {"tint": TINTS[truth["ground"]], "marbles": marbles, **truth, "colours": colours}
    return REORDERED[wording % len(REORDERED)].format(**words)


SENTENCES: Mapping[str, Callable[[Mapping[str, str], int], str]] = {
    "sky": reordered,
    "marbles": reordered_marbles,
}


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", help="a text model of sky or marbles")
    parser.add_argument(
        "--preset", choices=PRESETS, default=PRESET, help="that trained the layers for text"
    )
    parser.add_argument("changes", nargs="*", metavar="a.b=value", help="changes of its sampling")
    parser.add_argument("--n", type=int, default=96, help="prompts of each kind")
    parser.add_argument("--kinds", nargs="+", help="the kinds of prompts to measure; default: all")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--work", type=Path, default=Path("runs/prompts"), help="keeps videos")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    model = VideoModel.from_pretrained(chosen.model)
    trained = trained_on(chosen.preset)
    kinds = prompts_of(trained, chosen.n) | ({"class": ()} if model.index.classes else {})
    if unknown := [kind for kind in chosen.kinds or () if kind not in kinds]:
        parser.error(f"--kinds {unknown[0]}: expected some of {', '.join(kinds)}")
    backend = OpenVINO(precision=chosen.precision)
    result = {"model": chosen.model, "weights": model.index.weights, "n": chosen.n}
    sampling = sampling_with(model.index.sampling, chosen.changes)
    result |= {"sampling": to_dict(sampling)}
    result |= {"frames": chosen.frames, "backend": dict(backend.identity)}
    height, width = model.autoencoder.spec.clip[1:]
    plan = ClipPlan(frames=chosen.frames, height=height, width=width)
    world = type(trained)(plan=plan, split="test", videos=chosen.n)
    real = np.stack([world.video(i, 0, chosen.frames).frames for i in range(chosen.n)])
    rows = {"real": stated(real, [world.caption(i) for i in range(chosen.n)], world.kind)}
    print("real", rows["real"], flush=True)
    for kind in chosen.kinds or kinds:
        prompts = kinds[kind]
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
            world.kind,
        )
        print(kind, rows[kind], flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")


def trained_on(preset: str) -> World:
    """The synthetic data set that a preset trains on."""
    source = getattr(read_run(preset), "data", None)
    assert isinstance(source, SkyWorld | MarblesWorld)
    return source


def prompts_of(trained: World, n: int) -> dict[str, tuple[str, ...]]:
    """Prompts of each kind, by its name, for a model trained on the source ``trained``."""
    kind = type(trained)
    every = kind(split="test", videos=n)
    seen = kind(split="test", videos=n, without=trained.without)
    others = tuple(name for name in every.classes if name not in trained.without)
    unseen = kind(split="test", videos=n, without=others)
    short = kind(split="test", videos=n, short_captions=True)
    sentence = SENTENCES[trained.kind]
    return {
        "captions": tuple(seen.caption(i, wording=i) for i in range(n)),
        "unseen": tuple(unseen.caption(i, wording=i) for i in range(n)),
        "reordered": tuple(sentence(every.attributes(i), i // 2) for i in range(n)),
        "short": tuple(short.caption(i, wording=FULL + i % 6) for i in range(n)),
    }


def stated(clips: np.ndarray, prompts: Sequence[str], world: str) -> dict[str, Any]:
    """Motion, and for each attribute the share of videos that show it, where prompts state it."""
    right = obeyed(clips, prompts, world)
    shares = {name: share(flags) | {"n": len(flags)} for name, flags in right.items()}
    return {**shares, "motion": motion(clips)}


if __name__ == "__main__":
    main()
