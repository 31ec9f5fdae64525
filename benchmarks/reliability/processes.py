"""Compares two gloo processes with one: losses, restarts with another number, kills, samples.

    python benchmarks/reliability/processes.py [--parts kills] [--json docs/results/processes.json]

Toy runs are trained by one process, by two, by one and then two, and by two and then one; the
greatest difference of a logged loss from that of one process is reported. Then torchrun restarts
two processes after a SIGKILL of either, and the last checkpoint and the model are compared byte for
byte with those of two undisturbed processes. Videos and metrics of two processes are compared with
those of one.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "revisions"))
from revision_outputs import RUNS, parsed, run_kind

from longtake import config, run_folder, runs
from longtake.cli import main as longtake
from longtake.distributed import join
from longtake.training.log import environment

MEASURED = ("adversarial.volume", "adversarial.planes", "denoising.volume", "denoising.planes")
BASES = ("reconstruction.volume", "reconstruction.planes")
KILLED = ("adversarial.volume", "denoising.volume")
KILLS_EACH = 3
MODELS = ("lvdm-sky", "pvdm-sky")

Job = tuple[str, str]
"""The file of a run, and its folder."""

Kill = tuple[str, int, int]
"""The folder of a run, the rank that is killed, and the step after which it is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--json", type=Path, help="other parts that the file has already stay")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(**json.loads(args.work))
        return
    found = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    with TemporaryDirectory() as name:
        for part in args.parts:
            found[part] = PARTS[part](Path(name), args.steps)
            found |= {"steps": args.steps, "environment": environment()}
            print(json.dumps({part: found[part]}), flush=True)
            if args.json:
                args.json.write_text(json.dumps(found, indent=1) + "\n")


def trainings(root: Path, steps: int) -> list[dict[str, Any]]:
    """Greatest differences of losses from those of one process, by run."""
    start(1, [written(root, name, name, steps) for name in BASES])
    one, two, forth, back = ("one", "two", "one_then_two", "two_then_one")
    for processes, way in ((1, one), (2, two)):
        start(processes, [written(root, name, f"{way}/{name}", steps) for name in MEASURED])
    for way, first in ((forth, 1), (back, 2)):
        for processes, up_to in ((first, steps // 2), (3 - first, steps)):
            start(processes, [written(root, name, f"{way}/{name}", up_to) for name in MEASURED])
    rows = []
    for name in MEASURED:
        expected = losses(root / one / name)
        assert len(expected) == steps
        found = {way: difference(expected, losses(root / way / name)) for way in (two, forth, back)}
        rows.append({"run": name, **found})
    return rows


def kills(root: Path, steps: int) -> dict[str, Any]:
    """How often a process was killed, and whether the run ended as without kills, by run."""
    found = {}
    start(1, [written(root, name, name, steps) for name in BASES])
    for name in KILLED:
        plain, job = (written(root, name, f"{way}/{name}", steps) for way in ("plain", "killed"))
        at = [steps * (2 * n + 1) // (2 * KILLS_EACH) for n in range(KILLS_EACH)]
        start(2, [plain])
        start(2, [job], [(job[1], n % 2, step) for n, step in enumerate(at)])
        equal = contents(Path(job[1])) == contents(Path(plain[1]))
        found[name] = {"kills": KILLS_EACH, "equal": equal}
    return found


def videos(root: Path, steps: int) -> dict[str, bool]:
    """Whether two processes make the same bytes as one, of four seeds of each model."""
    del steps
    found = {}
    for model in MODELS:
        made = [root / "videos" / f"{model}_{processes}" for processes in (1, 2)]
        for processes, folder in enumerate(made, 1):
            options = ["--seed", "0..3", "--frames", "20", "--format", "mkv", "--device", "cpu"]
            command = ["generate", model, "sampler.steps=2", *options, "-o", str(folder)]
            start(processes, commands=[command])
        one, two = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in made)
        assert len(one) == 4
        found[model] = one == two
    return found


def metrics(root: Path, steps: int) -> bool:
    """Whether two processes measure what one does, with a network of random weights."""
    del steps
    made = [root / f"metrics_{processes}.json" for processes in (1, 2)]
    small = ["frames=4", "treatment.size=16", "network.width=4", "--protocol", "trial"]
    for processes, path in enumerate(made, 1):
        cache = ["--cache", str(root / f"features_{processes}")]
        command = ["evaluate", "sky:test", "sky:train", "--n", "200", *small, *cache]
        start(processes, commands=[[*command, "--json", str(path)]])
    one, two = (json.loads(path.read_text())["scores"] for path in made)
    return one == two


def written(root: Path, name: str, folder: str, steps: int) -> Job:
    """A run of toy size in a file, and the folder in which it is carried out."""
    settings = dict(RUNS[name])
    training = {"steps": steps, "batch": 4, "save_every": 2, "cooldown_steps": 0}
    settings["training"] = settings["training"] | training
    if "model" in settings:
        settings["model"] = str(root / settings["model"])
    path = root / f"{folder.replace('/', '_')}.yaml"
    path.write_text(config.to_yaml(parsed(run_kind(), json.loads(json.dumps(settings)))))
    return str(path), str(root / folder)


def start(
    processes: int,
    jobs: Sequence[Job] = (),
    killed: Sequence[Kill] = (),
    commands: Sequence[Sequence[str]] = (),
) -> None:
    """Do work in one process, or in several of torchrun, which restarts them after each kill."""
    asked = json.dumps({"jobs": jobs, "killed": killed, "commands": commands})
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    torchrun += ["--max-restarts", str(len(killed))]
    launch = torchrun if processes > 1 else []
    done = subprocess.run(
        [sys.executable, *launch, __file__, "--work", asked],
        capture_output=True,
        text=True,
        check=False,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    if done.returncode:
        sys.exit(done.stderr)


def work(jobs: Sequence[Job], killed: Sequence[Kill], commands: Sequence[Sequence[str]]) -> None:
    """What one process does: trainings, and commands."""
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if jobs:
        with join() as ranks:
            for file, folder in jobs:
                now = [k for k in killed[attempt : attempt + 1] if k[:2] == [folder, ranks.rank]]
                act = killing(now[0][2]) if now else runs.Callbacks()
                run_folder.start(runs.read_run(file), Path(folder), ranks, act)
    for command in commands:
        sys.argv = ["longtake", *command]
        try:
            longtake()
        except SystemExit as stop:
            if stop.code:
                raise


def killing(after: int) -> runs.Callbacks:
    """Callbacks that kill this process after a step."""

    def act(progress: Any) -> None:
        if progress.step == after:
            os.kill(os.getpid(), signal.SIGKILL)

    return runs.Callbacks(training=act)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines]


def difference(expected: Sequence[float], found: Sequence[float]) -> float:
    """Greatest difference of losses, relative to those above 1."""
    pairs = zip(expected, found, strict=True)
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs)


def contents(folder: Path) -> Mapping[str, bytes]:
    """Bytes of the last checkpoint and of the model."""
    parts = [*sorted(folder.glob("step_*"))[-1:], folder / "model"]
    files = [path for part in parts for path in part.rglob("*") if path.is_file()]
    assert files
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


PARTS: Mapping[str, Callable[[Path, int], Any]] = {
    "trainings": trainings,
    "kills": kills,
    "videos": videos,
    "metrics": metrics,
}


if __name__ == "__main__":
    main()
