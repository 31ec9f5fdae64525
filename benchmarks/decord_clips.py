"""CPU time of a clip from a 720p film: longtake, and decord as LVDM's data sets call it.

    pip install --no-deps decord
    python benchmarks/decord_clips.py --clips 8 --json docs/results/decord_clips.json

Both read the same clips of 16 frames from the same file in turn, in one process, to floats of
256 x 256 pixels in [-1, 1]. decord opens the file for each clip and scales frames to that size,
with another aspect ratio; longtake has the file's index in its cache, scales the shorter side with
antialiasing and crops. The films are written first, with key frames ``--gop`` frames apart.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtake.data.clips import fit_frames
from longtake.training.log import environment
from longtake.video import VideoWriter, read_clip
from longtake.video.pixels import to_model

HEIGHT, WIDTH, SIZE, CLIP = 720, 1280, 256, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--frames", type=int, default=120, help="of the film")
    parser.add_argument("--gop", type=int, nargs="+", default=[60])
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for gop in chosen.gop:
            path = Path(folder) / f"{gop}.mp4"
            write_film(path, chosen.frames, gop)
            rows.append({"key_frames": gop} | compared(path, chosen.frames, chosen.clips))
            print(rows[-1], flush=True)
    if chosen.json:
        about = {"clips": chosen.clips, "environment": environment()}
        chosen.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def write_film(path: Path, frames: int, gop: int) -> None:
    """A picture that moves by two pixels a frame, with grain, as cameras have."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (HEIGHT // 8, WIDTH // 8 + 16, 3), dtype=np.uint8)
    picture = coarse.repeat(8, 0).repeat(8, 1)
    with VideoWriter(path, 25, key_frames=gop) as writer:
        for number in range(frames):
            frame = picture[:, 2 * (number % 60) :][:, :WIDTH].astype(np.int16)
            grain = random.integers(-4, 5, (HEIGHT, WIDTH, 1), dtype=np.int16)
            writer.write((frame + grain).clip(0, 255).astype(np.uint8)[None])


def compared(path: Path, frames: int, clips: int) -> dict[str, object]:
    """Milliseconds of both, and quartiles of the ratios of single clips."""
    starts = np.random.default_rng(1).integers(0, frames - CLIP, clips).tolist()
    for read in (by_longtake, by_decord):
        read(path, 0)  # libraries are loaded, the file's index is made
    pairs = [(cpu_ms(by_longtake, path, at), cpu_ms(by_decord, path, at)) for at in starts]
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {
        "longtake_ms": round(ours, 1),
        "decord_ms": round(theirs, 1),
        "ratio": round(statistics.median(ratios), 2),
        "quartiles": [round(ratios[at], 2) for at in (clips // 4, -1 - clips // 4)],
    }


def cpu_ms(read: Callable[[Path, int], Tensor], path: Path, start: int) -> float:
    """CPU time of one clip, of all threads."""
    began = time.process_time()
    assert read(path, start).shape == (3, CLIP, SIZE, SIZE)
    return 1000 * (time.process_time() - began)


def by_longtake(path: Path, start: int) -> Tensor:
    return to_model(fit_frames(read_clip(path, start, CLIP), SIZE, SIZE))


def by_decord(path: Path, start: int) -> Tensor:
    import decord  # pyright: ignore[reportMissingImports]

    reader = decord.VideoReader(
        str(path), ctx=decord.cpu(0), width=SIZE, height=SIZE, num_threads=1
    )
    frames = reader.get_batch(list(range(start, start + CLIP)))
    video = torch.tensor(frames.asnumpy()).permute(3, 0, 1, 2).float()
    return (video / 255 - 0.5) * 2


if __name__ == "__main__":
    main()
