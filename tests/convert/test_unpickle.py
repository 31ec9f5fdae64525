import collections
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from longtake.checkpoint import CheckpointError
from longtake.convert.torch_file import read_pickle, read_state_dict
from longtake.convert.unpickle import KNOWN, Foreign, StoredTensor, Unpickler

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(value: Any, path: Path, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


class Runs:
    """What a hostile file holds: unpickled as Python does it, it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.trace}",)


class RunsWhenRestored(Runs):
    def __reduce__(self) -> tuple[Any, ...]:
        import pathlib

        return pathlib.Path, (str(self.trace),), Runs(self.trace)


@pytest.fixture
def foreign() -> Iterator[types.ModuleType]:
    """A module that is there when a checkpoint is written and gone when it is read."""
    module = types.ModuleType("omegaconf")
    source = """
class DictConfig:
    def __init__(self, content):
        self.content = content
    def __getstate__(self):
        return {"content": self.content}
    def __setstate__(self, state):
        raise AssertionError("restored")

class Node(dict):
    pass

class Sequence(list):
    pass

class Callback:
    def __new__(cls, kind):
        return super().__new__(cls)
    def __getnewargs__(self):
        return ("kind",)

def rebuild(*args):
    raise AssertionError("called")

class Reduced:
    def __reduce__(self):
        return rebuild, (1, DictConfig({})), None, iter([1]), iter([("a", 1)])
"""
    exec(compile(source, "omegaconf", "exec"), module.__dict__)
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def tensors() -> dict[str, Tensor]:
    base = torch.arange(24.0)
    return {
        "transposed": base.view(4, 6).t(),
        "slice": base[3:9:2],
        "bfloat16": torch.randn(3).bfloat16(),
        "float16": torch.randn(2, 2).half(),
        "float64": torch.randn(2).double(),
        "int64": torch.tensor(5),
        "bool": torch.tensor([True, False]),
        "empty": torch.empty(0, 4),
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


@FORMATS
def test_tensors_come_back_equal(tmp_path: Path, zipped: bool):
    written = tensors()
    read = read_state_dict(save({"state_dict": written}, tmp_path / "a.ckpt", zipped))
    assert list(read) == list(written)
    for name, tensor in written.items():
        got = read[name]
        assert torch.equal(got, tensor.detach())
        assert (got.dtype, got.stride()) == (tensor.dtype, tensor.stride())
        assert not got.requires_grad


@FORMATS
def test_tensors_that_share_memory_still_do(tmp_path: Path, zipped: bool):
    read = read_state_dict(save({"state_dict": tensors()}, tmp_path / "a.ckpt", zipped))
    assert read["transposed"].data_ptr() + 12 == read["slice"].data_ptr()


def test_a_zip_file_is_mapped_not_read(tmp_path: Path):
    path = save({"w": torch.full((1000,), 2.0)}, tmp_path / "a.ckpt")
    read = read_state_dict(path)
    twos, ones = (struct.pack("<f", value) * 1000 for value in (2.0, 1.0))
    path.write_bytes(path.read_bytes().replace(twos, ones))
    assert torch.equal(read["w"], torch.ones(1000))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_is_open_once_however_many_tensors_are_in_use(tmp_path: Path, zipped: bool):
    content = {f"x{number}": torch.full((8,), float(number)) for number in range(40)}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = dict(read_state_dict(tmp_path / "a.pth"))
    links = list(Path("/proc/self/fd").iterdir())
    targets = [str(link.readlink()) for link in links if link.is_symlink()]
    assert targets.count(str(tmp_path / "a.pth")) <= 1
    assert all(torch.equal(found[name], content[name]) for name in content)


def test_writing_to_a_mapped_tensor_leaves_the_file_alone(tmp_path: Path):
    path = save({"w": torch.zeros(5)}, tmp_path / "a.ckpt")
    before = path.read_bytes()
    read_state_dict(path)["w"].add_(1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_repacked_archive_is_read(tmp_path: Path, compression: int):
    original, repacked = save(tensors(), tmp_path / "a.ckpt"), tmp_path / "b.ckpt"
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(repacked, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    read = read_state_dict(repacked)
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors_of(original).items())


def tensors_of(path: Path) -> dict[str, Tensor]:
    return dict(torch.load(path, weights_only=True))


@FORMATS
@pytest.mark.parametrize("hostile", [Runs, RunsWhenRestored])
def test_a_name_that_no_checkpoint_needs_is_refused(
    tmp_path: Path, zipped: bool, hostile: type[Runs]
):
    trace = tmp_path / "trace"
    content = {"state_dict": {"w": torch.ones(2)}, "hyper_parameters": [hostile(trace)]}
    path = save(content, tmp_path / "a.ckpt", zipped)
    with pytest.raises(CheckpointError, match=r"a\.ckpt: names '(posix|nt)\.system', which no"):
        read_state_dict(path)
    assert not trace.exists()
    with suppress(pickle.UnpicklingError):
        torch.load(path, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins.eval", "builtins.getattr", "__builtin__.exec", "subprocess.Popen", "sys.modules"],
)
def test_a_way_to_run_code_is_refused_by_name(tmp_path: Path, name: str):
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"\x80\x02c" + f"{module}\n{attribute}\n.".encode())
    with pytest.raises(CheckpointError, match=f"names '{name}'"):
        read_pickle(path)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_bare_pickle_runs(tmp_path: Path, protocol: int):
    path, trace = tmp_path / "a.ckpt", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"state_dict": Runs(trace)}, protocol))
    with pytest.raises(CheckpointError, match=r"a\.ckpt: names '(posix|nt)\.system'"):
        read_pickle(path)
    assert not trace.exists()


def test_a_class_of_a_foreign_module_is_not_imported(tmp_path: Path, foreign: types.ModuleType):
    path = save({"w": torch.ones(1), "config": foreign.DictConfig({})}, tmp_path / "a.ckpt")
    module = tmp_path / "omegaconf.py"
    module.write_text("raise AssertionError('imported')")
    del sys.modules["omegaconf"]
    sys.path.insert(0, str(tmp_path))
    try:
        assert repr(read_pickle(path)["config"]) == "omegaconf.DictConfig"
    finally:
        sys.path.remove(str(tmp_path))


@FORMATS
def test_foreign_objects_are_stepped_over(tmp_path: Path, zipped: bool, foreign: Any):
    written = {
        "epoch": 7,
        "hyper_parameters": foreign.DictConfig({"a": foreign.DictConfig([1])}),
        "nodes": foreign.Node(a=1),
        "items": foreign.Sequence([1, 2]),
        "reduced": foreign.Reduced(),
        "callbacks": {foreign.Callback: {"best": torch.tensor(1.0)}, "one": foreign.Callback("a")},
        "module": torch.nn.Linear(2, 2),
        "optimizer_states": [{"state": {0: {"step": 3}}}],
        "array": np.arange(3),
        "text": np.str_("text"),
        "type": torch.float32,
        "state_dict": collections.OrderedDict(w=torch.ones(2)),
    }
    path = save(written, tmp_path / "a.ckpt", zipped)
    del sys.modules["omegaconf"]
    read = read_pickle(path)
    assert read["epoch"] == 7
    assert read["optimizer_states"] == [{"state": {0: {"step": 3}}}]
    for name in ("hyper_parameters", "nodes", "items", "reduced", "array", "text"):
        assert isinstance(read[name], Foreign)
    assert torch.equal(read["state_dict"]["w"].read(), torch.ones(2))


@FORMATS
def test_plain_values_come_back_equal(tmp_path: Path, zipped: bool):
    written = {
        "tuple": (1, 2.5, None, True),
        "set": {1, 2},
        "frozenset": frozenset({3}),
        "bytes": b"a\xff",
        "complex": 1 + 2j,
        "float64": np.float64(3.5),
        "int32": np.int32(-7),
        "bool": np.bool_(True),
        "big_endian": np.array(5, dtype=">i4")[()],
        "size": torch.Size([1, 2]),
        "ordered": collections.OrderedDict(b=1, a=2),
    }
    read = read_pickle(save(written, tmp_path / "a.ckpt", zipped))
    assert read == written
    assert list(read["ordered"]) == ["b", "a"]


def test_attributes_that_a_pickle_sets_are_dropped(tmp_path: Path):
    state = collections.OrderedDict(w=torch.ones(1))
    state._metadata = {"items": 1}  # type: ignore[attr-defined]
    read = read_pickle(save({"state_dict": state}, tmp_path / "a.ckpt"))["state_dict"]
    assert not vars(read)
    assert list(read) == ["w"]


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_pickle_cannot_change_what_a_known_name_means(tmp_path: Path, name: str):
    """BUILD with a slot state would set attributes on whatever a name stands for."""
    before = dict(vars(KNOWN[name]))
    module, _, attribute = name.rpartition(".")
    changed = (
        b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"N}X\x05\x00\x00\x00buildK\x01s\x86b."
    )
    (tmp_path / "a").write_bytes(changed)
    with (tmp_path / "a").open("rb") as file:
        Unpickler(file).load()
    assert vars(KNOWN[name]) == before


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_sentence(tmp_path_factory: Any, data: bytes):
    path = tmp_path_factory.getbasetemp() / "any.ckpt"
    path.write_bytes(b"\x80\x02" + data)
    with pytest.raises(CheckpointError) as error:
        read_pickle(path)
    assert "\n" not in str(error.value)


@FORMATS
def test_a_truncated_file_is_named_so(tmp_path: Path, zipped: bool):
    path = save({"state_dict": {"w": torch.ones(4000)}}, tmp_path / "a.ckpt", zipped)
    content = path.read_bytes()
    for length in (len(content) - 400, len(content) // 2, 100):
        path.write_bytes(content[:length])
        with pytest.raises(
            CheckpointError, match=r"a\.ckpt: is truncated; download the file again"
        ):
            read_state_dict(path)


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path):
    good = save({"w": torch.zeros(2)}, tmp_path / "a.ckpt")
    bad = tmp_path / "b.ckpt"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                assert data.count(b"K\x02\x85") == 1
                data = data.replace(b"K\x02\x85", b"K\x03\x85")
            new.writestr(name, data)
    with pytest.raises(
        CheckpointError, match=r"is damaged: a tensor exceeds its storage; download"
    ):
        read_state_dict(bad)


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path):
    path = tmp_path / "a.ckpt"
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    cases = {
        "a.ckpt: cannot be read": None,
        "is a safetensors file": (tmp_path / "a.safetensors").read_bytes(),
        "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "is a zip file, expected a file of torch": (tmp_path / "a.zip").read_bytes(),
        "is not a checkpoint; expected": b"<!DOCTYPE html><html>not found</html>",
        "a.ckpt: is not a checkpoint": b"",
        "is a pickle, expected a file of torch": pickle.dumps({"a": 1}),
    }
    for message, content in cases.items():
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 1, "callbacks": {}}, "has no state_dict, .* it has callbacks, epoch"),
        ({"state_dict": {}}, "has no state_dict"),
        ([torch.ones(1)], "has no state_dict, .* it has list"),
    ],
)
def test_a_checkpoint_without_weights_is_named_so(tmp_path: Path, content: Any, message: str):
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(save(content, tmp_path / "a.ckpt"))


def test_a_weight_of_an_unknown_kind_is_named(tmp_path: Path):
    place, value = torch.tensor([[0]]), torch.tensor([1.0])
    sparse = torch.sparse_coo_tensor(place, value, (2,), check_invariants=True)
    path = save({"state_dict": {"w": torch.ones(1), "v": sparse}}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"'v' is stored as .*expected a plain tensor"):
        read_state_dict(path)


def test_a_bare_state_dict_is_read(tmp_path: Path):
    module = torch.nn.Linear(2, 3)
    read = read_state_dict(save(module.state_dict(), tmp_path / "a.pt"))
    module.load_state_dict(dict(read))
    assert isinstance(read_pickle(tmp_path / "a.pt")["weight"], StoredTensor)


def test_a_memo_index_that_a_pickle_does_not_need_is_refused(tmp_path: Path):
    dumped = pickle.dumps(["a", "b"], protocol=2)
    at = dumped.index(b"q\x01")
    path = tmp_path / "memo"
    path.write_bytes(dumped[:at] + b"r" + struct.pack("<I", 5000) + dumped[at + 2 :])
    with (
        path.open("rb") as file,
        pytest.raises(pickle.UnpicklingError, match="memo index 5000 after 5 operations"),
    ):
        Unpickler(file).load()
