import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from longtake.checkpoint import CheckpointError, ExistsError
from longtake.convert import from_c3d
from longtake.convert.from_c3d import convert_c3d
from longtake.features.c3d import C3D, MEAN, C3DConfig

TINY = C3DConfig(width=1, hidden=3, classes=4)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    state = C3D(TINY).state_dict()
    del state["mean"]
    return state


@pytest.fixture
def mean(tmp_path: Path) -> Path:
    path = tmp_path / "mean2.npz"
    np.savez(path, mean=np.random.default_rng(0).normal(100, 5, MEAN).astype(np.float32))
    return path


def chainer(name: str) -> str:
    return name.replace(".weight", "/W").replace(".bias", "/b")


def c3d_pytorch(name: str) -> str:
    return name.replace("conv1a", "conv1").replace("conv2a", "conv2")


def mmaction(name: str) -> str:
    if name.startswith("fc8"):
        return f"cls_head.{name.replace('fc8', 'fc_cls')}"
    layer, leaf = name.split(".")
    return f"backbone.{layer}{'.conv' if layer.startswith('conv') else ''}.{leaf}"


def converted(source: Path, mean: Path, out: Path) -> C3D:
    convert_c3d(source, mean, out, config=TINY)
    return TINY.model_copy(update={"weights": str(out)}).build()


def test_the_arrays_of_tgan_are_read(weights, mean, tmp_path):
    source = tmp_path / "conv3d_deepnetA_ucf.npz"
    np.savez(source, **{chainer(name): value.numpy() for name, value in weights.items()})
    network = converted(source, mean, tmp_path / "cache" / "c3d.safetensors")
    assert all(torch.equal(network.state_dict()[name], value) for name, value in weights.items())
    assert np.array_equal(network.mean.numpy(), np.load(mean)["mean"])


@pytest.mark.parametrize("names", [c3d_pytorch, mmaction, str, lambda name: f"module.{name}"])
def test_the_names_of_the_ports_are_known(weights, mean, tmp_path, names):
    source = tmp_path / "c3d.pth"
    torch.save({"state_dict": {names(name): w.half() for name, w in weights.items()}}, source)
    state = converted(source, mean, tmp_path / "c3d.safetensors").state_dict()
    for name, value in weights.items():
        assert torch.equal(state[name], value.half().float())


def test_a_mean_of_keras_s_form_is_read(weights, tmp_path):
    source = tmp_path / "c3d.pth"
    torch.save(weights, source)
    volume = np.random.default_rng(0).normal(size=(1, *MEAN))
    np.save(tmp_path / "c3d_mean.npy", volume)
    network = converted(source, tmp_path / "c3d_mean.npy", tmp_path / "c3d.safetensors")
    assert np.array_equal(network.mean.numpy(), volume[0].astype(np.float32))


def test_weights_that_are_missing_unknown_or_of_other_classes_are_named(weights, mean, tmp_path):
    less = {name: value for name, value in weights.items() if name != "fc7.bias"}
    more = weights | {"conv6a.weight": torch.ones(1)}
    sports = weights | {"fc8.weight": torch.ones(487, 3), "fc8.bias": torch.ones(487)}
    cases = (
        (less, r"is not C3D of 4 classes: the checkpoint lacks weights fc7\.bias;"),
        (more, r"has the unknown weights conv6a\.weight;"),
        (sports, r"does not fit in weights fc8\.bias \(487,\), expected \(4,\)"),
    )
    for number, (state, message) in enumerate(cases):
        source = tmp_path / f"{number}.pth"
        torch.save(state, source)
        with pytest.raises(CheckpointError, match=message):
            convert_c3d(source, mean, tmp_path / "out", config=TINY)
    assert not (tmp_path / "out").exists()


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def test_nothing_in_a_file_is_run(weights, mean, tmp_path):
    torch.save({"state_dict": weights, "more": Hostile()}, tmp_path / "c3d.pth")
    with pytest.raises(CheckpointError, match=r"c3d\.pth: names '(posix|nt)\.system'"):
        convert_c3d(tmp_path / "c3d.pth", mean, tmp_path / "out", config=TINY)
    np.savez(tmp_path / "c3d.npz", W=np.array([Hostile()], dtype=object))
    with pytest.raises(
        CheckpointError, match=r"c3d\.npz: is not a complete file of plain NumPy arrays"
    ):
        convert_c3d(tmp_path / "c3d.npz", mean, tmp_path / "out", config=TINY)


def test_files_without_a_mean_are_refused(weights, mean, tmp_path):
    source = tmp_path / "c3d.pth"
    torch.save(weights, source)
    np.savez(tmp_path / "small.npz", mean=np.zeros((3, 16, 112, 112)))
    np.savez(tmp_path / "other.npz", average=np.zeros(MEAN))
    (tmp_path / "cut.npz").write_bytes(mean.read_bytes()[:1000])
    cases = {
        "small": r"mean has shape \(3, 16, 112, 112\), expected \(3, 16, 128, 171\)",
        "other": r"has no array 'mean', only average; get conv3d_deepnetA_ucf\.npz",
        "cut": "is not a complete file of plain NumPy arrays",
        "none": "cannot be read",
    }
    for name, message in cases.items():
        with pytest.raises(CheckpointError, match=message):
            convert_c3d(source, tmp_path / f"{name}.npz", tmp_path / "out", config=TINY)


def test_a_file_with_arrays_beyond_the_limit_is_refused(weights, mean, tmp_path, monkeypatch):
    monkeypatch.setattr(from_c3d, "MAX_BYTES", 1 << 10)
    torch.save(weights, tmp_path / "c3d.pth")
    with pytest.raises(
        CheckpointError, match=r"mean\S*\.npz: its arrays take more than .* GiB, the"
    ):
        convert_c3d(tmp_path / "c3d.pth", mean, tmp_path / "out", config=TINY)


def test_a_file_that_exists_is_kept_unless_asked(weights, mean, tmp_path):
    source, out = tmp_path / "c3d.pth", tmp_path / "out"
    torch.save(weights, source)
    out.touch()
    with pytest.raises(ExistsError, match="exists; choose another path"):
        convert_c3d(source, mean, out, config=TINY)
    assert convert_c3d(source, mean, out, config=TINY, overwrite=True) == out
    assert out.stat().st_size > 0
