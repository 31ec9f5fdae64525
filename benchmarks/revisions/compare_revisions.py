"""Whether two revisions make the same samples and training steps on this machine, bit for bit.

    cd benchmarks/revisions
    python compare_revisions.py cf41d99 HEAD --json ../../docs/results/revisions.json
    python compare_revisions.py cf41d99 .      # against the working tree
    python compare_revisions.py cf41d99 . pvdm train.denoising   # some cases only

Each revision is checked out into a temporary folder and run by a process of its own, on one
thread, with the Python and the packages that run this file. Ends with status 1 if a tensor differs.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("revision_outputs.py")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("before", help="a revision, or . for the working tree")
    parser.add_argument("after")
    parser.add_argument("words", nargs="*", help="run the cases whose name contains one of these")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    args = parser.parse_args()
    before, after = (outputs(revision, args.words) for revision in (args.before, args.after))
    rows = [
        compared(name, before.get(name), after.get(name)) for name in sorted({**before, **after})
    ]
    for row in rows:
        print(f"{row['verdict']:<10} {row['difference']:<10.3g} {row['name']}")
    count = sum(row["verdict"] != "equal" for row in rows)
    print(f"{len(rows) - count} of {len(rows)} tensors are equal to the last bit")
    if args.json:
        about = {name: commit(getattr(args, name)) for name in ("before", "after")}
        about |= {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
        args.json.write_text(json.dumps(about | {"tensors": rows}, indent=1) + "\n")
    sys.exit(count > 0)


def compared(name: str, before: Tensor | None, after: Tensor | None) -> dict[str, Any]:
    """A row of the table; a tensor that only one revision has differs by nan."""
    row: dict[str, Any] = {"name": name, "difference": 0.0, "verdict": "equal"}
    for key, tensor in (("before", before), ("after", after)):
        row[key] = None if tensor is None else sha256(tensor)
    if before is None or after is None or before.shape != after.shape:
        row |= {"difference": float("nan"), "verdict": "unmatched"}
    elif row["before"] != row["after"]:
        row |= {"difference": float((before - after).abs().max()), "verdict": "differs"}
    return row


def sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def outputs(revision: str, words: Sequence[str]) -> dict[str, Tensor]:
    """What ``revision_outputs.py`` writes when it imports this revision."""
    with checked_out(revision) as tree, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outputs.safetensors"
        environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
        print(f"{revision}:", file=sys.stderr)
        subprocess.run(
            [sys.executable, WORKER, path, *words],
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with safe_open(path, framework="pt") as file:
            imported = Path(file.metadata()["longtake"])
        assert imported == tree / "src" / "longtake", f"imported {imported}, not {tree}"
        return load_file(path)


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """A folder with the revision's files; ``.`` is the working tree."""
    if revision == ".":
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git("worktree", "add", "--detach", str(tree), revision)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def commit(revision: str) -> str:
    name = git("rev-parse", "HEAD" if revision == "." else revision)
    return f"{name} and changes" if revision == "." and git("status", "--porcelain") else name


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
