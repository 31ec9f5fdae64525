"""CPU seconds to compile a model's OpenVINO programs: at first, and from the cache beside them.

    python benchmarks/compile_cache.py --json docs/results/compile_cache.json

Programs are exported before, if they are not, and copied to a folder without a cache. A video of
one evaluation a clip is then made three times on one thread: by programs that are compiled, by a
new backend that reads them from the cache, and again by that. The first two less the third is what
compiling takes. The three videos must be equal, bit for bit.
"""

import argparse
import json
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from networks import cpu
from torch import Tensor

from longtake.backends import OpenVINO
from longtake.backends.openvino import COMPILED, cache_folder
from longtake.generate import LongVideo
from longtake.model import VideoModel, sampling_with

FRAMES = 56


def main() -> None:
    """Print a table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--models", nargs="*", default=["lvdm-sky", "pvdm-sky"])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measured(name) for name in chosen.models]
    print("| model | programs | compiled, CPU seconds | from the cache | ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        cells = row["model"], row["programs"], row["cold_s"], row["warm_s"], row["ratio"]
        print("| `{}` | {} | {} | {} | {} |".format(*cells))
    if chosen.json:
        about = {"processor": cpu(), "torch": torch.__version__, "openvino": version("openvino")}
        chosen.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def measured(name: str) -> dict[str, Any]:
    """A row of the result."""
    model = VideoModel.from_pretrained(name)
    sampling = sampling_with(model.index.sampling, ["sampler.steps=1"])

    def video(folder: Path) -> LongVideo:
        return model.long_video(sampling, OpenVINO(folder=folder, say=print))

    made(model, video(cache_folder()))  # exports programs
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "programs"
        shutil.copytree(cache_folder(), folder, ignore=shutil.ignore_patterns(f"{COMPILED}_*"))
        compiled, cold = made(model, video(folder))
        programs = len(list(folder.glob(f"*/{COMPILED}_*")))
        later = video(folder)
        cached, warm = made(model, later)
        again, rest = made(model, later)
    assert torch.equal(compiled, cached)
    assert torch.equal(compiled, again)
    return {
        "model": name,
        "programs": programs,
        "cold_s": round(cold - rest, 2),
        "warm_s": round(warm - rest, 2),
        "ratio": round((cold - rest) / (warm - rest), 2),
    }


def made(model: VideoModel, video: LongVideo) -> tuple[Tensor, float]:
    """A video, and the CPU seconds that it took."""
    began = time.process_time()
    parts = [part.pixels for part in video(model.request([0], 0), FRAMES)]
    return torch.cat(parts, 2), time.process_time() - began


if __name__ == "__main__":
    main()
