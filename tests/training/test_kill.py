"""A run that is killed in the middle continues by the same command, bit for bit."""

import time
from pathlib import Path

import pytest
import torch
from ranks import start
from tiny_runs import ADVERSARY, autoencoder_run, last_checkpoint, log, losses, train

from longtake.config import to_yaml
from longtake.model import VideoModel
from longtake.runs import AutoencoderRun
from longtake.training import checkpoint as state
from longtake.video import VideoWriter

STEPS = 24


@pytest.fixture
def run(tmp_path: Path) -> AutoencoderRun:
    """On a folder of videos, as a user has them; every step is saved, so a kill may hit a save."""
    frames = torch.randint(256, (3, 12, 16, 16, 3), dtype=torch.uint8).numpy()
    for number, video in enumerate(frames):
        path = tmp_path / "videos" / f"{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        with VideoWriter(path, 8.0) as writer:
            writer.write(video)
    plan = {"frames": 4, "height": 16, "width": 16, "flip": True}
    data = {"kind": "folder", "path": str(tmp_path / "videos"), "plan": plan}
    return autoencoder_run(ADVERSARY, data, steps=STEPS, save_every=1)


def fit_and_kill(preset: Path, folder: Path, checkpoint: str) -> None:
    """Kill ``longtake fit`` once the folder has a checkpoint."""
    said = folder.with_suffix(".txt")
    code = "from longtake.cli import main; main()"
    process = start(code, "fit", preset, "-o", folder, said=said)
    while not (folder / checkpoint).exists():
        assert process.is_alive(), said.read_text()
        time.sleep(0.002)
    process.kill()
    process.join()


@pytest.mark.slow
def test_the_same_command_continues_a_killed_run_bit_for_bit(tmp_path: Path, run: AutoencoderRun):
    whole, killed, preset = tmp_path / "whole", tmp_path / "killed", tmp_path / "tiny.yaml"
    preset.write_text(to_yaml(run))
    train(run, whole)
    fit_and_kill(preset, killed, "step_00000005")
    assert not (killed / "model").exists()
    reached = state.latest(killed)
    assert reached is not None
    train(run, killed)
    expected, got = last_checkpoint(whole), last_checkpoint(killed)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    models = [VideoModel.from_pretrained(folder).index.weights for folder in (whole, killed)]
    assert models[0] == models[1]
    assert losses(killed) == losses(whole)
    assert [line["step"] for line in log(killed)] == list(range(1, STEPS + 1))
