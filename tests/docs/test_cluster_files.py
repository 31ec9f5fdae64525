"""The files for clusters are valid, and their commands are those of longtake."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from longtake.runs import read_run

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
FIT = re.compile(r"torchrun ((?:.|\\\n)*?) -m longtake\.cli (.*)")


def fit_of(text: str) -> tuple[list[str], list[str]]:
    found = FIT.search(text.replace("\\\n", " "))
    assert found is not None
    return shlex.split(found[1]), shlex.split(found[2].removesuffix("&"))


def test_the_slurm_script_is_valid_and_requeues():
    path = CLUSTER / "slurm.sh"
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    text = path.read_text()
    assert "#SBATCH --requeue" in text
    _, fit = fit_of(text)
    assert fit == ["fit", "$preset", "-o", "$run", "$@"]


def test_the_skypilot_job_names_a_preset_and_folders_that_it_mounts():
    job = yaml.safe_load((CLUSTER / "skypilot.yaml").read_text())
    options, fit = fit_of(job["run"])
    assert f"--nproc-per-node={job['resources']['accelerators'].partition(':')[2]}" in options
    read_run(job["envs"]["PRESET"])
    used = [word for word in fit if "/" in word]
    assert len(used) == 2
    assert all(any(mount in word for mount in job["file_mounts"]) for word in used)


@pytest.mark.parametrize("name", ["slurm.sh", "skypilot.yaml"])
def test_torchrun_knows_the_options(name: str):
    from torch.distributed.run import get_args_parser

    options, _ = fit_of((CLUSTER / name).read_text())
    get_args_parser().parse_known_args([*options, "-m", "longtake.cli"])
    known = get_args_parser().format_help().replace("-", "_")
    assert all(word.partition("=")[0].replace("-", "_") in known for word in options)
