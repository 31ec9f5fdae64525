"""Are faults of long video found as what they are, and is good video left alone?

    python benchmarks/drift.py --json docs/results/drift.json --picture docs/pictures/drift.png

Videos of the sky world, of every time of day, as H.264 files: as they are, and with one fault each.
They are of another seed than those by which the thresholds were chosen.
The picture is the report on one that drifts, flickers at its joints and freezes.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.drift import Describer, DriftPlan, judge, measure, write_report
from longtake.video import VideoWriter, stream_video

sys.path.insert(
    0, str(Path(__file__).parents[1] / "tests" / "drift")
)  # the tests use the same faults
import faults

FRAMES, SIZE = 256, 64
STRIDE = 29
"""Through the world's videos, whose 24 classes come in turn: another time of day each time."""

Fault = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=8, help="with each fault; twice that clean")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    plan = ClipPlan(frames=FRAMES, height=SIZE, width=SIZE)
    videos = 2 * chosen.videos
    world = SkyWorld(plan=plan, split="test", seed=1, videos=videos * STRIDE + 1)
    film = [world.video(i * STRIDE, 0, FRAMES).frames for i in range(videos)]
    with tempfile.TemporaryDirectory() as folder:
        rows = [row("none", film, lambda video: video, Path(folder))]
        for name, fault in made(film).items():
            rows.append(row(name, film[: chosen.videos], fault, Path(folder)))
        if chosen.picture:
            draw(film[4], chosen.picture, Path(folder))
    result = {"frames": FRAMES, "size": SIZE, "rows": rows}
    print("| fault | videos | found first | found as well |\n| --- | ---: | ---: | --- |")
    for line in rows:
        others = ", ".join(f"{kind} {count}" for kind, count in line["others"].items())
        print(f"| {line['fault']} | {line['videos']} | {line['first']} | {others} |")
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def made(film: list[np.ndarray]) -> dict[str, Fault]:
    """The faults, by the kind as which they should be found."""
    return {
        "freeze": lambda v: faults.freeze(v, 120, 32),
        "loop": lambda v: faults.loop(v, 128, 32),
        "seams": lambda v: faults.flicker(v, 12, 2.0),
        "cut": lambda v: faults.cut(v, film[0 if v is not film[0] else 1], 128),
        "colour": lambda v: faults.drift(v, 0.12 if v[..., 0].mean() < 128 else -0.12),
        "contrast": lambda v: faults.fade(v, 0.5),
        "sharpness": lambda v: faults.blur(v, 8),
        "motion": lambda v: faults.slow(v, 0.25),
    }


def row(name: str, film: list[np.ndarray], fault: Fault, folder: Path) -> dict:
    """How often a fault is found as the most severe, and what else is found."""
    first, others = 0, Counter[str]()
    for video in film:
        describer = Describer()
        for frames in stream_video(written(fault(video), folder / "video.mp4")):
            describer.add(frames)
        kinds = [finding.kind for finding in judge(measure(describer.done()))]
        first += kinds[:1] == [name] or (name == "none" and not kinds)
        others.update(set(kinds) - {name})
    return {"fault": name, "videos": len(film), "first": first, "others": dict(others)}


def written(frames: np.ndarray, path: Path) -> Path:
    """As H.264."""
    with VideoWriter(path, SkyWorld().fps, overwrite=True) as writer:
        writer.write(frames)
    return path


def draw(video: np.ndarray, picture: Path, folder: Path) -> None:
    """The report on a video with three faults."""
    broken = faults.flicker(faults.drift(video, 0.12), 16, 3.0)
    path = written(faults.freeze(broken, 200, 24), folder / "three_faults.mp4")
    write_report(path, folder, DriftPlan(world="sky", feature_windows=0)).picture.replace(picture)


if __name__ == "__main__":
    main()
