"""Checkpoints that are written in the background equal those that are written at once."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import ADVERSARY, autoencoder_run, train

from longtake import checkpoint as files
from longtake.checkpoint import CheckpointError, read_metadata
from longtake.training import checkpoint
from longtake.training.shards import PLACES, assembled

PARTS = {"a.0": (0, [[1.0, 2.0]]), "a.1": (1, [[3.0, 4.0]]), "b.0": (0, [5.0])}
SHAPES = {"a": (2, 2), "b": (1,)}


def run(steps: int, gigabytes: float = 0.0):
    return autoencoder_run(
        {**ADVERSARY, "start": 2}, steps=steps, save_every=2, background_gb=gigabytes
    )


def test_they_hold_the_bytes_of_those_written_at_once(tmp_path: Path):
    for name, gigabytes in (("background", 0.0), ("at_once", 2.0)):
        train(run(6, gigabytes), tmp_path / name)
        assert not [*(tmp_path / name).glob(".step*")]
    one, other = (
        {file.relative_to(run): file.read_bytes() for file in run.glob("step_*/*")}
        for run in sorted(tmp_path.iterdir())
    )
    assert one == other


def test_one_that_cannot_be_written_is_an_error_of_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        train(run(4), tmp_path / "run")
    assert checkpoint.latest(tmp_path / "run") is None


def shards(folder: Path) -> list[Path]:
    """Two files that hold the shards ``PARTS`` of the tensors ``SHAPES``."""
    paths = [folder / "0.safetensors", folder / "1.safetensors"]
    for number, path in enumerate(paths):
        own = {k[0]: v for k, v in PARTS.items() if k.endswith(f".{number}")}
        places = {k: {"saved_offsets": [n] + [0] * (k == "a")} for k, (n, _) in own.items()}
        tensors = {name: torch.tensor(values) for name, (_, values) in own.items()}
        save_file(tensors, path, {PLACES: json.dumps(places)})
    return paths


def test_shards_are_put_together(tmp_path: Path):
    found = assembled(shards(tmp_path), SHAPES)
    assert found["a"].tolist() == [[1, 2], [3, 4]]
    assert found["b"].tolist() == [5]


def moved(to: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        places = {"a": {"saved_offsets": [to, 0]}}
        save_file(load_file(path), path, {PLACES: json.dumps(places)})

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(moved(0), id="twice"),
        pytest.param(moved(2), id="beyond the end"),
        pytest.param(lambda path: save_file({}, path), id="lacking"),
        pytest.param(lambda path: save_file(load_file(path), path), id="without a place"),
        pytest.param(lambda path: save_file(load_file(path), path, {PLACES: "["}), id="no JSON"),
        pytest.param(
            lambda path: save_file(
                {"a": torch.zeros(1, 2).half()}, path, {PLACES: read_metadata(path)[PLACES]}
            ),
            id="of another precision",
        ),
    ],
)
def test_shards_that_do_not_fit_are_refused(tmp_path: Path, change: Callable[[Path], None]):
    paths = shards(tmp_path)
    change(paths[1])
    with pytest.raises(CheckpointError):
        assembled(paths, SHAPES)
