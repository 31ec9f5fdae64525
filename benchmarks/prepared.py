"""How much faster clips are read from prepared footage than from 1080p with long GOPs.

    python benchmarks/prepared.py --json docs/results/prepared.json

Both sides read the same clips of 16 frames in turn, in one process with one thread each, and time
is CPU time. The footage is written first: noise that moves, 1920 x 1080, with one key frame, as in
files whose key frames are 250 apart.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from longtake.data.clips import fit_frames
from longtake.data.prepare import PrepareSettings, prepare
from longtake.training.log import environment
from longtake.video import VideoWriter, read_clip

SIZE, FRAMES, CLIP, KEY_FRAMES = 256, 120, 16, 250


def write_footage(path: Path) -> None:
    """A picture that moves by two pixels a frame, with grain, as cameras have."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (68, 124, 3), dtype=np.uint8)
    picture = coarse.repeat(16, 0).repeat(16, 1)[:1080]
    with VideoWriter(path, 25, key_frames=KEY_FRAMES) as writer:
        for number in range(FRAMES):
            frame = picture[:, 2 * (number % 30) :][:, :1920].astype(np.int16)
            grain = random.integers(-6, 7, (1080, 1920, 1), dtype=np.int16)
            writer.write((frame + grain).clip(0, 255).astype(np.uint8)[None])


def seconds(path: Path, start: int) -> float:
    began = time.process_time()
    fit_frames(read_clip(path, start, CLIP), SIZE, SIZE)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "footage" / "film.mp4"
        original.parent.mkdir()
        write_footage(original)
        settings = PrepareSettings(size=SIZE, cuts=False)
        (video,) = prepare(original, Path(folder) / "data", settings, processes=1)
        (scene,) = video.scenes
        prepared = Path(folder) / "data" / scene.file
        starts = np.random.default_rng(1).integers(0, FRAMES - CLIP, given.clips).tolist()
        for path in (original, prepared):
            read_clip(path, 0, 1)  # makes the index of the file, which is kept
        pairs = [(seconds(original, start), seconds(prepared, start)) for start in starts]
    before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
    result = {
        "original_ms": round(1000 * before, 1),
        "prepared_ms": round(1000 * after, 1),
        "ratio": round(before / after, 1),
        "clips": given.clips,
        "environment": environment(),
    }
    print(
        f"a clip of {CLIP} x {SIZE} x {SIZE}: {result['original_ms']} ms of 1080p with long GOPs, "
    )
    print(f"{result['prepared_ms']} ms prepared: {result['ratio']} times as fast")
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
