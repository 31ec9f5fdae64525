"""CPU time of a frame of long video: torch against OpenVINO in float32 and in bfloat16.

    python benchmarks/backends.py --json docs/results/backends.json

Both shipped models with their own settings, one thread, in turns in one process: sampling and
decoding of the frames after the first ``--start``, so that exporting, compiling and the first clip
count for none. Not encoding to a file. Programs are exported first if they are not yet.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from longtake.backends import OpenVINO
from longtake.generate import LongVideo
from longtake.model import VideoModel

MODELS = ("lvdm-sky", "pvdm-sky")
BACKENDS = {
    "torch": None,
    "OpenVINO, float32": OpenVINO(say=print),
    "OpenVINO, bfloat16": OpenVINO(precision="bfloat16", say=print),
}


def main() -> None:
    """Print a table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--start", type=int, default=32, help="frames that are not counted")
    parser.add_argument("--frames", type=int, default=96, help="frames that are")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for name in MODELS for row in measure(name, chosen)]
    print("| model | backend | CPU ms per frame | speed | PSNR to PyTorch's frames, dB |")
    print("| --- | --- | ---: | ---: | ---: |")
    for row in rows:
        psnr = "" if row["psnr"] is None else f"{row['psnr']:.1f}"
        named = f"| `{row['model']}` | {row['backend']}"
        print(f"{named} | {row['ms']:.1f} | {row['speed']:.2f} | {psnr} |")
    if chosen.json:
        about = {"processor": platform.processor(), "torch": torch.__version__, "rows": rows}
        chosen.json.write_text(json.dumps(about, indent=1) + "\n")


def measure(name: str, chosen: argparse.Namespace) -> list[dict[str, object]]:
    """Rows of one model, the backends in turns."""
    model = VideoModel.from_pretrained(name)
    videos = {key: model.long_video(backend=backend) for key, backend in BACKENDS.items()}
    expected, _ = run(model, videos["torch"], chosen)
    times: dict[str, list[float]] = {key: [] for key in videos}
    psnr: dict[str, float | None] = {}
    for key, video in videos.items():
        made, _ = run(model, video, chosen)  # exports and compiles
        error = float((made - expected).square().mean()) / 4
        psnr[key] = 10 * torch.tensor(1 / error).log10().item() if error else None
    for _ in range(chosen.rounds):
        for key, video in videos.items():
            times[key].append(run(model, video, chosen)[1])
    middle = {key: statistics.median(each) for key, each in times.items()}
    return [
        {
            "model": name,
            "backend": key,
            "ms": middle[key] * 1000,
            "speed": middle["torch"] / middle[key],
            "psnr": psnr[key],
            "rounds_ms": [t * 1000 for t in times[key]],
        }
        for key in videos
    ]


def run(
    model: VideoModel, video: LongVideo, chosen: argparse.Namespace
) -> tuple[torch.Tensor, float]:
    """Frames of seed 0, and CPU seconds of each of those that count."""
    made, began, ended, counted = [], 0.0, 0.0, 0
    for part in video(model.request([0]), chosen.start + chosen.frames):
        if began:
            counted += part.pixels.shape[2]
            ended = time.process_time()
        made.append(part.pixels)
        if not began and sum(x.shape[2] for x in made) >= chosen.start:
            began = time.process_time()
    return torch.cat(made, 2), (ended - began) / counted


if __name__ == "__main__":
    main()
