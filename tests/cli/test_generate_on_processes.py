"""Processes of torchrun share the videos of one command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longtake.video import stream_video


@pytest.mark.slow
def test_two_processes_make_the_videos_that_one_makes(
    longtake, tiny_run_folder: Path, tmp_path: Path
):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = ["generate", str(tiny_run_folder), "sampler.steps=1"]
    options = ["--frames", "12", "--seed", "0..2", "--format", "mkv", "--device", "cpu", "-o"]
    assert longtake(*command, *options, tmp_path / "one").code == 0
    arguments = [sys.executable, *torchrun, "longtake.cli", *command, *options]
    subprocess.run([*arguments, str(tmp_path / "two")], check=True, capture_output=True)
    names = [path.name for path in sorted((tmp_path / "one").iterdir())]
    assert names == ["seed_0000.mkv", "seed_0001.mkv", "seed_0002.mkv"]
    assert names == [path.name for path in sorted((tmp_path / "two").iterdir())]
    for name in names:
        one, two = (list(stream_video(tmp_path / folder / name)) for folder in ("one", "two"))
        assert np.array_equal(np.concatenate(one), np.concatenate(two))
