"""The programs for a lent GPU run at toy size on a CPU, without PyAV and diffusers."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BARE = """
import runpy
import shlex
import sys

for name in ("av", "diffusers"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
for line in sys.argv[2:]:
    sys.argv = shlex.split(line)
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(program: str, *calls: Sequence[str]) -> str:
    """What a program prints that is called with each of some arguments, in one process."""
    lines = [shlex.join([str(BENCHMARKS / program), *arguments]) for arguments in calls]
    command = [sys.executable, "-c", BARE, str(BENCHMARKS), *lines]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_speed_and_memory_are_measured_and_rows_that_do_not_fit_the_time_are_named(tmp_path):
    whole = ["--dry-run", "--json", str(tmp_path / "gpu.json")]
    out = run("gpu.py", whole, ["--dry-run", "--budget", "0"])
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert "nothing was left out" in out
    assert not [row for row in found["rows"] if "error" in row]
    what = {row["what"] for row in found["rows"]}
    assert {"LVDM, 1: A, float32", "PVDM-L, 1: B, bfloat16", "long video"} <= what

    assert "not measured: products, bfloat16, products, float32, copy in memory" in out


@pytest.mark.slow
def test_stages_are_trained_from_one_another(tmp_path):
    stages = ["pvdm_laptop_autoencoder", "pvdm_laptop_autoencoder_slow", "pvdm_laptop"]
    run("gpu_train.py", ["--dry-run", "--out", str(tmp_path), "--only", *stages])
    rows = json.loads((tmp_path / "training.json").read_text())
    assert [(row["stage"], row["steps"]) for row in rows] == [(stage, 2) for stage in stages]
    assert all((tmp_path / "runs" / stage / "model").is_dir() for stage in stages)
