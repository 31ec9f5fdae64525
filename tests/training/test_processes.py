"""Many processes train as one does, are joined by another number of them, and survive kills.

Trainings on two processes share one start of torchrun, which takes longer than they do.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import float64_run
import pytest
import torch
from processes import written
from ranks import run_ranks
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
from torch import Tensor

from longtake import run_folder
from longtake.config import to_yaml
from longtake.distributed import Ranks
from longtake.model import VideoModel
from longtake.runs import AutoencoderRun, Callbacks, DiffusionRun
from longtake.training import checkpoint

NEAR = 1e-6
WITHOUT_EFFECT = ("main.2.bias", "main.3.running_mean")
"""A bias before a batch normalisation, and the mean that it shifts, which training never reads: the
bias's gradient is 0 but for rounding, which AdamW divides by its own size."""
STEPS, HALF = 7, 4

SCRIPT = """
import json, os, signal, sys
from pathlib import Path

from longtake import run_folder, runs
from longtake.distributed import join
from longtake.training.trainer import Interrupted

first_attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"

def stop_at_two(progress):
    if progress.step == 2:  # Ctrl-C, which comes from the terminal and from torchrun too
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

def die_at_five(progress):
    if progress.step == 5 and first_attempt and os.environ["RANK"] == "0":  # it holds the folder
        os.kill(os.getpid(), signal.SIGKILL)

with join() as ranks:
    for preset, folder in json.loads(sys.argv[1]):
        if Path(folder, "model").exists():
            continue
        run, killed = runs.read_run(preset), folder.endswith("killed")
        act = die_at_five if killed else stop_at_two
        try:
            run_folder.start(run, Path(folder), ranks, runs.Callbacks(training=act))
        except Interrupted:
            run_folder.start(run, Path(folder), ranks, runs.Callbacks())
"""
LEFT_ALONE = """
import os

from longtake.distributed import join

with join() as ranks:
    ranks.barrier()  # both are connected
    if ranks.rank:
        os._exit(9)
    ranks.barrier()
"""
Run = AutoencoderRun | DiffusionRun


def written_jobs(tmp_path: Path, trained: dict[str, Run]) -> str:
    """Files of runs, and the folders in which ``SCRIPT`` carries them out, as JSON data."""
    jobs = []
    for name, run in trained.items():
        (tmp_path / f"{name}.yaml").write_text(to_yaml(run))
        jobs.append((str(tmp_path / f"{name}.yaml"), str(tmp_path / "two" / name)))
    return json.dumps(jobs)


def on_two_processes(tmp_path: Path, trained: dict[str, Run]) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    jobs = written_jobs(tmp_path, trained)
    done = subprocess.run(
        [sys.executable, *launch, "--max-restarts", "1", str(script), jobs],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[:6000]
    assert "UserWarning" not in done.stderr  # of FSDP, for example


def test_a_process_says_that_another_has_ended():
    """Without torchrun, which may end the process before it has said so."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    own = [{**os.environ, **job, "OMP_NUM_THREADS": "1", "RANK": rank} for rank in "01"]
    command = [sys.executable, "-c", LEFT_ALONE]
    left, dead = (
        subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for env in own
    )
    said, _ = (process.communicate()[1] for process in (left, dead))
    assert (left.returncode, dead.returncode) == (1, 9)
    assert "process 0 of 2 ends because another one has ended" in said


@pytest.mark.slow
def test_any_number_of_processes_trains_as_one_does(tmp_path: Path, tiny_autoencoder_folder: Path):
    train(triplane_autoencoder_run(steps=2), tmp_path / "planes")
    rule = {"kind": "plateau", "improvement": 0.9, "steps": 2}
    judged = autoencoder_run({**ADVERSARY, "start": 2}, batch=4, save_every=HALF)
    trained: dict[str, Run] = {
        "adversarial": judged,
        "autoencoder": smooth(autoencoder_run(batch=4, accumulate=2, sample_every=4, save_every=3)),
        "denoiser": one_level(
            diffusion_run(
                tiny_autoencoder_folder, batch=4, accumulate=2, sample_every=4, save_every=3
            )
        ),
        "planes": one_level(triplane_run(tmp_path / "planes")),
        "monitored": tiny_run(
            two_adversaries(start=rule), batch=4, steps=30, adversarial_steps=3, collapse=STRICT
        ),
    }
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    for name, run in trained.items():
        train(run, one / name)
    joined = {f"joined_{name}": trained[name] for name in ("adversarial", "denoiser")}
    for name, run in joined.items():
        train(of(run, steps=HALF), two / name)
        shutil.rmtree(two / name / "model")
    killed = of(judged, background_gb=0.0, shards=2)  # so that its checkpoints are shards
    split = {name: of(trained[name], shards=2) for name in ("adversarial", "planes")}
    split |= {name: of(run, shards=2) for name, run in joined.items()}
    on_two_processes(tmp_path, {**trained, **split, "killed": killed})
    for name in {**trained, **joined}:
        check_equal(one / name.removeprefix("joined_"), two / name)
    assert len(losses(one / "monitored")) == STEPS
    same_bits(two / "killed", two / "adversarial")
    longer = {"adversarial": trained["adversarial"], "denoiser": trained["denoiser"]}
    alone = of(killed, shards="auto")
    for name, run in {**longer, "killed": alone}.items():  # left by two, continued by one
        for folder in (one / name, two / name):
            if folder.exists():
                train(of(run, steps=STEPS + 2), folder)
    for name in longer:
        assert losses(two / name) == pytest.approx(losses(one / name), abs=NEAR)
    same_bits(two / "killed", two / "adversarial")


@pytest.mark.slow
def test_copies_of_weights_that_are_each_split_train_as_one_process_does(
    tmp_path: Path, tiny_autoencoder_folder: Path
):
    """Four processes: two copies of the weights, each split between two (hybrid sharding)."""
    run = one_level(diffusion_run(tiny_autoencoder_folder, batch=4, steps=4))
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    train(run, one / "denoiser")
    said = run_ranks(
        tmp_path, SCRIPT, written_jobs(tmp_path, {"denoiser": of(run, shards=2)}), count=4
    )
    assert "UserWarning" not in "".join(said)
    check_equal(one / "denoiser", two / "denoiser")


@pytest.mark.slow
def test_in_float64_two_processes_change_weights_as_one_does(tmp_path: Path):
    """So what differs in float32 is rounding, and no statistic is of one process alone."""
    file, _ = written(tmp_path, "adversarial.planes", "run", steps=8)
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    float64_run.main(file, one)
    run_ranks(tmp_path, Path(float64_run.__file__).read_text(), file, two)
    expected, got = last_checkpoint(one), last_checkpoint(two)
    assert expected.keys() == got.keys()
    apart = {
        key for key in expected if (expected[key].double() - got[key].double()).abs().max() > 1e-12
    }
    assert {key.partition("discriminator_2.")[2] for key in apart} <= {*WITHOUT_EFFECT}


@pytest.mark.parametrize(
    ("shards", "parameters", "size", "per_node", "expected"),
    [
        ("auto", 10**9 - 1, 8, 8, 1),
        ("auto", 10**9, 8, 8, 8),
        ("auto", 10**9, 16, 8, 8),
        ("auto", 10**9, 12, 8, 1),  # torchrun gives nodes different numbers of processes
        (4, 10**6, 16, 8, 4),
    ],
)
def test_large_networks_are_split_within_a_machine(shards, parameters, size, per_node, expected):
    settings = autoencoder_run(batch=48, shards=shards).training
    ranks = Ranks(size=size, per_node=per_node)
    settings.check_processes(size)
    assert settings.shards_of(parameters, ranks) == expected


def test_groups_that_do_not_divide_the_processes_are_refused():
    settings = autoencoder_run(batch=8, shards=3).training
    message = r"training.shards=3 must divide the number of processes, 8; the nearest divisor is 2"
    with pytest.raises(ValueError, match=message):
        settings.check_processes(8)


def smooth(run: AutoencoderRun) -> AutoencoderRun:
    """The run with squared errors of pixels.

    The gradient of an absolute one jumps where rounding turns a pixel's sign: on an AMD processor
    its norm was 6e-4 apart after seven steps, that of squared errors 8e-7.
    """
    return run.model_copy(update={"loss": run.loss.model_copy(update={"pixel": "l2"})})


def one_level(run: DiffusionRun) -> DiffusionRun:
    """The run of a denoiser of half the weights; split ones take collective operations each."""
    level = {"channel_mult": (1,), "attention_resolutions": (1,)}
    return run.model_copy(update={"denoiser": run.denoiser.model_copy(update=level)})


def of(run: Run, **training: Any) -> Run:
    return run.model_copy(update={"training": run.training.model_copy(update=training)})


def check_equal(one: Path, two: Path) -> None:
    assert losses(two) == pytest.approx(losses(one), abs=NEAR)
    for expected, got in zip(log(one), log(two), strict=True):
        # terms of a loss: 1.05e-5 was seen on a CPU with AMX; previews' measures see rounded pixels
        near = 2e-5 if "loss" in expected else 1e-3
        for key in expected.keys() - {"seconds", "samples_per_second"}:
            assert got[key] == pytest.approx(expected[key], rel=near, abs=NEAR), key
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


def same_bits(one: Path, two: Path) -> None:
    """The same checkpoint, whether it is whole or of shards, and the same model."""
    a, b = (checkpoint.newest(folder, Ranks()) for folder in (one, two))
    assert a
    assert b
    flat = [flattened({"w": x.weights, "e": x.average, **x.moments}) for x in (a, b)]
    assert flat[0].keys() == flat[1].keys()
    for name, tensor in flat[0].items():
        assert torch.equal(tensor, flat[1][name]), name
    assert a.state.monitor == b.state.monitor
    for file in (one / "model").rglob("*.safetensors"):
        assert file.read_bytes() == (two / file.relative_to(one)).read_bytes(), file


def flattened(tree: Any, at: str = "") -> dict[str, Tensor]:
    if isinstance(tree, Tensor):
        return {at: tree}
    return {k: x for name, part in tree.items() for k, x in flattened(part, f"{at}/{name}").items()}


@pytest.mark.parametrize(
    ("size", "changes", "message"),
    [
        (
            3,
            {},
            "a batch of 4 cannot be divided among 3 processes; the nearest training.batch "
            "that can is 3",
        ),
        (
            2,
            {"accumulate": 4},
            "accumulate=4 must divide the 2 samples that a process has in a step",
        ),
    ],
)
def test_a_batch_that_does_not_divide_is_refused_before_anything_is_made(
    tmp_path: Path, size: int, changes: dict[str, int], message: str
):
    run = autoencoder_run(batch=4, **changes)
    with pytest.raises(ValueError, match=message):
        run_folder.start(run, tmp_path / "run", Ranks(size=size), Callbacks())
    assert not (tmp_path / "run").exists()
