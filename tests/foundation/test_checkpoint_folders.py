"""Model folders are whole or absent, and what is wrong with one is said in one sentence."""

import errno
import json
import os
import pickle
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from longtake.checkpoint import (
    CheckpointError,
    ExistsError,
    file_hash,
    load_component,
    read_config,
    read_header,
    read_metadata,
    read_tensors,
    save_component,
    weights_hash,
    whole_folder,
    write_tensors,
    write_text,
)
from longtake.config import Config, ConfigError
from longtake.hub import shipped_models
from longtake.meta_device import build_empty
from longtake.model.index import read_model_files


class LineConfig(Config):
    kind: Literal["line"] = "line"
    width: int = 3

    def build(self) -> "Line":
        return Line(self)


class Line(nn.Module):
    def __init__(self, config: LineConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(config.width, 2)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_component(tmp_path / "line", LineConfig().build())
    return tmp_path / "line"


def load(folder: Path, expected_hash: str | None = None) -> Line:
    return load_component(folder, read_config(folder / "config.json", LineConfig), expected_hash)


def refused(folder: Path, expected_hash: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder, expected_hash)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fill_the_disk(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_component_comes_back_with_equal_weights(tmp_path: Path):
    line = LineConfig(width=5).build()
    digest = save_component(tmp_path / "line", line)
    again = load(tmp_path / "line", digest)
    assert weights_hash(again) == weights_hash(line)
    assert again.config == line.config
    assert not again.training


def test_weights_stored_in_half_precision_come_back_in_full(tmp_path: Path):
    line = LineConfig().build()
    save_component(tmp_path, line, torch.float16)
    again = load(tmp_path)
    assert torch.equal(again.layer.weight, line.layer.weight.half().float())


def test_metadata_is_kept(tmp_path: Path):
    write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(2)}, {"key": "value"})
    assert read_metadata(tmp_path / "a.safetensors") == {"key": "value"}


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_weights_can_be_read_by_whom_the_umask_allows(tmp_path: Path, umask: int):
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path):
    with whole_folder(tmp_path / "model") as partial:
        (partial / "a").write_text("1")
        assert not (tmp_path / "model").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "a"]


def test_a_failed_overwriting_leaves_what_was_there(tmp_path: Path):
    place = tmp_path / "model"
    with whole_folder(place) as partial:
        (partial / "a").write_text("old")

    def interrupted() -> None:
        with whole_folder(place, overwrite=True) as partial:
            (partial / "a").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (place / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_what_an_earlier_crash_left_behind_is_not_an_obstacle(tmp_path: Path):
    place = tmp_path / "model"
    for folder in (place, tmp_path / ".model.old", tmp_path / ".model.partial"):
        folder.mkdir()
        (folder / "a").write_text("old")
    with whole_folder(place, overwrite=True) as partial:
        (partial / "b").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "b"]


def test_an_existing_folder_is_kept_unless_asked_otherwise(saved: Path):
    with pytest.raises(ExistsError, match="line exists; choose another path or set"):
        whole_folder(saved).__enter__()


def test_weights_of_another_hash_are_refused(saved: Path):
    assert "has another SHA-256 than its model_index.json records" in refused(saved, "0" * 64)
    load(saved, file_hash(saved / "model.safetensors"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_not_opened_but_answered_with_how_to_bring_it_in(saved: Path, zipped: bool):
    weights = LineConfig().build().state_dict()
    torch.save(weights, saved / "model.safetensors", _use_new_zipfile_serialization=zipped)
    assert refused(saved).endswith(
        "safetensors: is a pickle, expected safetensors; convert it with longtake.convert first"
    )


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plain_pickle_of_any_protocol_is_recognised_as_one(saved: Path, protocol: int):
    (saved / "model.safetensors").write_bytes(pickle.dumps({"weight": [1.0]}, protocol))
    assert "safetensors" in refused(saved)


@pytest.mark.parametrize("start", [b"\x80\x02", b"PK"])
def test_a_header_as_long_as_a_pickle_begins_is_not_a_pickle(start: bytes, tmp_path: Path):
    length = int.from_bytes(start, "little")
    entry = {"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    header = json.dumps(entry).encode().ljust(length)
    (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + header + b"\x07")
    assert read_tensors(tmp_path / "a.safetensors")["x"].item() == 7


@pytest.mark.parametrize("kept", [0, 5, 40, -4])
def test_a_truncated_weight_file_is_named(saved: Path, kept: int):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert f"{path}: broken or truncated safetensors file" in refused(saved)


def test_metadata_of_a_truncated_file_is_refused(saved: Path):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CheckpointError, match="broken or truncated safetensors file"):
        read_metadata(path)


def test_weights_of_another_shape_are_named_with_both_shapes(saved: Path):
    (saved / "config.json").write_text('{"kind": "line", "width": 4}')
    assert "'layer.weight' has shape (2, 3), the config asks for (2, 4)" in refused(saved)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"layer.weight": torch.ones(2, 3)}, "lacks 1 weight, first 'layer.bias'"),
        (
            {"layer.weight": torch.ones(2, 3), "layer.bias": torch.ones(2), "x": torch.ones(1)},
            "has unknown 1 weight, first 'x'",
        ),
    ],
)
def test_missing_and_unknown_weights_are_counted(saved: Path, weights: dict, message: str):
    write_tensors(saved / "model.safetensors", weights)
    assert message in refused(saved)


def test_a_missing_folder_and_a_broken_config_are_named(saved: Path):
    assert "config.json: no such file; expected a model folder" in refused(saved / "nowhere")
    (saved / "config.json").write_text("{")
    assert "config.json: not valid JSON" in refused(saved)


def test_a_config_with_an_unknown_field_is_named_with_its_file(saved: Path):
    (saved / "config.json").write_text('{"kind": "line", "widht": 3}')
    with pytest.raises(ConfigError, match=r"config\.json: widht: there is no field 'widht'; did"):
        load(saved)


def test_a_missing_weight_file_is_named(saved: Path):
    (saved / "model.safetensors").unlink()
    assert "model.safetensors: no such file" in refused(saved)


def test_a_full_disk_is_said_and_leaves_the_old_weights(saved: Path, monkeypatch):
    path = saved / "model.safetensors"
    before = read_tensors(path)
    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(CheckpointError, match="the disk is full; nothing was written"):
        write_tensors(path, {"x": torch.ones(1)})
    assert read_tensors(path).keys() == before.keys()
    assert sorted(p.name for p in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_a_full_disk_leaves_no_half_of_a_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", fill_the_disk)

    def written() -> None:
        with whole_folder(tmp_path / "model") as partial:
            (partial / "x").write_text("y")

    with pytest.raises(CheckpointError, match="model: the disk is full; nothing was written"):
        written()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_text(tmp_path: Path, monkeypatch):
    path = tmp_path / "index.json"
    write_text(path, "old")
    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(CheckpointError, match="the disk is full; nothing was written"):
        write_text(path, "new")
    assert path.read_text() == "old"


class Called(TorchFunctionMode):
    """Records the names of functions of torch that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", shipped_models())
def test_an_empty_network_has_its_shapes_without_initial_values(model: str):
    _, configs = read_model_files(shipped_models()[model])
    for part, config in configs.items():
        with Called() as called:
            empty = build_empty(config)
        header = read_header(shipped_models()[model] / part / "model.safetensors")
        shapes = {name: tuple(x.shape) for name, x in empty.state_dict().items()}
        assert shapes == {name: shape for name, (shape, _) in header.items()}
        assert all(x.is_meta for x in empty.parameters())
        drawn = {name for name in called.names if "normal" in name or "uniform" in name}
        assert not drawn | ({"rand", "randn", "randint"} & called.names)
