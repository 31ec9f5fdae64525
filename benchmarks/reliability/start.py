"""CPU time until `longtake generate` first calls a network, and memory to open a model.

    python benchmarks/reliability/start.py cf41d99 . --json docs/results/start.json

Two revisions in one run, each measurement a process of its own, in turns. Most of what is left of
the start is the import of torch, which is measured beside it. The opened model has random weights
of about ``--megabytes``; its memory is the growth of the process's peak over the import.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "revisions"))
from compare_revisions import checked_out, commit

USAGE = """
import os, resource, sys
def say(*_):
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, flush=True)
"""
IMPORT = USAGE + "import torch; say()"
START = f"""{USAGE}
class Hook:  # of the first network call, set when the command has imported torch
    def find_spec(self, name, *_):
        torch = sys.modules.get("torch")
        if name.startswith("longtake") and self in sys.meta_path and hasattr(torch, "compile"):
            sys.meta_path.remove(self)
            torch.nn.modules.module.register_module_forward_pre_hook(stop)
def stop(*_):
    say()
    os._exit(0)
sys.meta_path.insert(0, Hook())
from longtake.cli import main
sys.argv = ["longtake", "generate", "lvdm-sky", "--frames", "16", "-o", sys.argv[1] + "/none"]
main()
"""
MAKE = """
import dataclasses, sys
from longtake.model import VideoModel
model = VideoModel.from_pretrained("lvdm-sky")
first = model.denoisers["first"] if hasattr(model, "denoisers") else model.denoiser
weights_mb = sum(p.numel() * 4 for p in first.parameters()) / 2**20
wider = int(first.config.model_channels * (float(sys.argv[2]) / weights_mb) ** 0.5) // 32 * 32
network = first.config.model_copy(update={"model_channels": wider}).build()
if hasattr(model, "denoisers"):
    model = dataclasses.replace(model, denoisers={"first": network})
else:
    model = dataclasses.replace(model, denoiser=network, between=None)
model.save_pretrained(sys.argv[1] + "/model")
"""
OPEN = f"""{USAGE}
from longtake.model import VideoModel
VideoModel.from_pretrained("lvdm-sky")
say()
model = VideoModel.from_pretrained(sys.argv[1] + "/model")
say()
"""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("before", help="a revision, or . for the working tree")
    parser.add_argument("after")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=600)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    chosen = parser.parse_args()
    about = {name: commit(getattr(chosen, name)) for name in ("before", "after")}
    with (
        checked_out(chosen.before) as before,
        checked_out(chosen.after) as after,
        tempfile.TemporaryDirectory() as temporary,
    ):
        trees = {"before": before, "after": after}
        seconds = {"import torch": [], "before": [], "after": []}
        for _ in range(chosen.rounds + 1):  # the first writes bytecode
            seconds["import torch"].append(run(after, IMPORT, temporary)[0][0])
            for name, tree in trees.items():
                seconds[name].append(run(tree, START, temporary)[0][0])
        run(before, MAKE, temporary, str(chosen.megabytes))  # the later revision reads it too
        weights_mb = sum(p.stat().st_size for p in Path(temporary).rglob("*.safetensors")) / 2**20
        grown = {}
        for name, tree in trees.items():
            (_, small), (_, large) = run(tree, OPEN, temporary)
            grown[name] = large - small
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    for name, value in medians.items():
        print(f"{name:<13} {value:.2f} CPU seconds")
    print(f"start: {medians['before'] / medians['after']:.2f}x", end="; ")
    own = [medians[name] - medians["import torch"] for name in trees]
    print(f"without the import of torch {own[0] / own[1]:.2f}x")
    for name, value in grown.items():
        print(f"{name:<13} {value:.0f} MB to open {weights_mb:.0f} MB: {value / weights_mb:.2f}x")
    if chosen.json:
        memory = {"weights_mb": weights_mb, "peak_growth_mb": grown}
        result = about | {"cpu_seconds": medians, "rounds": seconds, "memory": memory}
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def run(tree: Path, script: str, *arguments: str) -> list[list[float]]:
    """The numbers that a script prints, a list a line, with this revision's package."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [
        [float(x) for x in line.split()]
        for line in done.stdout.splitlines()
        if line[0] in "0123456789"
    ]


if __name__ == "__main__":
    main()
