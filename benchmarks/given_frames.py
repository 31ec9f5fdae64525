"""Steps at the joins of given frames beside the steps inside true videos of the synthetic sky.

    python benchmarks/given_frames.py --videos 8 --json docs/results/given_frames.json
    python benchmarks/given_frames.py --models lvdm-sky --ways loop --json FILE

A step is the root mean square difference of neighbouring frames, in levels of 255. Test videos of
`sky` give a first frame, 24 frames to continue, or every fifth frame; each is sampled under the
label of its video. The join is the step from the last given frame to the first new one; of filled
videos every step next to a given frame counts, of loops every step from the last sampled frame to
the first. It should not be over the 95th percentile of true steps. ``--ways`` measures some of the
ways and keeps the other rows of the file.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from longtake import VideoModel
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.generate import VideoStream
from longtake.given import FilledVideo, LoopedVideo, StartedVideo
from longtake.rollout import Request

TRUE_VIDEOS, CONTINUED, NEW = 64, 24, 16
WAYS = ("start image", "continue", "interpolate", "loop")


def steps(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Root mean square difference of each two neighbouring frames, in levels."""
    return np.sqrt(np.square(np.diff(frames.astype(np.float64), axis=0)).mean((1, 2, 3)))


def made(video: VideoStream, request: Request, frames: int) -> NDArray[np.uint8]:
    """Frames of a video of one seed."""
    parts = [part.frames[0] for part in video(request, frames, None, None)]
    return np.concatenate(parts)[:frames]


def joins(
    model: VideoModel, world: SkyWorld, index: int, ways: Sequence[str]
) -> Iterator[tuple[str, list[float]]]:
    """Steps at the joins of each way to give frames of a test video."""
    video, true = model.long_video(), world.read(index, 0, CONTINUED)
    request = model.request([index], model.index.classes[world.label(index)])
    for way, given in (("start image", true[:1]), ("continue", true)):
        if way in ways:
            started = StartedVideo(video=video, frames=given)
            frames = made(started, request, len(given) + NEW)
            assert np.array_equal(frames[: len(given)], given)
            yield way, [steps(frames)[len(given) - 1]]
    if "interpolate" in ways and "interpolator" in video.samplers:
        filled = FilledVideo(video=video, frames=true[::5])
        frames = made(filled, request, filled.length)
        assert np.array_equal(frames[:: filled.factor], true[::5])
        own = np.arange(filled.length - 1) % filled.factor
        yield "interpolate", steps(frames)[(own == 0) | (own == filled.factor - 1)].tolist()
    if "loop" in ways and "interpolator" in video.samplers:
        opening = StartedVideo(video=video, frames=true[:1])
        looped = LoopedVideo(video=video, opening=opening)
        frames = made(looped, request, 2 * NEW + looped.closing)
        closed = steps(np.concatenate([frames, frames[:1]]))
        yield "loop", closed[2 * NEW - 1 :].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["lvdm-sky", "pvdm-sky"])
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    began, rows = time.perf_counter(), []
    for name in args.models:
        model = VideoModel.from_pretrained(name)
        height, width = model.denoisers["first"].spec.clip[1:]
        world = SkyWorld(split="test", plan=ClipPlan(height=height, width=width))
        true = np.concatenate([steps(world.read(i, 0, 16)) for i in range(TRUE_VIDEOS)])
        limit = float(np.percentile(true, 95))
        found: dict[str, list[float]] = {}
        for index in range(args.videos):
            for way, values in joins(model, world, index, args.ways):
                found.setdefault(way, []).extend(values)
        for way, values in found.items():
            row = {"model": name, "way": way, "joins": len(values), "mean": float(np.mean(values))}
            row |= {"greatest": max(values), "true_median": float(np.median(true))}
            rows.append({**row, "true_95th_percentile": limit})
            print(
                f"| {name} | {way} | {len(values)} | {row['mean']:.2f} | {row['greatest']:.2f} "
                f"| {row['true_median']:.2f} | {limit:.2f} |",
                flush=True,
            )
    print(f"{time.perf_counter() - began:.0f} s")
    if args.json and args.json.exists():
        measured = {(row["model"], row["way"]) for row in rows}
        before = json.loads(args.json.read_text())["rows"]
        rows = [r for r in before if (r["model"], r["way"]) not in measured] + rows
    if args.json:
        args.json.write_text(
            json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
