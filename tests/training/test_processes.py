"""Many processes train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_monitor import STRICT, tiny_run, two_adversaries
from tiny_runs import (
    ADVERSARY,
    autoencoder_run,
    diffusion_run,
    last_checkpoint,
    log,
    losses,
    train,
    triplane_autoencoder_run,
    triplane_run,
)

from longtake.config import to_yaml
from longtake.model import VideoModel
from longtake.runs import AutoencoderRun, DiffusionRun

NEAR = {"adversarial": 1e-3, "monitored": 0.05}  # batch norms see their process's part

SCRIPT = """
import json, signal, sys
from pathlib import Path

from longtake import run_folder, runs
from longtake.distributed import join
from longtake.training.trainer import Interrupted

def stop_at_two(progress):
    if progress.step == 2:  # Ctrl-C, which comes from the terminal and from torchrun too
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

with join() as ranks:
    for preset, folder in json.loads(sys.argv[1]):
        run = runs.read_run(preset)
        try:
            run_folder.start(run, Path(folder), ranks, runs.Callbacks(training=stop_at_two))
        except Interrupted:
            run_folder.start(run, Path(folder), ranks, runs.Callbacks())
"""


def on_two_processes(tmp_path: Path, trained: dict[str, AutoencoderRun | DiffusionRun]) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    jobs = []
    for name, run in trained.items():
        (tmp_path / f"{name}.yaml").write_text(to_yaml(run))
        jobs.append((str(tmp_path / f"{name}.yaml"), str(tmp_path / "two" / name)))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(script), json.dumps(jobs)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "FSDPTriplane" not in done.stderr  # as a warning of PyTorch would have it


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path, tiny_autoencoder_folder: Path):
    train(triplane_autoencoder_run(steps=2), tmp_path / "planes")
    rule = {"kind": "plateau", "improvement": 0.9, "steps": 2}
    judged = {**ADVERSARY, "start": 2, "adaptive": False}
    trained = {
        "adversarial": autoencoder_run(judged, batch=4),
        "autoencoder": autoencoder_run(batch=4, accumulate=2, sample_every=4, save_every=3),
        "denoiser": diffusion_run(
            tiny_autoencoder_folder, batch=4, accumulate=2, sample_every=4, save_every=3
        ),
        "planes": triplane_run(tmp_path / "planes"),
        "monitored": tiny_run(
            two_adversaries(start=rule), batch=4, steps=30, adversarial_steps=3, collapse=STRICT
        ),
    }
    on_two_processes(tmp_path, trained)
    for name, run in trained.items():
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        one.parent.mkdir(exist_ok=True)
        train(run, one)
        near = NEAR.get(name, 1e-5)
        assert losses(two) == pytest.approx(losses(one), abs=near)
        norms = [log(folder)[0]["gradient_norm_main"] for folder in (two, one)]
        assert norms[0] == pytest.approx(norms[1], rel=10 * near)
        expected, got = last_checkpoint(one), last_checkpoint(two)
        assert expected.keys() == got.keys()
        for key in expected:
            if key.startswith(("weights", "ema")):
                assert (expected[key] - got[key]).abs().max() < 2e-3, key
        assert VideoModel.from_pretrained(two).index.weights.keys() == (
            VideoModel.from_pretrained(one).index.weights.keys()
        )
        previews = [sorted(p.name for p in (d / "samples").rglob("*")) for d in (one, two)]
        assert previews[0] == previews[1]
        if name == "monitored":
            assert len(losses(one)) == 7
        else:
            train(run.model_copy(update={"training": longer(run)}), two)


def longer(run: AutoencoderRun | DiffusionRun):
    """A checkpoint of two processes is continued by one."""
    return run.training.model_copy(update={"steps": run.training.steps + 1})
